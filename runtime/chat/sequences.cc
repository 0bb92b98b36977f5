// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/sequences.h"

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {

absl::Status UndefinedError(const Value& undefined) {
  return absl::InvalidArgumentError(undefined.WhyUndefined());
}

absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value) {
  std::vector<Value> items;
  if (value.IsUndefined()) return items;
  if (const List* list = value.AsList()) {
    RETURN_IF_ERROR(budget.Bytes(list->items.size() * sizeof(Value)));
    return list->items;
  }
  if (const Dict* dict = value.AsDict()) {
    RETURN_IF_ERROR(budget.Bytes(dict->items.size() * sizeof(Value)));
    for (const auto& item : dict->items) items.push_back(item.first);
    return items;
  }
  if (const MarkedText* text = value.AsText()) {
    RETURN_IF_ERROR(
        budget.Bytes(text->size() * (sizeof(Value) + sizeof(MarkedText))));
    for (size_t pos = 0; pos < text->size();) {
      const size_t begin = pos;
      NextCharacter(text->str(), &pos);
      items.push_back(Value::Of(text->Substr(begin, pos)));
    }
    return items;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", value.TypeName(), "' object is not iterable"));
}

absl::StatusOr<int64_t> Length(Budget& budget, const Value& value) {
  size_t length = 0;
  if (const List* list = value.AsList()) {
    length = list->items.size();
  } else if (const Dict* dict = value.AsDict()) {
    length = dict->items.size();
  } else if (const MarkedText* text = value.AsText()) {
    RETURN_IF_ERROR(budget.Bytes(text->size()));
    length = CountCharacters(text->str());
  } else if (!value.IsUndefined()) {
    return absl::InvalidArgumentError(
        absl::StrCat("object of type '", value.TypeName(), "' has no len()"));
  }
  return static_cast<int64_t>(length);
}

}  // namespace mla::runtime::jinja
