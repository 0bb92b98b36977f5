// ShardOf: what one of several ranks computes of a model (tensor parallelism,
// 1909.08053, section 3): some of the heads, and a part of every feed-forward
// network's width. A rank's outputs of either are sums over its part, which
// Backend::AllReduce adds up; all else every rank computes alike, but for the
// logits, which are the first one's.
//
// What a rank caches: its KV heads, or its slices of the latent (2603.02188),
// where there are several; a latent that all heads read is on every rank.
// Threads: any.
// Errors:  INVALID_ARGUMENT where a size cannot be divided, UNIMPLEMENTED where
//          an attention cannot; both name the layer.
#ifndef MLA_RUNTIME_SHARD_H_
#define MLA_RUNTIME_SHARD_H_

#include "absl/status/statusor.h"
#include "runtime/model_config.h"
#include "runtime/part.h"

namespace mla::runtime {

absl::StatusOr<ModelConfig> ShardOf(const ModelConfig& config, Part rank);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_SHARD_H_
