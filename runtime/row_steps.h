// What is done to parts of a row between a projection and the cache, or a
// query: norms, then rotations. Threads: plain values; any.
#ifndef MLA_RUNTIME_ROW_STEPS_H_
#define MLA_RUNTIME_ROW_STEPS_H_

#include "absl/types/span.h"

namespace mla::runtime {

// `count` pieces of `length` columns, `stride` apart, from column `first` on.
struct Pieces {
  int first = 0;
  int count = 1;
  int stride = 0;
  int length = 0;
};

struct NormStep {
  Pieces at;
  const float* weight = nullptr;  // [length], of all pieces
  const float* bias = nullptr;    // not null: LayerNorm, else RMSNorm
  float eps = 0;
};

struct RotateStep {
  Pieces at;  // each turns its first rope.dim columns
};

// Norms first.
struct RowSteps {
  absl::Span<const NormStep> norms;
  absl::Span<const RotateStep> rotations;
  int rope = 0;  // which of the model's
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ROW_STEPS_H_
