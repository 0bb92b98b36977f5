// Latent: one low-rank code for a layer's NoPE keys and values (joint PCA,
// TransMLA 2502.07864 section 5; with weights, CARE 2603.17946's idea).
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_LATENT_H_
#define MLA_RUNTIME_CONVERT_LATENT_H_

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/convert/linear_algebra.h"
#include "runtime/convert/rope_split.h"

namespace mla::runtime {

struct Latent {
  DoubleMatrix down;      // [kv_lora_rank, hidden]
  DoubleMatrix key_up;    // [NoPE keys, kv_lora_rank]
  DoubleMatrix value_up;  // [KV heads * head_dim, kv_lora_rank]
  DoubleVector spectrum;  // energy by component, the kept ones first
};

// What an error in a key or value costs: inner products of errors.
struct LatentMetric {
  SquareRoots k;
  SquareRoots v;
};

// Keys and values count by their norms' ratio, `balance` times.
LatentMetric BalancedMetric(const RopeSplit& split, const GqaWeights& w,
                            const Moments& y, double balance);
// Every element counts alike.
LatentMetric PlainMetric(const RopeSplit& split, const GqaWeights& w);
// Keys count by the scores that the queries make of them, values by what the
// output projection makes of them; both in all alike.
absl::StatusOr<LatentMetric> WeightedMetric(const RopeSplit& split,
                                            const GqaWeights& w,
                                            const Moments& y);

absl::StatusOr<Latent> FitLatent(const RopeSplit& split, const GqaWeights& w,
                                 const Moments& y, const LatentMetric& metric,
                                 int rank);
// Keys' own latent of half the rank, then values' own.
absl::StatusOr<Latent> FitTwoLatents(const RopeSplit& split,
                                     const GqaWeights& w, const Moments& y,
                                     int rank);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_LATENT_H_
