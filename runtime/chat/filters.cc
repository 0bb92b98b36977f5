// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/filters.h"

#include "absl/strings/str_cat.h"

namespace mla::runtime::jinja {

absl::StatusOr<Value> ApplyFilter(Context& context, const std::string& name,
                                  const Value& input,
                                  const Arguments& arguments) {
  for (const FilterTable* table :
       {&TextFilters(), &SequenceFilters(), &OrderingFilters()}) {
    const auto it = table->find(name);
    if (it != table->end()) return it->second(context, input, arguments);
  }
  return absl::UnimplementedError(
      absl::StrCat("filter '", name, "' is not supported"));
}

}  // namespace mla::runtime::jinja
