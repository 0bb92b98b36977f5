// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/access.h"

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/chat/methods.h"
#include "runtime/chat/objects.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

std::string DescribeObject(const Value& value) {
  if (value.IsNone()) return "None";
  return absl::StrCat(value.TypeName(), " object");
}

Value NoAttribute(const Value& value, const std::string& name) {
  return Value::MakeUndefined(absl::StrCat("'", DescribeObject(value),
                                           "' has no attribute '", name, "'"));
}

// The attribute, or nothing if the object has no such attribute of its own.
absl::StatusOr<std::optional<Value>> OwnAttribute(Context& context,
                                                  const Value& value,
                                                  const std::string& name) {
  if (IsUnsafeMethod(value, name)) {
    return Value::MakeUndefined(absl::StrCat("access to attribute '", name,
                                             "' of '", value.TypeName(),
                                             "' object is unsafe."));
  }
  if (HasMethod(value, name)) {
    RETURN_IF_ERROR(context.budget().Bytes(sizeof(BoundMethod)));
    return Value::Of(std::make_shared<BoundMethod>(value, name));
  }
  if (const auto* space = value.AsObject<Namespace>()) {
    const auto it = space->attributes.find(name);
    if (it != space->attributes.end()) return it->second;
  }
  if (const auto* loop = value.AsObject<Loop>()) return loop->Attribute(name);
  return std::nullopt;
}

// value[key] in Python, or nothing where that raises.
absl::StatusOr<std::optional<Value>> OwnItem(Context& context,
                                             const Value& value,
                                             const Value& key) {
  if (const Dict* dict = value.AsDict()) {
    ASSIGN_OR_RETURN(const Value* found, Find(context.budget(), *dict, key));
    if (found != nullptr) return *found;
    return std::nullopt;
  }
  if (key.AsInt() == nullptr && key.AsBool() == nullptr) return std::nullopt;
  int64_t index = key.AsInt() != nullptr ? *key.AsInt() : *key.AsBool();
  if (const List* list = value.AsList()) {
    const auto length = static_cast<int64_t>(list->items.size());
    if (index < 0) index += length;
    if (index < 0 || index >= length) return std::nullopt;
    return list->items[index];
  }
  if (const MarkedText* text = value.AsText()) {
    // -1 is the last character: its slice has no end.
    std::optional<int64_t> stop;
    if (index != -1) {
      if (index == std::numeric_limits<int64_t>::max()) return std::nullopt;
      stop = index + 1;
    }
    ASSIGN_OR_RETURN(MarkedText character,
                     SliceText(context.budget(), *text, index, stop, 1));
    // Beyond the front, a slice is clipped where an index is out of range.
    ASSIGN_OR_RETURN(const int64_t length, Length(context.budget(), value));
    if (character.empty() || index < -length) return std::nullopt;
    return Value::Of(std::move(character));
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<int64_t>> SliceBound(const Value& bound) {
  if (bound.IsNone()) return std::nullopt;
  if (const int64_t* i = bound.AsInt()) return *i;
  if (bound.IsUndefined()) return UndefinedError(bound);
  return absl::InvalidArgumentError("slice indices must be integers or None");
}

}  // namespace

absl::StatusOr<Value> GetAttribute(Context& context, const Value& value,
                                   const std::string& name) {
  if (value.IsUndefined()) return UndefinedError(value);
  ASSIGN_OR_RETURN(auto own, OwnAttribute(context, value, name));
  if (own.has_value()) return *std::move(own);
  if (const Dict* dict = value.AsDict()) {
    RETURN_IF_ERROR(context.budget().Steps(dict->items.size() / 8));
    if (const Value* found = dict->Find(name)) return *found;
  }
  return NoAttribute(value, name);
}

absl::StatusOr<Value> GetItem(Context& context, const Value& value,
                              const Value& key) {
  if (value.IsUndefined()) return UndefinedError(value);
  if (key.IsUndefined()) return key;
  ASSIGN_OR_RETURN(auto item, OwnItem(context, value, key));
  if (item.has_value()) return *std::move(item);
  if (const MarkedText* name = key.AsText()) {
    ASSIGN_OR_RETURN(auto own, OwnAttribute(context, value, name->str()));
    if (own.has_value()) return *std::move(own);
    return NoAttribute(value, name->str());
  }
  ASSIGN_OR_RETURN(const MarkedText shown, ToText(context.budget(), key));
  return Value::MakeUndefined(
      absl::StrCat(DescribeObject(value), " has no element ", shown.str()));
}

absl::StatusOr<Value> GetPath(Context& context, const Value& value,
                              const Value& path) {
  const MarkedText* text = path.AsText();
  if (text == nullptr) return GetItem(context, value, path);
  RETURN_IF_ERROR(context.budget().Bytes(text->size()));
  Value current = value;
  const std::vector<std::string> names = absl::StrSplit(text->str(), '.');
  for (const std::string& name : names) {
    RETURN_IF_ERROR(context.budget().Steps(1));
    int64_t index = 0;
    const Value key =
        absl::SimpleAtoi(name, &index) ? Value::Of(index) : Value::Of(name);
    ASSIGN_OR_RETURN(current, GetItem(context, current, key));
  }
  return current;
}

absl::StatusOr<Value> GetSlice(Context& context, const Value& value,
                               const Value& start, const Value& stop,
                               const Value& step) {
  if (value.IsUndefined()) return UndefinedError(value);
  ASSIGN_OR_RETURN(const auto first, SliceBound(start));
  ASSIGN_OR_RETURN(const auto end, SliceBound(stop));
  ASSIGN_OR_RETURN(const auto stride, SliceBound(step));
  if (stride == 0) {
    return absl::InvalidArgumentError("slice step cannot be zero");
  }
  if (const MarkedText* text = value.AsText()) {
    ASSIGN_OR_RETURN(MarkedText part, SliceText(context.budget(), *text, first,
                                                end, stride.value_or(1)));
    return Value::Of(std::move(part));
  }
  const List* list = value.AsList();
  if (list == nullptr) return NoAttribute(value, "slice");
  const SliceBounds bounds = ClipSlice(static_cast<int64_t>(list->items.size()),
                                       first, end, stride.value_or(1));
  RETURN_IF_ERROR(context.budget().Steps(bounds.count / 8));
  std::vector<Value> items;
  for (int64_t i = 0; i < bounds.count; ++i) {
    items.push_back(list->items[bounds.first + i * bounds.step]);
  }
  return MakeList(context.budget(), std::move(items), list->is_tuple);
}

}  // namespace mla::runtime::jinja
