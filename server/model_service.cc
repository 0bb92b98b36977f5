// Tested by tests/server/model_service_test.cc.
#include "server/model_service.h"

#include <grpcpp/support/server_callback.h>

#include <cmath>
#include <utility>

#include "mla/serving/v1/model.grpc.pb.h"
#include "runtime/attention/attention_form.h"
#include "server/grpc_status.h"
#include "server/request_conversion.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

void DescribeAttention(const runtime::AttentionConfig& attention,
                       v1::AttentionLayout& out) {
  const kernels::AttnLayout layout = attention.Layout();
  out.set_kind(runtime::FormOf(attention.kind).name);
  out.set_heads(attention.heads);
  out.set_latent_groups(layout.groups);
  out.set_row_width(layout.row_width);
  out.set_tokens_per_row(layout.time_stride);
  if (attention.kind != runtime::AttentionKind::kMla) return;
  out.set_kv_lora_rank(attention.kv_lora_rank);
  out.set_qk_nope_head_dim(attention.qk_nope_head_dim);
  out.set_qk_rope_head_dim(attention.qk_rope_head_dim);
  out.set_v_head_dim(attention.v_head_dim);
}

class ModelService final : public v1::ModelService::CallbackService {
 public:
  explicit ModelService(v1::Model description)
      : description_(std::move(description)) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* call,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override {
    const absl::Status status =
        CheckModel(request->name(), description_.name());
    if (status.ok()) *response = description_;
    return Finished(call, status);
  }

  grpc::ServerUnaryReactor* ListModels(
      grpc::CallbackServerContext* call, const v1::ListModelsRequest*,
      v1::ListModelsResponse* response) override {
    *response->add_models() = description_;
    return Finished(call, absl::OkStatus());
  }

 private:
  static grpc::ServerUnaryReactor* Finished(grpc::CallbackServerContext* call,
                                            const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    reactor->Finish(ToGrpcStatus(status, *call));
    return reactor;
  }

  const v1::Model description_;
};

}  // namespace

v1::Model Describe(const runtime::LoadedModel& model,
                   kernels::DType weights_dtype, kernels::DType kv_dtype) {
  const runtime::ModelConfig& config = model.config;
  v1::Model out;
  out.set_name(model.name);
  out.set_architecture(config.architecture);
  out.set_parameters(config.Parameters());
  out.set_num_layers(config.num_layers);
  out.set_hidden_size(config.hidden_size);
  out.set_vocab_size(config.vocab_size);
  out.set_max_context_tokens(config.max_position);
  out.set_has_tokenizer(model.tokenizer != nullptr);
  out.set_has_chat_template(model.chat_template.ok());
  for (const int32_t id : model.eos_token_ids) out.add_eos_token_ids(id);
  DescribeAttention(config.attention[0], *out.mutable_attention());
  out.set_kv_bytes_per_token(
      static_cast<uint64_t>(std::ceil(model.model->KvBytesPerToken(kv_dtype))));
  out.set_kv_dtype(kernels::Name(kv_dtype));
  out.set_weights_dtype(kernels::Name(weights_dtype));
  return out;
}

std::unique_ptr<grpc::Service> MakeModelService(v1::Model description) {
  return std::make_unique<ModelService>(std::move(description));
}

}  // namespace mla::server
