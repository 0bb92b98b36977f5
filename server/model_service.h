// ModelService answers mla.serving.v1.ModelService: what is served.
// Threads: any; it only reads.
#ifndef MLA_SERVER_MODEL_SERVICE_H_
#define MLA_SERVER_MODEL_SERVICE_H_

#include <memory>

#include "runtime/loaded_model.h"

namespace grpc {
class Service;
}

namespace mla::server {

// `model` outlives the service.
std::unique_ptr<grpc::Service> MakeModelService(
    const runtime::LoadedModel& model);

}  // namespace mla::server

#endif  // MLA_SERVER_MODEL_SERVICE_H_
