// FromJson makes template values of what came with a request.
//
// Its texts are untrusted, but for the roles of messages: a role is a plain
// word that templates build markup with ("<|" + role + "|>"), so a value that
// is a plain word under the key "role" is trusted. Threads: any. Errors:
// InvalidArgument for values nested too deep.
#ifndef MLA_RUNTIME_CHAT_JSON_VALUES_H_
#define MLA_RUNTIME_CHAT_JSON_VALUES_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

absl::StatusOr<Value> FromJson(Budget& budget,
                               const nlohmann::ordered_json& json);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_JSON_VALUES_H_
