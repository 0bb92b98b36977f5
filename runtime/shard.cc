// Tested by tests/runtime/tensor_parallel_test.cc.
#include "runtime/shard.h"

#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status ShardLayer(ModelConfig& config, int layer) {
  AttentionConfig& a = config.attention[layer];
  const absl::Status status = ShardAttention(a, config.rank);
  if (status.ok()) return status;
  return absl::Status(
      status.code(),
      absl::StrCat("tensor parallelism over ", config.rank.count,
                   " ranks: layer ", layer, ", attention '",
                   FormOf(a.kind).name, "': ", status.message()));
}

absl::Status Divide(const char* what, Part rank, int& size) {
  if (absl::Status status = CheckDivides(what, size, rank.count);
      !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor parallelism: ", status.message()));
  }
  size /= rank.count;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ShardOf(const ModelConfig& config, Part rank) {
  ModelConfig shard = config;
  shard.rank = rank;
  if (rank.count == 1) return shard;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    RETURN_IF_ERROR(ShardLayer(shard, layer));
  }
  bool is_dense = false;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    is_dense = is_dense || config.IsDense(layer);
  }
  if (is_dense) {
    RETURN_IF_ERROR(Divide("intermediate_size", rank, shard.intermediate_size));
  }
  if (shard.moe) {
    RETURN_IF_ERROR(Divide("an expert's intermediate size", rank,
                           shard.moe->intermediate_size));
    RETURN_IF_ERROR(Divide("the shared experts' intermediate size", rank,
                           shard.moe->shared_intermediate_size));
  }
  return shard;
}

}  // namespace mla::runtime
