// Chooses each row's experts. What it computes: RouteArgs in
// kernels/cuda/moe_args.h; the routers: kernels/router_args.h.
//
// RouteKernel, a warp per row, scores in shared memory. Choices are made one
// after another: the best that comes behind the one before. A score is a float
// exponential of full accuracy, for a choice hangs on it.
//
// NaN has no place in an order: a logit, a corrected score or a group's score
// that is one counts as -inf. So every row gets experts that differ.
#ifndef MLA_KERNELS_CUDA_MOE_ROUTE_CUH_
#define MLA_KERNELS_CUDA_MOE_ROUTE_CUH_

#include <cmath>

#include "kernels/cuda/moe_args.h"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kRouteThreads = 32;

// Shared memory: scores and corrected ones, of experts; group scores; chosen.
inline int RouteSharedBytes(const RouteArgs& args) {
  return (2 * args.logits.cols + args.router.groups + args.router.top_k) * 4;
}

MLA_DEVICE float NaNToLowest(float x) {
  return x != x ? NegativeInfinity() : x;
}

// A value among those to choose from.
struct RouteValue {
  float value;
  int32_t index;
};
// Larger ones come first, equal ones by index.
MLA_DEVICE bool ComesBefore(const RouteValue& a, const RouteValue& b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}
MLA_DEVICE RouteValue BeforeAll() { return {-NegativeInfinity(), -1}; }

// The first of values[0, n) that comes behind `last`; every lane gets the same.
// REQUIRES: there is one, and no NaN.
MLA_DEVICE RouteValue NextValue(const float* values, int n,
                                const RouteValue& last) {
  RouteValue best{NegativeInfinity(), n};
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kRouteThreads) {
    const RouteValue v{values[i], i};
    if (ComesBefore(last, v) && ComesBefore(v, best)) best = v;
  }
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) {
    const RouteValue other{ShuffleXor(best.value, i),
                           ShuffleXor(best.index, i)};
    if (ComesBefore(other, best)) best = other;
  }
  return best;
}

// Each lane's scores are its own.
MLA_DEVICE void ScoreExperts(const RouteArgs& args, const float* logits,
                             float* scores) {
  const int lane = static_cast<int>(threadIdx.x), experts = args.logits.cols;
  if (args.router.scoring == RouterArgs::Scoring::kSigmoid) {
    for (int e = lane; e < experts; e += kRouteThreads) {
      scores[e] = 1.0f / (1.0f + ::expf(-NaNToLowest(logits[e])));
    }
    return;
  }
  float top = NegativeInfinity();
  for (int e = lane; e < experts; e += kRouteThreads) {
    scores[e] = NaNToLowest(logits[e]);
    top = Max(top, scores[e]);
  }
  top = WarpMax(top);
  float total = 0.0f;
  for (int e = lane; e < experts; e += kRouteThreads) {
    scores[e] = ::expf(scores[e] - top);
    total += scores[e];
  }
  total = WarpSum(total);
  for (int e = lane; e < experts; e += kRouteThreads) scores[e] /= total;
}

// Leaves the experts of the best groups only to choose from. Ends with a
// barrier passed.
MLA_DEVICE void KeepBestGroups(const RouterArgs& router, int experts,
                               float* choice, float* group_scores) {
  const int lane = static_cast<int>(threadIdx.x);
  const int size = experts / router.groups;
  const int best = router.group_best < size ? router.group_best : size;
  for (int g = 0; g < router.groups; ++g) {
    RouteValue last = BeforeAll();
    float sum = 0.0f;
    for (int i = 0; i < best; ++i) {
      last = NextValue(choice + g * size, size, last);
      sum += last.value;
    }
    if (lane == 0) group_scores[g] = NaNToLowest(sum);
  }
  SyncWarp();  // group scores; all have read what there was to choose from
  RouteValue last = BeforeAll();
  for (int i = 0; i < router.top_groups; ++i) {
    last = NextValue(group_scores, router.groups, last);
  }
  for (int e = lane; e < experts; e += kRouteThreads) {
    const int g = e / size;
    if (ComesBefore(last, {group_scores[g], g})) choice[e] = NegativeInfinity();
  }
  SyncWarp();
}

// Grid: a block of kRouteThreads for each row, RouteSharedBytes.
__global__ void __launch_bounds__(kRouteThreads)
    RouteKernel(const __grid_constant__ RouteArgs args) {
  MLA_SHARED_MEMORY(shared);
  const RouterArgs& router = args.router;
  const int lane = static_cast<int>(threadIdx.x), experts = args.logits.cols;
  const auto row = static_cast<int64_t>(blockIdx.x);
  auto* scores = reinterpret_cast<float*>(shared);
  float* choice = scores + experts;
  float* group_scores = choice + experts;
  auto* chosen = reinterpret_cast<int32_t*>(group_scores + router.groups);

  ScoreExperts(
      args, args.logits.data + row * static_cast<int64_t>(args.logits.stride),
      scores);
  for (int e = lane; e < experts; e += kRouteThreads) {
    const float add =
        router.correction == nullptr ? 0.0f : router.correction[e];
    choice[e] = NaNToLowest(scores[e] + add);
  }
  SyncWarp();  // scores and corrected ones
  if (router.top_groups < router.groups) {
    KeepBestGroups(router, experts, choice, group_scores);
  }

  RouteValue last = BeforeAll();
  float total = 1e-20f;
  for (int i = 0; i < router.top_k; ++i) {
    last = NextValue(choice, experts, last);
    total += scores[last.index];
    if (lane == 0) chosen[i] = last.index;
  }
  SyncWarp();  // the choice
  const float scale = router.normalize ? router.scale / total : router.scale;
  for (int i = lane; i < router.top_k; i += kRouteThreads) {
    const int64_t pair = row * router.top_k + i;
    args.experts[pair] = chosen[i];
    args.weights[pair] = scores[chosen[i]] * scale;
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_MOE_ROUTE_CUH_
