// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/value.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

absl::StatusOr<bool> EqualLists(Budget& budget, const List& a, const List& b) {
  if (a.is_tuple != b.is_tuple || a.items.size() != b.items.size()) {
    return false;
  }
  for (size_t i = 0; i < a.items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equal(budget, a.items[i], b.items[i]));
    if (!equal) return false;
  }
  return true;
}

absl::StatusOr<bool> EqualDicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    ASSIGN_OR_RETURN(const Value* other, Find(budget, b, key));
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool equal, Equal(budget, value, *other));
    if (!equal) return false;
  }
  return true;
}

absl::Status CheckDepth(int depth) {
  if (depth <= kMaxValueDepth) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("a value nests deeper than ", kMaxValueDepth));
}

}  // namespace

Value Value::MakeUndefined(std::string why) {
  return Value(
      Data(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

Value Value::Of(MarkedText text) {
  return Value(Data(std::make_shared<const MarkedText>(std::move(text))));
}

Value Value::Of(std::string_view text) {
  return Of(MarkedText(std::string(text), /*trusted=*/true));
}

Value Value::Of(List list) {
  return Value(Data(std::make_shared<const List>(std::move(list))));
}

Value Value::Of(Dict dict) {
  return Value(Data(std::make_shared<const Dict>(std::move(dict))));
}

std::optional<int64_t> Value::AsWhole() const {
  if (const bool* b = AsBool()) return *b ? 1 : 0;
  if (const int64_t* i = AsInt()) return *i;
  return std::nullopt;
}

std::optional<double> Value::AsNumber() const {
  if (const auto whole = AsWhole()) return static_cast<double>(*whole);
  if (const double* d = AsFloat()) return *d;
  return std::nullopt;
}

bool Value::IsTrue() const {
  if (IsUndefined() || IsNone()) return false;
  if (const MarkedText* text = AsText()) return !text->empty();
  if (const List* list = AsList()) return !list->items.empty();
  if (const Dict* dict = AsDict()) return !dict->items.empty();
  const auto number = AsNumber();
  return !number.has_value() || *number != 0;
}

const char* Value::TypeName() const {
  if (IsUndefined()) return "Undefined";
  if (IsNone()) return "NoneType";
  if (AsBool() != nullptr) return "bool";
  if (AsInt() != nullptr) return "int";
  if (AsFloat() != nullptr) return "float";
  if (AsText() != nullptr) return "str";
  if (AsDict() != nullptr) return "dict";
  if (const List* list = AsList()) return list->is_tuple ? "tuple" : "list";
  return AsObject<Object>()->type_name();
}

int Value::depth() const {
  if (const List* list = AsList()) return list->depth;
  if (const Dict* dict = AsDict()) return dict->depth;
  const Object* object = AsObject<Object>();
  return object == nullptr ? 0 : object->depth();
}

const Value* Dict::Find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    const MarkedText* text = name.AsText();
    if (text != nullptr && text->str() == key) return &value;
  }
  return nullptr;
}

absl::StatusOr<const Value*> Find(Budget& budget, const Dict& dict,
                                  const Value& key) {
  RETURN_IF_ERROR(budget.Steps(1 + dict.items.size() / 8));
  if (const MarkedText* text = key.AsText()) return dict.Find(text->str());
  for (const auto& [name, value] : dict.items) {
    ASSIGN_OR_RETURN(const bool equal, Equal(budget, name, key));
    if (equal) return &value;
  }
  return nullptr;
}

absl::StatusOr<Value> MakeList(Budget& budget, std::vector<Value> items,
                               bool is_tuple) {
  RETURN_IF_ERROR(budget.Bytes(items.size() * sizeof(Value)));
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  RETURN_IF_ERROR(CheckDepth(depth + 1));
  return Value::Of(List{std::move(items), is_tuple, depth + 1});
}

absl::StatusOr<Value> MakeDict(Budget& budget,
                               std::vector<std::pair<Value, Value>> items) {
  RETURN_IF_ERROR(budget.Bytes(items.size() * 2 * sizeof(Value)));
  int depth = 0;
  for (const auto& [key, value] : items) depth = std::max(depth, value.depth());
  RETURN_IF_ERROR(CheckDepth(depth + 1));
  return Value::Of(Dict{std::move(items), depth + 1});
}

absl::StatusOr<bool> Equal(Budget& budget, const Value& a, const Value& b) {
  RETURN_IF_ERROR(budget.Steps(1));
  if (a.AsInt() != nullptr && b.AsInt() != nullptr) {
    return *a.AsInt() == *b.AsInt();
  }
  const auto number_a = a.AsNumber();
  const auto number_b = b.AsNumber();
  if (number_a.has_value() && number_b.has_value()) {
    return *number_a == *number_b;
  }
  if (a.AsText() != nullptr && b.AsText() != nullptr) {
    RETURN_IF_ERROR(budget.Bytes(b.AsText()->size()));
    return a.AsText()->str() == b.AsText()->str();
  }
  if (a.AsList() != nullptr && b.AsList() != nullptr) {
    return EqualLists(budget, *a.AsList(), *b.AsList());
  }
  if (a.AsDict() != nullptr && b.AsDict() != nullptr) {
    return EqualDicts(budget, *a.AsDict(), *b.AsDict());
  }
  if (a.AsObject<Object>() != nullptr) {
    return a.AsObject<Object>() == b.AsObject<Object>();
  }
  return (a.IsNone() && b.IsNone()) || (a.IsUndefined() && b.IsUndefined());
}

}  // namespace mla::runtime::jinja
