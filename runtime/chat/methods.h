// The methods of texts and dicts that templates may call: those of Python's str
// and dict that change nothing, as in Jinja's immutable sandbox.
// Threads: any.
// Errors:  InvalidArgument in Python's words, Unimplemented for what Python has
//          and this has not; the budget's.
#ifndef MLA_RUNTIME_CHAT_METHODS_H_
#define MLA_RUNTIME_CHAT_METHODS_H_

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/chat/arguments.h"
#include "runtime/chat/context.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

bool HasMethod(const Value& self, const std::string& name);

// A method that would change its object, such as list.append.
bool IsUnsafeMethod(const Value& self, const std::string& name);

// HasMethod(self, name) holds.
absl::StatusOr<Value> CallMethod(Context& context, const Value& self,
                                 const std::string& name,
                                 const Arguments& arguments);

using Method = absl::StatusOr<Value> (*)(Context& context, const Value& self,
                                         const std::string& name,
                                         const Arguments& arguments);
using MethodTable = absl::flat_hash_map<std::string, Method>;
const MethodTable& TextMethods();  // text_methods.cc

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_METHODS_H_
