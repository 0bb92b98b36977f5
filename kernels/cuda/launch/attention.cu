// Tested by tests/cuda/attention_launch_test.cc.
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_hopper.cuh"
#include "kernels/cuda/launch/attention.h"
#include "kernels/cuda/launch/launch_kernel.h"
#include "kernels/cuda/launch/row_boxes.h"

namespace mla::kernels::cuda {
namespace {

// Keys and values that shapes are made for, in order of what they cost:
// DeepSeek's materialised heads are 192/128, MiniCPM3's latent 288/256,
// DeepSeek's latent 576/512.
struct Dims {
  int key, value;
};
constexpr Dims kDims[] = {{64, 64},   {128, 128}, {192, 128},
                          {256, 256}, {320, 256}, {576, 512}};

constexpr int kChunk = 8;  // elements that are copied at once

bool InChunks(const Slice& s) {
  return s.offset % kChunk == 0 && s.group_stride % kChunk == 0 &&
         s.length % kChunk == 0;
}

bool ValuesAreKeys(const AttnLayout& l) {
  return l.value[1].length == 0 && l.value[0].offset == l.key[0].offset &&
         l.value[0].group_stride == l.key[0].group_stride &&
         l.value[0].length <= l.key[0].length;
}

template <class Shape>
cudaError_t Launch(const AttentionArgs& args, int thread_blocks,
                   cudaStream_t stream) {
  void (*kernel)(AttentionArgs) = AttentionKernel<Shape>;
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes);
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(thread_blocks);
  config.blockDim = dim3(Shape::kThreads);
  config.dynamicSmemBytes = Shape::kSharedBytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args);
}

// ---- Hopper's kernel, which computes what the portable one of tiles of 64
// does

using Hopper = HopperShape<576, 512>;

bool ReadsOneLatent(const AttnLayout& l) {
  const bool in_one = l.key[1].length == 0 ||
                      l.key[1].offset == l.key[0].offset + l.key[0].length;
  return l.groups == 1 && l.key[0].offset == 0 && in_one && ValuesAreKeys(l) &&
         l.key_length() == Hopper::kKeyDim &&
         l.value_length() == Hopper::kValueDim;
}

// By what all steps of a layer have in common: which kernel a request meets
// must not depend on its neighbours.
bool FitsHopper(const AttentionChoice& choice, const AttentionArgs& args) {
  const bool plain = args.newest_rows == nullptr && args.selected == nullptr &&
                     args.state == nullptr && args.time_stride == 1;
  const bool even = args.out_head_stride % 2 == 0 &&
                    args.out_row_stride % 2 == 0 &&
                    args.out_head_stride >= Hopper::kValueDim &&
                    reinterpret_cast<uintptr_t>(args.out_f32) % 8 == 0 &&
                    reinterpret_cast<uintptr_t>(args.out_bf16) % 4 == 0;
  return choice.one_latent && choice.tile_rows == Hopper::kRows && plain &&
         even && FitBoxes(args, Hopper::kKeyDim);
}

// On this device, whose code has to be sm_90a's: the kernel is made for one
// warp elsewhere, as where PTX of another architecture was compiled for it.
bool HasHopper() {
  int device = 0, major = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor,
                             device) != cudaSuccess ||
      major != 9) {
    return false;
  }
  cudaFuncAttributes attributes;
  void (*kernel)(HopperAttentionArgs) = HopperAttentionKernel<Hopper>;
  return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess &&
         attributes.maxThreadsPerBlock >= Hopper::kThreads;
}

// The driver's function, without linking the driver; null if it has none.
EncodeTiled FindEncodeTiled() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  constexpr unsigned kSince = 12000;  // CUDA 12.0
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                       kSince, cudaEnableDefault,
                                       &found) != cudaSuccess ||
      found != cudaDriverEntryPointSuccess) {
    return nullptr;
  }
  return reinterpret_cast<EncodeTiled>(function);
}

bool MakeHopperArgs(const AttentionChoice& choice, const AttentionArgs& args,
                    HopperAttentionArgs* hopper) {
  if (!FitsHopper(choice, args) || !HasHopper()) return false;
  const EncodeTiled encode = FindEncodeTiled();
  hopper->attention = args;
  return encode != nullptr &&
         BoxesOf(args, Hopper::kKeyDim, encode, &hopper->rows) == CUDA_SUCCESS;
}

cudaError_t LaunchHopper(const HopperAttentionArgs& args, int thread_blocks,
                         cudaStream_t stream) {
  void (*kernel)(HopperAttentionArgs) = HopperAttentionKernel<Hopper>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           Hopper::kSharedBytes);
  if (error != cudaSuccess) return error;
  return LaunchKernel(kernel, dim3(thread_blocks), Hopper::kThreads,
                      Hopper::kSharedBytes, args, stream);
}

template <class Shape>
cudaError_t Combine(const CombineArgs& args, cudaStream_t stream) {
  void (*kernel)(CombineArgs) = CombineKernel<Shape>;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(args.num_work, Shape::kRows / 8);
  config.blockDim = dim3(256);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args);
}

// Calls `f` with the choice's shape as its argument's type.
template <int kKeyDim, int kValueDim, RowLoad kLoad, class F>
cudaError_t WithLoad(const AttentionChoice& c, F f) {
  if (c.tile_rows == 16) {
    return c.values_are_keys
               ? f(AttentionShape<kKeyDim, kValueDim, 16, true, kLoad>())
               : f(AttentionShape<kKeyDim, kValueDim, 16, false, kLoad>());
  }
  return c.values_are_keys
             ? f(AttentionShape<kKeyDim, kValueDim, 64, true, kLoad>())
             : f(AttentionShape<kKeyDim, kValueDim, 64, false, kLoad>());
}

template <int kKeyDim, int kValueDim, class F>
cudaError_t WithRows(const AttentionChoice& c, F f) {
  switch (c.load) {
    case RowLoad::kAsync:
      return WithLoad<kKeyDim, kValueDim, RowLoad::kAsync>(c, f);
    case RowLoad::kCodes:
      return WithLoad<kKeyDim, kValueDim, RowLoad::kCodes>(c, f);
    case RowLoad::kGather:
      return c.values_are_keys ? f(AttentionShape<kKeyDim, kValueDim, 16, true,
                                                  RowLoad::kGather>())
                               : f(AttentionShape<kKeyDim, kValueDim, 16, false,
                                                  RowLoad::kGather>());
  }
  return cudaErrorInvalidValue;
}

template <class F>
cudaError_t WithShape(const AttentionChoice& c, F f) {
  switch (c.key_dim) {
    case 64:
      return WithRows<64, 64>(c, f);
    case 128:
      return WithRows<128, 128>(c, f);
    case 192:
      return WithRows<192, 128>(c, f);
    case 256:
      return WithRows<256, 256>(c, f);
    case 320:
      return WithRows<320, 256>(c, f);
    case 576:
      return WithRows<576, 512>(c, f);
    default:
      return cudaErrorInvalidValue;
  }
}

int SharedBytes(const AttentionChoice& choice) {
  int bytes = 0;
  WithShape(choice, [&](auto shape) {
    bytes = decltype(shape)::kSharedBytes;
    return cudaSuccess;
  });
  return bytes;
}

}  // namespace

bool ChooseAttention(const AttnLayout& layout, const RowFormat& format,
                     int packed_rows, int shared_bytes,
                     AttentionChoice* choice) {
  AttentionChoice c;
  c.values_are_keys = ValuesAreKeys(layout);
  c.one_latent = ReadsOneLatent(layout);
  const bool in_chunks = layout.row_width % kChunk == 0 &&
                         InChunks(layout.key[0]) && InChunks(layout.key[1]) &&
                         InChunks(layout.value[0]) && InChunks(layout.value[1]);
  if (in_chunks && format.dtype == DType::kBF16) c.load = RowLoad::kAsync;
  if (in_chunks && format.dtype == DType::kF8E4M3 &&
      format.quantised % kChunk == 0) {
    c.load = RowLoad::kCodes;
  }
  for (const Dims& dims : kDims) {
    if (dims.key < layout.key_length() || dims.value < layout.value_length()) {
      continue;
    }
    c.key_dim = dims.key;
    c.value_dim = dims.value;
    for (const int rows : {64, 16}) {
      if (rows == 64 && (packed_rows <= 16 || c.load == RowLoad::kGather)) {
        continue;
      }
      c.tile_rows = rows;
      c.shared_bytes = SharedBytes(c);
      if (c.shared_bytes > shared_bytes) continue;
      *choice = c;
      return true;
    }
  }
  return false;
}

bool IsHoppers(const AttentionChoice& choice, const AttentionArgs& args) {
  HopperAttentionArgs made;
  return MakeHopperArgs(choice, args, &made);
}

cudaError_t LaunchAttention(const AttentionChoice& choice,
                            const AttentionArgs& args, int thread_blocks,
                            cudaStream_t stream) {
  HopperAttentionArgs hopper;
  if (MakeHopperArgs(choice, args, &hopper)) {
    return LaunchHopper(hopper, thread_blocks, stream);
  }
  return WithShape(choice, [&](auto shape) {
    return Launch<decltype(shape)>(args, thread_blocks, stream);
  });
}

cudaError_t LaunchCombine(const AttentionChoice& choice,
                          const CombineArgs& args, cudaStream_t stream) {
  if (args.num_work == 0) return cudaSuccess;
  return WithShape(choice, [&](auto shape) {
    return Combine<decltype(shape)>(args, stream);
  });
}

}  // namespace mla::kernels::cuda
