// RankBudget: how many elements of a latent each layer gets, so that all
// together lose least under one budget. Greedy, as CARE (2603.17946) does it:
// the next few elements go to where they keep most.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_RANK_BUDGET_H_
#define MLA_RUNTIME_CONVERT_RANK_BUDGET_H_

#include <vector>

#include "absl/types/span.h"
#include "runtime/convert/linear_algebra.h"

namespace mla::runtime {

// What a layer's latent is worth.
struct LayerWorth {
  double share = 0;       // of the residual stream that its attention adds
  DoubleVector spectrum;  // energy by component, descending
};

// kv_lora_rank by layer. Their mean is `mean_rank` or less, by less than a
// step; none is under a quarter of that. The same worth gives the same ranks.
std::vector<int> AllocateRanks(absl::Span<const LayerWorth> layers,
                               int mean_rank);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_RANK_BUDGET_H_
