// The methods of texts.
//
// Tested by tests/runtime/chat_snippet_test.cc.
#include <optional>

#include "absl/strings/str_cat.h"
#include "runtime/chat/methods.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

absl::Status WrongType(const std::string& method, const char* expected,
                       const Value& found) {
  return absl::InvalidArgumentError(absl::StrCat(
      method, "() takes ", expected, ", not '", found.TypeName(), "'"));
}

absl::StatusOr<const MarkedText*> TextArgument(const std::string& method,
                                               const Value& value) {
  if (value.IsUndefined()) return UndefinedError(value);
  if (value.AsText() == nullptr) return WrongType(method, "a str", value);
  return value.AsText();
}

absl::StatusOr<int64_t> IntArgument(const std::string& method,
                                    const Value* value, int64_t fallback) {
  if (value == nullptr) return fallback;
  if (value->AsInt() == nullptr) return WrongType(method, "an int", *value);
  return *value->AsInt();
}

absl::StatusOr<Value> TextList(Context& context,
                               std::vector<MarkedText> texts) {
  std::vector<Value> items;
  for (MarkedText& text : texts) items.push_back(Value::Of(std::move(text)));
  return MakeList(context.budget(), std::move(items));
}

absl::StatusOr<Value> StripMethod(Context& context, const Value& self,
                                  const std::string& name,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"chars"}, 0));
  std::optional<std::string_view> chars;
  if (bound[0] != nullptr && !bound[0]->IsNone()) {
    ASSIGN_OR_RETURN(const MarkedText* text, TextArgument(name, *bound[0]));
    chars = text->str();
  }
  ASSIGN_OR_RETURN(MarkedText stripped,
                   Strip(context.budget(), *self.AsText(), chars,
                         name != "rstrip", name != "lstrip"));
  return Value::Of(std::move(stripped));
}

absl::StatusOr<Value> SplitMethod(Context& context, const Value& self,
                                  const std::string& name,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind(name, {"sep", "maxsplit"}, 0));
  std::optional<std::string_view> separator;
  if (bound[0] != nullptr && !bound[0]->IsNone()) {
    ASSIGN_OR_RETURN(const MarkedText* text, TextArgument(name, *bound[0]));
    if (text->empty()) return absl::InvalidArgumentError("empty separator");
    separator = text->str();
  }
  ASSIGN_OR_RETURN(const int64_t max_splits, IntArgument(name, bound[1], -1));
  ASSIGN_OR_RETURN(auto parts, Split(context.budget(), *self.AsText(),
                                     separator, max_splits));
  return TextList(context, std::move(parts));
}

absl::StatusOr<Value> SplitLinesMethod(Context& context, const Value& self,
                                       const std::string& name,
                                       const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind(name, {}, 0).status());
  ASSIGN_OR_RETURN(auto lines, SplitLines(context.budget(), *self.AsText()));
  return TextList(context, std::move(lines));
}

absl::StatusOr<bool> HasAffix(Context& context, const std::string& text,
                              const std::string& name, const Value& affix) {
  RETURN_IF_ERROR(context.budget().Steps(1));
  if (const List* list = affix.AsList(); list != nullptr && list->is_tuple) {
    for (const Value& item : list->items) {
      ASSIGN_OR_RETURN(const MarkedText* one, TextArgument(name, item));
      const bool has = name == "startswith" ? text.starts_with(one->str())
                                            : text.ends_with(one->str());
      if (has) return true;
    }
    return false;
  }
  ASSIGN_OR_RETURN(const MarkedText* one, TextArgument(name, affix));
  RETURN_IF_ERROR(context.budget().Bytes(one->size()));
  return name == "startswith" ? text.starts_with(one->str())
                              : text.ends_with(one->str());
}

absl::StatusOr<Value> AffixMethod(Context& context, const Value& self,
                                  const std::string& name,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"affix"}, 1));
  ASSIGN_OR_RETURN(const bool has,
                   HasAffix(context, self.AsText()->str(), name, *bound[0]));
  return Value::Of(has);
}

absl::StatusOr<Value> RemoveAffixMethod(Context& context, const Value& self,
                                        const std::string& name,
                                        const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"affix"}, 1));
  ASSIGN_OR_RETURN(const MarkedText* affix, TextArgument(name, *bound[0]));
  const MarkedText& text = *self.AsText();
  RETURN_IF_ERROR(context.budget().Bytes(text.cost() + affix->size()));
  if (name == "removeprefix" && text.str().starts_with(affix->str())) {
    return Value::Of(text.Substr(affix->size(), text.size()));
  }
  if (name == "removesuffix" && text.str().ends_with(affix->str())) {
    return Value::Of(text.Substr(0, text.size() - affix->size()));
  }
  return self;
}

absl::StatusOr<Value> CaseMethod(Context& context, const Value& self,
                                 const std::string& name,
                                 const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind(name, {}, 0).status());
  const Case wanted = name == "upper"   ? Case::kUpper
                      : name == "lower" ? Case::kLower
                      : name == "title" ? Case::kTitle
                                        : Case::kCapitalized;
  ASSIGN_OR_RETURN(MarkedText changed,
                   ChangeCase(context.budget(), *self.AsText(), wanted));
  return Value::Of(std::move(changed));
}

absl::StatusOr<Value> ReplaceMethod(Context& context, const Value& self,
                                    const std::string& name,
                                    const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind(name, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const MarkedText* from, TextArgument(name, *bound[0]));
  ASSIGN_OR_RETURN(const MarkedText* to, TextArgument(name, *bound[1]));
  ASSIGN_OR_RETURN(const int64_t count, IntArgument(name, bound[2], -1));
  ASSIGN_OR_RETURN(
      MarkedText replaced,
      Replace(context.budget(), *self.AsText(), from->str(), *to, count));
  return Value::Of(std::move(replaced));
}

absl::StatusOr<Value> JoinMethod(Context& context, const Value& self,
                                 const std::string& name,
                                 const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"iterable"}, 1));
  ASSIGN_OR_RETURN(const auto items, Iterate(context.budget(), *bound[0]));
  MarkedText joined;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(const MarkedText* item, TextArgument(name, items[i]));
    RETURN_IF_ERROR(
        context.budget().Bytes(self.AsText()->cost() + item->cost()));
    if (i > 0) joined.Append(*self.AsText());
    joined.Append(*item);
  }
  return Value::Of(std::move(joined));
}

// find() counts in characters, count() counts occurrences.
absl::StatusOr<Value> SearchMethod(Context& context, const Value& self,
                                   const std::string& name,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"sub"}, 1));
  ASSIGN_OR_RETURN(const MarkedText* wanted, TextArgument(name, *bound[0]));
  const std::string_view text = self.AsText()->str();
  RETURN_IF_ERROR(context.budget().Bytes(2 * text.size()));
  size_t found = FindText(text, wanted->str(), 0);
  if (name == "find") {
    if (found == std::string_view::npos) return Value::Of(int64_t{-1});
    return Value::Of(
        static_cast<int64_t>(CountCharacters(text.substr(0, found))));
  }
  if (wanted->empty()) {
    return Value::Of(static_cast<int64_t>(CountCharacters(text)) + 1);
  }
  int64_t count = 0;
  while (found != std::string_view::npos) {
    ++count;
    found = FindText(text, wanted->str(), found + wanted->size());
  }
  return Value::Of(count);
}

// "{}", "{0}" and "{name}", without conversions and format specifications.
absl::StatusOr<Value> FormatMethod(Context& context, const Value& self,
                                   const std::string&,
                                   const Arguments& arguments) {
  const MarkedText& format = *self.AsText();
  const std::string& text = format.str();
  RETURN_IF_ERROR(context.budget().Bytes(format.cost()));
  MarkedText out;
  size_t next = 0;
  size_t pos = 0;
  while (pos < text.size()) {
    const size_t brace = std::min(text.find_first_of("{}", pos), text.size());
    out.Append(format.Substr(pos, brace));
    if (brace == text.size()) break;
    if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
      out.Append(format.Substr(brace, brace + 1));
      pos = brace + 2;
      continue;
    }
    const size_t close = text.find('}', brace);
    if (text[brace] == '}' || close == std::string::npos) {
      return absl::InvalidArgumentError("format() got a single brace");
    }
    std::string field = text.substr(brace + 1, close - brace - 1);
    if (field.empty()) field = absl::StrCat(next++);
    RETURN_IF_ERROR(context.budget().Steps(arguments.positional.size()));
    const Value* value = nullptr;
    for (size_t i = 0; i < arguments.positional.size(); ++i) {
      if (field == absl::StrCat(i)) value = &arguments.positional[i];
    }
    for (const auto& [name, named] : arguments.named) {
      if (field == name) value = &named;
    }
    if (value == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat("format() has no argument for '{", field, "}'"));
    }
    ASSIGN_OR_RETURN(const MarkedText shown, ToText(context.budget(), *value));
    RETURN_IF_ERROR(context.budget().Bytes(shown.cost()));
    out.Append(shown);
    pos = close + 1;
  }
  return Value::Of(std::move(out));
}

}  // namespace

const MethodTable& TextMethods() {
  static const auto* const methods = new MethodTable{
      {"strip", StripMethod},
      {"lstrip", StripMethod},
      {"rstrip", StripMethod},
      {"split", SplitMethod},
      {"splitlines", SplitLinesMethod},
      {"startswith", AffixMethod},
      {"endswith", AffixMethod},
      {"removeprefix", RemoveAffixMethod},
      {"removesuffix", RemoveAffixMethod},
      {"upper", CaseMethod},
      {"lower", CaseMethod},
      {"title", CaseMethod},
      {"capitalize", CaseMethod},
      {"replace", ReplaceMethod},
      {"join", JoinMethod},
      {"find", SearchMethod},
      {"count", SearchMethod},
      {"format", FormatMethod},
  };
  return *methods;
}

}  // namespace mla::runtime::jinja
