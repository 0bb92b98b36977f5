// What the sampling kernel is told; see kernels/sample_args.h. Pointers are to
// device memory.
#ifndef MLA_KERNELS_CUDA_SAMPLE_ARGS_H_
#define MLA_KERNELS_CUDA_SAMPLE_ARGS_H_

#include <cstdint>

#include "kernels/sample_args.h"
#include "kernels/views.h"

namespace mla::kernels::cuda {

// A token for each row. A row's result is the same whatever the other rows are.
struct SampleArgs {
  Rows logits;                      // changed
  const Draw* draws = nullptr;      // [rows]
  LogitChange* changes = nullptr;   // of all rows; their scratch is used
  const int32_t* newest = nullptr;  // tokens that the step before drew
  int32_t* tokens = nullptr;        // [rows]: drawn[i].id, 0 where none is
  Drawn* drawn = nullptr;           // [rows]
};

// tokens[i] = drawn[from[i]], where from[i] is not negative.
struct TakeTokensArgs {
  int32_t* tokens = nullptr;      // [rows]
  const int32_t* from = nullptr;  // [rows]
  const int32_t* drawn = nullptr;
  int64_t rows = 0;
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_SAMPLE_ARGS_H_
