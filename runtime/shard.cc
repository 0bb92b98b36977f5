// Tested by tests/runtime/tensor_parallel_test.cc.
#include "runtime/shard.h"

#include <vector>

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

// Of a rope that has a set of frequencies for each KV head, the rank's heads'.
void ShardRope(Rope& rope, Part part) {
  const auto take = [&](std::vector<float>& all) {
    const int size = static_cast<int>(all.size()) / part.count;
    all = {all.begin() + part.First(size),
           all.begin() + part.First(size) + size};
  };
  take(rope.inv_freq);
  take(rope.long_inv_freq);
  rope.sets /= part.count;
}

absl::Status ShardRopes(const ModelConfig& whole, ModelConfig& shard) {
  for (const AttentionConfig& a : shard.attention) {
    const int sets = whole.ropes[a.rope].sets;
    Rope& rope = shard.ropes[a.rope];
    if (sets == 1) continue;
    if (rope.sets == sets) ShardRope(rope, a.group_part);
    if (rope.sets * a.group_part.count != sets) {
      return absl::UnimplementedError(
          "tensor parallelism of layers that share the frequencies of unequal "
          "numbers of KV heads");
    }
  }
  return absl::OkStatus();
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
  RETURN_IF_ERROR(ShardRopes(config, shard));
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
