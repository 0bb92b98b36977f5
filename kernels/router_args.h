// RouterArgs: how a mixture of experts chooses. C++17-clean: .cu files include
// it.
#ifndef MLA_KERNELS_ROUTER_ARGS_H_
#define MLA_KERNELS_ROUTER_ARGS_H_

namespace mla::kernels {

// How a router turns logits into choices. Softmax with one group is Mixtral's
// and DeepSeek-V2-Lite's; groups by their best expert V2's (2405.04434, section
// 2.2.2); sigmoid, a correction and groups by their two best V3's (2412.19437,
// section 2.1.2).
struct RouterArgs {
  enum class Scoring { kSoftmax, kSigmoid };
  Scoring scoring = Scoring::kSoftmax;
  const float* correction = nullptr;  // [experts], added for the choice only
  int groups = 1;      // of consecutive experts; divides their number
  int top_groups = 1;  // groups that may be chosen from
  int group_best = 1;  // a group's score is the sum of so many best experts'
  int top_k = 1;       // at most top_groups * experts / groups
  bool normalize = false;  // the chosen weights to sum 1
  float scale = 1.0f;      // of the weights, after that
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_ROUTER_ARGS_H_
