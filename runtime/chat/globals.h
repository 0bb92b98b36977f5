// The functions that every template can call: range, namespace, dict,
// raise_exception and strftime_now.
// Threads: any.
// Errors:  Call passes on the template's own message from raise_exception, and
//          says so in the context.
#ifndef MLA_RUNTIME_CHAT_GLOBALS_H_
#define MLA_RUNTIME_CHAT_GLOBALS_H_

#include <memory>
#include <string>

#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

// Null if there is no such function.
std::shared_ptr<Object> FindGlobal(const std::string& name);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_GLOBALS_H_
