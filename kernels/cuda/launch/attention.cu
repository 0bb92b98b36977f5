// Tested by tests/cuda/attention_launch_test.cc.
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/launch/attention.h"

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

cudaError_t LaunchAttention(const AttentionChoice& choice,
                            const AttentionArgs& args, int thread_blocks,
                            cudaStream_t stream) {
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
