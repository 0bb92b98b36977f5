// The filters of template expressions: `value | name(arguments)`.
// Each table has its file: text_filters.cc (texts and numbers),
// sequence_filters.cc (lists and dicts), ordering_filters.cc (what compares).
// Threads: any.
// Errors:  Unimplemented for a filter that is not in the tables; those of the
//          filter; the budget's.
#ifndef MLA_RUNTIME_CHAT_FILTERS_H_
#define MLA_RUNTIME_CHAT_FILTERS_H_

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/chat/arguments.h"
#include "runtime/chat/context.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

absl::StatusOr<Value> ApplyFilter(Context& context, const std::string& name,
                                  const Value& input,
                                  const Arguments& arguments);

using Filter = absl::StatusOr<Value> (*)(Context& context, const Value& input,
                                         const Arguments& arguments);
using FilterTable = absl::flat_hash_map<std::string, Filter>;
const FilterTable& TextFilters();
const FilterTable& SequenceFilters();
const FilterTable& OrderingFilters();

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_FILTERS_H_
