// ModelService answers mla.serving.v1.ModelService: what is served.
// Owns:    the answer, made once.
// Threads: any; it only reads.
#ifndef MLA_SERVER_MODEL_SERVICE_H_
#define MLA_SERVER_MODEL_SERVICE_H_

#include <memory>

#include "kernels/dtype.h"
#include "mla/serving/v1/model.pb.h"
#include "runtime/loaded_model.h"

namespace grpc {
class Service;
}

namespace mla::server {

// `model` in the API's words.
serving::v1::Model Describe(const runtime::LoadedModel& model,
                            kernels::DType weights_dtype,
                            kernels::DType kv_dtype);

// Answers with `description`.
std::unique_ptr<grpc::Service> MakeModelService(serving::v1::Model description);

}  // namespace mla::server

#endif  // MLA_SERVER_MODEL_SERVICE_H_
