// WarmUp sends one short request through the engine, so that the first client
// pays for no first touch of weights, cache or threads.
// Threads: any; blocks until the request has ended.
// Errors:  what the engine ends it with: the server cannot serve then.
#ifndef MLA_SERVER_WARM_UP_H_
#define MLA_SERVER_WARM_UP_H_

#include "absl/status/status.h"
#include "runtime/engine.h"

namespace mla::server {

absl::Status WarmUp(runtime::Engine& engine);

}  // namespace mla::server

#endif  // MLA_SERVER_WARM_UP_H_
