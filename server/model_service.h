// ModelService answers mla.serving.v1.ModelService: what is served.
// Owns:    the answer, made once.
// Threads: any; it only reads.
#ifndef MLA_SERVER_MODEL_SERVICE_H_
#define MLA_SERVER_MODEL_SERVICE_H_

#include <memory>

#include "mla/serving/v1/model.pb.h"
#include "runtime/loaded_model.h"

namespace grpc {
class Service;
}

namespace mla::server {

// `model`, as it was loaded with `options`, in the API's words.
serving::v1::Model Describe(const runtime::LoadedModel& model,
                            const runtime::LoadOptions& options);

// `model` outlives the service.
std::unique_ptr<grpc::Service> MakeModelService(
    const runtime::LoadedModel& model, const runtime::LoadOptions& options);

}  // namespace mla::server

#endif  // MLA_SERVER_MODEL_SERVICE_H_
