// Launches the row-wise kernels. A row's result depends on that row alone and
// has the same bits whatever rows it is computed with.
// Threads: any, one stream's launches from one at a time.
// Errors:  what the launch returned. No rows: nothing is launched.
#ifndef MLA_KERNELS_CUDA_LAUNCH_ROWS_H_
#define MLA_KERNELS_CUDA_LAUNCH_ROWS_H_

#include <cuda_runtime.h>

#include "kernels/cuda/row_args.h"

namespace mla::kernels::cuda {

cudaError_t LaunchEmbed(const EmbedArgs& args, cudaStream_t stream);
cudaError_t LaunchNorm(const NormArgs& args, cudaStream_t stream);
cudaError_t LaunchRotate(const RotateArgs& args, cudaStream_t stream);
cudaError_t LaunchCast(const CastArgs& args, cudaStream_t stream);

// y = silu(gate) * up or sigmoid(gate) * up, where x = [gate | up].
cudaError_t LaunchSiluMul(Rows x, Rows y, cudaStream_t stream);
cudaError_t LaunchSigmoidMul(Rows x, Rows y, cudaStream_t stream);
// y += scale * x
cudaError_t LaunchAddScaled(Rows x, float scale, Rows y, cudaStream_t stream);
// y *= x
cudaError_t LaunchMul(Rows x, Rows y, cudaStream_t stream);
// y[i] = x[rows[i]]; `rows` [y.rows] in device memory.
cudaError_t LaunchGather(Rows x, const int32_t* rows, Rows y,
                         cudaStream_t stream);
// y = the sum of `count` parts in their order, each [y.rows, y.stride].
cudaError_t LaunchSumParts(const float* parts, int count, int64_t part_stride,
                           Rows y, cudaStream_t stream);

// x *= sigmoid(a . b), row by row.
cudaError_t LaunchScaleBySigmoidDot(Rows a, Rows b, Rows x,
                                    cudaStream_t stream);
// Multiplies the p-th of x's equal parts by softmax(logits)[p].
cudaError_t LaunchScaleParts(Rows logits, Rows x, cudaStream_t stream);
// Multiplies row i by 1 + beta * log(1 + floor(positions[i] / period)).
cudaError_t LaunchScaleByPosition(const int32_t* positions, float beta,
                                  int period, Rows x, cudaStream_t stream);
// Columns 2i and 2i+1 of row r: sine and cosine of
// floor(positions[r] / period) * 10000^(-2i / cols) (1706.03762, section 3.5).
cudaError_t LaunchSinusoids(const int32_t* positions, int period, Rows y,
                            cudaStream_t stream);

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_ROWS_H_
