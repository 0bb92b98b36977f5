// X-EcoMLA's initial RoPE (2503.11132, whose code this follows): the rope key
// is the mean over KV heads of their last elements, in pairs (2i, 2i+1) that
// turn with a ladder of its own; the first elements of every head no longer
// turn. Far from the model it starts from: meant to be trained. Threads: a
// function of its arguments; any.
#ifndef MLA_RUNTIME_CONVERT_SHARED_ROPE_H_
#define MLA_RUNTIME_CONVERT_SHARED_ROPE_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/convert/gqa_weights.h"
#include "runtime/convert/rope_split.h"

namespace mla::runtime {

// As a RopeSplit whose k_nope is whole keys, which the latent codes whole as
// well; queries meet their first head_dim - rope_dim elements.
// INVALID_ARGUMENT unless rope_dim is even and divides head_dim.
absl::StatusOr<RopeSplit> SplitShared(const GqaWeights& w,
                                      absl::Span<const float> inv_freq,
                                      int rope_dim);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_SHARED_ROPE_H_
