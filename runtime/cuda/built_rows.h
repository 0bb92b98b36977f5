// BuiltRows: keys and values of some of a sequence's rows, built from what is
// cached in workspace memory, in bf16, as plain rows that the attention kernel
// reads:
//   of heads: [k_0 | k_1 ... | v_0 | v_1 ... | what heads share], where
//     k = W_UK c and v = W_UV c, or EG-MLA's gated ones (kernels/cpu/
//     gated_rows.h);
//   of groups: [keys, rotated | values as they are cached], for layouts whose
//     keys are rotated when they are read.
// Threads: one at a time. Errors: the device's status.
#ifndef MLA_RUNTIME_CUDA_BUILT_ROWS_H_
#define MLA_RUNTIME_CUDA_BUILT_ROWS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/attn_layout.h"
#include "kernels/cuda/cache_args.h"
#include "runtime/backend.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/step.h"
#include "runtime/cuda/weights.h"

namespace mla::runtime {

class BuiltRows {
 public:
  // `tile`: rows that are multiplied at once; `most`: that are built at once.
  // `most` is a multiple of `tile`.
  BuiltRows(Device& device, Gemm& gemm, StepArena& arena, int tile, int most);

  // `ropes` outlive the steps and are always the same.
  void BeginStep(absl::Span<const Rope> ropes) { ropes_ = ropes; }

  // How built rows are read. Its values are the heads' own, except of groups:
  // then the weights' W_UV is left to apply.
  static kernels::AttnLayout LayoutOf(const AttentionWeights& w);

  // Rows [first, first + count) of the sequence whose block table is given;
  // `tokens`: the sequence's.
  void Build(const AttentionWeights& w, const kernels::cuda::CacheArgs& cache,
             const int32_t* block_table, const int32_t* tokens, int first,
             int count);
  const unsigned char* data() const { return rows_.data<unsigned char>(); }
  int most() const { return most_; }

 private:
  struct Source {
    const kernels::cuda::CacheArgs& cache;
    const int32_t* block_table;
    int first;
    int count;
  };
  // A key's or value's elements [begin, end) of `pieces` groups.
  struct View {
    const kernels::Slice (&slices)[2];
    int begin;
    int end;
    int pieces;
  };

  void BuildHeads(const AttentionWeights& w, const kernels::AttnLayout& built,
                  const Source& source);
  void BuildGated(const AttentionWeights& w, const kernels::AttnLayout& built,
                  const Source& source, const int32_t* tokens);
  void BuildRotated(const AttentionWeights& w, const kernels::AttnLayout& built,
                    const Source& source);
  // bf16 at `to`, or float32 at `to_f32`; piece p from p * stride on.
  void Gather(const Source& source, const View& view, uint16_t* to,
              float* to_f32, int64_t row_stride, int stride, int padded);
  // Of a view's groups, which may all be the same: [rows, pieces, padded].
  GemmOperand Latents(const Source& source, const View& view);
  // y = x w^T of `count` rows, for heads whose groups' rows are x's pieces.
  void Project(const DeviceMatrix& w, GemmOperand x, int pieces, int count,
               uint16_t* to, float* to_f32, int64_t row_stride, int stride);
  uint16_t* rows() const { return rows_.data<uint16_t>(); }
  // Of positions [0, end) at least: [positions, angles] each.
  CudaStep::Angles AnglesUpTo(int rope, int end);

  Device& device_;
  Gemm& gemm_;
  StepArena& arena_;
  const int tile_;
  const int most_;
  absl::Span<const Rope> ropes_;
  DeviceBuffer rows_, latents_, embedded_, keys_, gates_;
  struct Table {
    explicit Table(Device& device) : cos(device), sin(device) {}
    DeviceBuffer cos, sin;
    int end = 0;
  };
  std::vector<std::unique_ptr<Table>> tables_;  // by rope
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_BUILT_ROWS_H_
