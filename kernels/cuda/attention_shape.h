// AttentionShape: the compile-time side of an attention kernel. Keys and values
// of a layout are padded with zeros to the next shape's; 576/512 is DeepSeek's
// latent, 192/128 its materialised heads.
// Warps: kRowWarps along packed query rows, kColumnWarps along a tile's tokens
// (of S) and along value columns (of O). Shared memory: Q | K and V, kStages
// tiles of each | P | row maxima, sums and limits.
#ifndef MLA_KERNELS_CUDA_ATTENTION_SHAPE_H_
#define MLA_KERNELS_CUDA_ATTENTION_SHAPE_H_

namespace mla::kernels::cuda {

// How a tile's rows come into shared memory.
enum class RowLoad {
  kAsync,   // bf16, every slice in whole 16-byte pieces: cp.async
  kCodes,   // fp8, every slice in chunks of 8 elements: widened on the way
  kGather,  // anything: any format, odd widths, chosen rows
};

template <int kKeyDimValue, int kValueDimValue, int kRowsValue,
          bool kValuesAreKeysValue, RowLoad kLoadValue>
struct AttentionShape {
  static constexpr int kKeyDim = kKeyDimValue;
  static constexpr int kValueDim = kValueDimValue;
  static constexpr int kRows = kRowsValue;  // packed query rows
  // Values are the first columns of the keys, whose tile they are read from.
  static constexpr bool kValuesAreKeys = kValuesAreKeysValue;
  static constexpr RowLoad kLoad = kLoadValue;

  static constexpr int kTokens = 32;  // of a tile
  static constexpr int kStages = 2;
  static constexpr int kRowWarps = kRows / 16;
  static constexpr int kColumnWarps = kRows == 16 ? 4 : 2;
  static constexpr int kThreads = 32 * kRowWarps * kColumnWarps;
  // Thread blocks that a multiprocessor should run at once: narrow values leave
  // registers for two.
  static constexpr int kMinBlocks = kValueDim <= 128 ? 2 : 1;
  static constexpr int kScoreTiles = kTokens / kColumnWarps / 8;
  static constexpr int kOutTiles = kValueDim / kColumnWarps / 8;

  static constexpr int kQueryBytes = kRows * kKeyDim * 2;
  static constexpr int kKeyBytes = kTokens * kKeyDim * 2;
  static constexpr int kValueBytes =
      kValuesAreKeys ? 0 : kTokens * kValueDim * 2;
  static constexpr int kStageBytes = kKeyBytes + kValueBytes;
  static constexpr int kProbabilityBytes = kRows * kTokens * 2;
  static constexpr int kReductionBytes = (2 * kColumnWarps + 1) * kRows * 4;
  static constexpr int kSharedBytes =
      kQueryBytes + kStages * kStageBytes + kProbabilityBytes + kReductionBytes;

  static_assert(kKeyDim % 64 == 0 && kValueDim % 64 == 0, "whole swizzles");
  static_assert((kOutTiles & (kOutTiles - 1)) == 0, "see Accumulate");
  static_assert(kRows == 16 || kRows == 64, "see kColumnWarps");
  static_assert(!kValuesAreKeys || kValueDim <= kKeyDim, "a part of the keys");
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ATTENTION_SHAPE_H_
