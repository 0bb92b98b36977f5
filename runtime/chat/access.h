// value.name and value[key], as Jinja's sandbox resolves them.
// A name that is both a method and a key of a dict is the method for
// value.name and the key for value[name].
// Threads: any.
// Errors:  InvalidArgument for looking into an Undefined; the budget's. What is
//          merely not there is an Undefined value.
#ifndef MLA_RUNTIME_CHAT_ACCESS_H_
#define MLA_RUNTIME_CHAT_ACCESS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/chat/context.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

absl::StatusOr<Value> GetAttribute(Context& context, const Value& value,
                                   const std::string& name);
absl::StatusOr<Value> GetItem(Context& context, const Value& value,
                              const Value& key);

// The `attribute` of filters: "a.b.0", or an index.
absl::StatusOr<Value> GetPath(Context& context, const Value& value,
                              const Value& path);

// value[start:stop:step]; null for a bound that is not given.
absl::StatusOr<Value> GetSlice(Context& context, const Value& value,
                               const Value& start, const Value& stop,
                               const Value& step);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_ACCESS_H_
