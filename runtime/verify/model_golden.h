// Holds a model against the outputs that transformers recorded for it:
// golden.json and golden.safetensors (logits of prompts, activations, greedy
// tokens with their margins, perplexity of a text).
// Threads: one at a time.
// Errors:  what cannot be read; what is read and differs is in the report.
#ifndef MLA_RUNTIME_VERIFY_MODEL_GOLDEN_H_
#define MLA_RUNTIME_VERIFY_MODEL_GOLDEN_H_

#include <string>

#include "absl/status/status.h"
#include "runtime/loaded_model.h"
#include "runtime/verify/report.h"

namespace mla::runtime {

struct VerifyOptions {
  kernels::DType kv_dtype = kernels::DType::kF32;
  int block_tokens = 64;
  // The same model with weights and rows in float, or null. Rounding may send
  // a token to another expert, whose output no bound relates to the first's; a
  // rounded model with experts is therefore held to the goldens with every
  // token sent where float sends it.
  ParallelModel* routing = nullptr;
};

// How far a row of logits or activations may be from float32's, relative to
// the row's 2-norm.
//
// In float: 1e-4, which is about sqrt(depth) roundings of 2^-24 through sums of
// some thousand terms, with room for another order of summation.
//
// With bf16 weights, rows or inputs each rounding perturbs its tensor by at
// most u = 2^-9 of its norm. A layer rounds R tensors: input and weight of
// every projection, and the cache row. Within a layer they may all add up, and
// a gate, which multiplies two of them, doubles that; the L layers' shares are
// independent of one another: 2 u R sqrt(L). In a mean over thousands of tokens
// all are independent: 2 u sqrt(R L). What leaves a gated network is a product
// of two that were both off as far as its input was: twice the row's bound,
// until the residual stream takes it in.
//
// A backend that rounds attention's operands rounds four tensors more, queries,
// keys, values and probabilities, and its attention's output is such a product.
struct Tolerance {
  double row = 0;        // of a row's error, relative to its norm
  double gated = 0;      // the same, of a feed-forward network's output
  double attention = 0;  // ...and of attention's
  double mean = 0;       // of a mean negative log-likelihood, in nats
};
Tolerance ToleranceFor(const ModelConfig& config, kernels::DType weights_dtype,
                       kernels::DType kv_dtype, bool rounds_attention);

// Appends the checks of `folder`'s golden.json to the report.
absl::Status VerifyModelGolden(LoadedModel& loaded, const std::string& folder,
                               const VerifyOptions& options, Report& report);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_VERIFY_MODEL_GOLDEN_H_
