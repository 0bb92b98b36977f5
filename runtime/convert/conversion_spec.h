// ConversionSpec: which method converts a model and how far, as one text:
//   "sequential:kv_lora_rank=88,qk_rope_head_dim=32", "sequential:ratio=0.5"
// Threads: a plain value; any. Errors: INVALID_ARGUMENT names the field.
#ifndef MLA_RUNTIME_CONVERT_CONVERSION_SPEC_H_
#define MLA_RUNTIME_CONVERT_CONVERSION_SPEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/convert/rope_choices.h"

namespace mla::runtime {

enum class ConversionMethod {
  kTransMla,    // as published: RoRoPE, FreqFold, balanced PCA
  kWeighted,    // the same, weighted by scores and outputs
  kSequential,  // layer by layer, each mending what those before it lost
  kExact,       // nothing: keys and values stay as they are
  kCare,        // TransMLA's RoPE, and PCA of keys and values alike
  kXEcoMla,     // SVD of keys and values, the heads' mean as rope key
  kMha2Mla,     // RoPE on some pairs of every KV head, SVD of the rest
  kLorc,        // SVD of keys and of values, which stay those of heads
  kQcqa,        // fewer KV heads: the means of like ones
  kEffKv,       // fewer KV heads: what most of several lies in
};

// Whether there is no MLA in what the method makes, but keys and values of
// heads, which turn as in the source: head_weights.h.
bool KeepsHeads(ConversionMethod method);
// Whether the method looks at weights alone, so that no text is to be run.
bool IgnoresText(ConversionMethod method);

// No ladder: the RoPE components that matter most, at any frequency.
inline constexpr int kSelectRope = 0;
// In each layer, the one whose attention comes nearest to the source's.
inline constexpr int kFoldPerLayer = -1;
// TransMLA's search: doubled while text that was held out reads better.
inline constexpr int kFoldBySearch = -2;

// Whose fields the converted folder has.
enum class FolderLayout {
  kExtended,    // ours, which hold every conversion
  kDeepSeekV3,  // stock deepseek_v3: stock_layout.h
};

struct ConversionSpec {
  ConversionMethod method = ConversionMethod::kSequential;
  // A budget, of which WithinBudget makes ranks: bytes of the source's, or of a
  // token in bf16. 0: none.
  double ratio = 0;
  int bytes_per_token = 0;
  int kv_lora_rank = 0;       // of every layer, or their mean
  bool greedy_ranks = false;  // more where it keeps more
  int qk_rope_head_dim = 0;
  int kv_heads = 0;     // of every layer, where heads are kept
  int q_lora_rank = 0;  // 0: queries are projected at once
  int freqfold = 0;     // 0: RoPE components are selected, not laddered
  double balance = 1;   // TransMLA's alpha
  Mixing mixing = Mixing::kWeighted;
  double feedback = 0.5;  // of what earlier layers lost; sequential only
  PairChoice select = PairChoice::k2Norm;  // MHA2MLA's, as the next two
  bool joint_svd = true;       // one latent for keys and values, or one of each
  bool from_weights = true;    // not from what they make of calibration text
  bool single_latent = false;  // exact: all heads in one latent, not each alone
  FolderLayout folder = FolderLayout::kExtended;  // not part of the text

  // In full: what a folder says about how it was made.
  std::string ToString() const;
};

absl::StatusOr<ConversionSpec> ParseConversionSpec(const std::string& text);

// For --help.
inline constexpr char kConversionSpecHelp[] =
    "METHOD:FIELD=VALUE,... METHOD is exact (the same model, as large), "
    "sequential (best), weighted, or as published transmla, care, mha2mla, "
    "x-ecomla, lorc, qcqa or effkv. "
    "FIELDs: ratio (of the source's cache; 0.5 if nothing is said), "
    "bytes-per-token, or kv_lora_rank and qk_rope_head_dim (their sum is what "
    "a token caches in a layer), and the method's own: docs/CONVERSION.md "
    "lists them";

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERSION_SPEC_H_
