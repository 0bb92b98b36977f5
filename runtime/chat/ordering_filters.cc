// Filters that compare the items of a list: sort, dictsort, unique, min, max.
//
// Tested by tests/runtime/chat_snippet_test.cc.
#include <algorithm>

#include "runtime/chat/access.h"
#include "runtime/chat/comparison.h"
#include "runtime/chat/filters.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

bool IsGiven(const Value* value) {
  return value != nullptr && !value->IsNone();
}

// Items beside what they are ordered by.
using Keyed = std::vector<std::pair<Value, Value>>;

// As Jinja orders: texts regardless of case, unless told otherwise.
absl::StatusOr<Value> SortKey(Context& context, const Value& value,
                              bool case_sensitive) {
  if (case_sensitive || value.AsText() == nullptr) return value;
  ASSIGN_OR_RETURN(MarkedText lower,
                   ChangeCase(context.budget(), *value.AsText(), Case::kLower));
  return Value::Of(std::move(lower));
}

absl::StatusOr<Keyed> WithKeys(Context& context, std::vector<Value> items,
                               const Value* attribute, bool case_sensitive) {
  Keyed keyed;
  for (Value& item : items) {
    Value subject = item;
    if (IsGiven(attribute)) {
      ASSIGN_OR_RETURN(subject, GetPath(context, item, *attribute));
    }
    ASSIGN_OR_RETURN(Value key, SortKey(context, subject, case_sensitive));
    keyed.emplace_back(std::move(key), std::move(item));
  }
  return keyed;
}

absl::Status SortByKey(Context& context, bool reverse, Keyed* keyed) {
  absl::Status status;
  std::stable_sort(
      keyed->begin(), keyed->end(), [&](const auto& a, const auto& b) {
        if (!status.ok()) return false;
        const auto less = reverse ? Less(context.budget(), b.first, a.first)
                                  : Less(context.budget(), a.first, b.first);
        status = less.status();
        return less.value_or(false);
      });
  return status;
}

absl::StatusOr<Value> ItemsOf(Context& context, Keyed keyed) {
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return MakeList(context.budget(), std::move(items));
}

absl::StatusOr<Value> Sort(Context& context, const Value& input,
                           const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const auto bound,
      arguments.Bind("sort", {"reverse", "case_sensitive", "attribute"}, 0));
  const bool reverse = bound[0] != nullptr && bound[0]->IsTrue();
  const bool case_sensitive = bound[1] != nullptr && bound[1]->IsTrue();
  ASSIGN_OR_RETURN(auto items, Iterate(context.budget(), input));
  ASSIGN_OR_RETURN(Keyed keyed, WithKeys(context, std::move(items), bound[2],
                                         case_sensitive));
  RETURN_IF_ERROR(SortByKey(context, reverse, &keyed));
  return ItemsOf(context, std::move(keyed));
}

absl::StatusOr<Value> DictSort(Context& context, const Value& input,
                               const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const auto bound,
      arguments.Bind("dictsort", {"case_sensitive", "by", "reverse"}, 0));
  const bool case_sensitive = bound[0] != nullptr && bound[0]->IsTrue();
  const bool by_value = bound[1] != nullptr && bound[1]->AsText() != nullptr &&
                        bound[1]->AsText()->str() == "value";
  const bool reverse = bound[2] != nullptr && bound[2]->IsTrue();
  ASSIGN_OR_RETURN(const Value pairs, ApplyFilter(context, "items", input, {}));
  const Value index = Value::Of(int64_t{by_value ? 1 : 0});
  ASSIGN_OR_RETURN(Keyed keyed, WithKeys(context, pairs.AsList()->items, &index,
                                         case_sensitive));
  RETURN_IF_ERROR(SortByKey(context, reverse, &keyed));
  return ItemsOf(context, std::move(keyed));
}

absl::StatusOr<Value> Unique(Context& context, const Value& input,
                             const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const auto bound,
      arguments.Bind("unique", {"case_sensitive", "attribute"}, 0));
  const bool case_sensitive = bound[0] != nullptr && bound[0]->IsTrue();
  ASSIGN_OR_RETURN(auto items, Iterate(context.budget(), input));
  ASSIGN_OR_RETURN(Keyed keyed, WithKeys(context, std::move(items), bound[1],
                                         case_sensitive));
  Keyed kept;
  for (auto& [key, item] : keyed) {
    bool seen = false;
    for (const auto& [other, unused] : kept) {
      ASSIGN_OR_RETURN(seen, Equal(context.budget(), key, other));
      if (seen) break;
    }
    if (!seen) kept.emplace_back(std::move(key), std::move(item));
  }
  return ItemsOf(context, std::move(kept));
}

template <bool largest>
absl::StatusOr<Value> Extreme(Context& context, const Value& input,
                              const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const auto bound,
      arguments.Bind("min or max", {"case_sensitive", "attribute"}, 0));
  const bool case_sensitive = bound[0] != nullptr && bound[0]->IsTrue();
  ASSIGN_OR_RETURN(auto items, Iterate(context.budget(), input));
  ASSIGN_OR_RETURN(Keyed keyed, WithKeys(context, std::move(items), bound[1],
                                         case_sensitive));
  if (keyed.empty()) {
    return Value::MakeUndefined("No aggregated item, sequence was empty.");
  }
  size_t best = 0;
  for (size_t i = 1; i < keyed.size(); ++i) {
    const Value& key = keyed[i].first;
    const Value& best_key = keyed[best].first;
    ASSIGN_OR_RETURN(const bool better,
                     largest ? Less(context.budget(), best_key, key)
                             : Less(context.budget(), key, best_key));
    if (better) best = i;
  }
  return std::move(keyed[best].second);
}

}  // namespace

const FilterTable& OrderingFilters() {
  static const auto* const table = new FilterTable{
      {"sort", Sort},          {"dictsort", DictSort}, {"unique", Unique},
      {"min", Extreme<false>}, {"max", Extreme<true>},
  };
  return *table;
}

}  // namespace mla::runtime::jinja
