// Chooses and launches attention kernels: attention.cuh is compiled for a
// handful of shapes, and a layout is run by the smallest that holds it. Tiles
// of 64 rows of DeepSeek's latent (576/512) are Hopper's kernel's on such a
// device (attention_hopper.cuh), where the cache's rows can be copied by boxes.
// Threads: any, one stream's launches from one at a time.
// Errors:  what the launch returned; a layout that no shape holds is refused
//          before anything is launched.
#ifndef MLA_KERNELS_CUDA_LAUNCH_ATTENTION_H_
#define MLA_KERNELS_CUDA_LAUNCH_ATTENTION_H_

#include <cuda_runtime.h>

#include "kernels/attn_layout.h"
#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/attention_shape.h"

namespace mla::kernels::cuda {

struct AttentionChoice {
  int key_dim = 0;  // of the shape: at least the layout's
  int value_dim = 0;
  int tile_rows = 0;  // packed query rows of a piece
  bool values_are_keys = false;
  bool one_latent = false;  // rows as Hopper's kernel reads them
  RowLoad load = RowLoad::kGather;
  int shared_bytes = 0;  // of a thread block
};

// False if no shape holds the layout. `packed_rows`: the most that a span's
// group has; a tile of 64 is taken where they fill it and `shared_bytes`, what
// a block may have on this device, allows it.
bool ChooseAttention(const AttnLayout& layout, const RowFormat& format,
                     int packed_rows, int shared_bytes,
                     AttentionChoice* choice);

// Whether it is Hopper's kernel that LaunchAttention takes on this device.
bool IsHoppers(const AttentionChoice& choice, const AttentionArgs& args);

// `thread_blocks` is the plan's.
cudaError_t LaunchAttention(const AttentionChoice& choice,
                            const AttentionArgs& args, int thread_blocks,
                            cudaStream_t stream);
cudaError_t LaunchCombine(const AttentionChoice& choice,
                          const CombineArgs& args, cudaStream_t stream);

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_ATTENTION_H_
