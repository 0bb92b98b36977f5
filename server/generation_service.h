// GenerationService answers mla.serving.v1.GenerationService: it parses,
// checks and tokenizes on gRPC's threads and hands over to the engine.
// Owns:    nothing but the names it looks up in `context`.
// Threads: any.
// Errors:  statuses with google.rpc details. An exception (memory that is not
//          there) ends the call it happens in.
// Flow:    the client -> [here] -> request_conversion -> Engine
#ifndef MLA_SERVER_GENERATION_SERVICE_H_
#define MLA_SERVER_GENERATION_SERVICE_H_

#include <memory>

#include "server/generation_context.h"

namespace grpc {
class Service;
}

namespace mla::server {

std::unique_ptr<grpc::Service> MakeGenerationService(
    const GenerationContext& context);

}  // namespace mla::server

#endif  // MLA_SERVER_GENERATION_SERVICE_H_
