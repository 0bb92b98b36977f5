// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/methods.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "runtime/chat/sequences.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

absl::StatusOr<Value> ItemsMethod(Context& context, const Value& self,
                                  const std::string& name,
                                  const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind(name, {}, 0).status());
  Budget& budget = context.budget();
  std::vector<Value> items;
  for (const auto& [key, value] : self.AsDict()->items) {
    if (name == "items") {
      ASSIGN_OR_RETURN(Value pair,
                       MakeList(budget, {key, value}, /*is_tuple=*/true));
      items.push_back(std::move(pair));
    } else {
      items.push_back(name == "keys" ? key : value);
    }
  }
  return MakeList(budget, std::move(items));
}

absl::StatusOr<Value> GetMethod(Context& context, const Value& self,
                                const std::string& name,
                                const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind(name, {"key", "default"}, 1));
  ASSIGN_OR_RETURN(const Value* found,
                   Find(context.budget(), *self.AsDict(), *bound[0]));
  if (found != nullptr) return *found;
  return bound[1] == nullptr ? Value() : *bound[1];
}

const MethodTable& DictMethods() {
  static const auto* const methods = new MethodTable{
      {"items", ItemsMethod},
      {"keys", ItemsMethod},
      {"values", ItemsMethod},
      {"get", GetMethod},
  };
  return *methods;
}

}  // namespace

bool HasMethod(const Value& self, const std::string& name) {
  if (self.AsText() != nullptr) return TextMethods().contains(name);
  return self.AsDict() != nullptr && DictMethods().contains(name);
}

bool IsUnsafeMethod(const Value& self, const std::string& name) {
  static const auto* const list_methods = new absl::flat_hash_set<std::string>{
      "append", "clear", "pop",    "reverse",
      "insert", "sort",  "extend", "remove"};
  static const auto* const dict_methods = new absl::flat_hash_set<std::string>{
      "clear", "pop", "popitem", "setdefault", "update"};
  return (self.AsList() != nullptr && !self.AsList()->is_tuple &&
          list_methods->contains(name)) ||
         (self.AsDict() != nullptr && dict_methods->contains(name));
}

absl::StatusOr<Value> CallMethod(Context& context, const Value& self,
                                 const std::string& name,
                                 const Arguments& arguments) {
  const auto& methods =
      self.AsText() != nullptr ? TextMethods() : DictMethods();
  const auto it = methods.find(name);
  if (it == methods.end()) {
    return absl::InternalError(absl::StrCat("no method ", name));
  }
  return it->second(context, self, name, arguments);
}

}  // namespace mla::runtime::jinja
