// Sampler says how one choice's next tokens are drawn; Backend::Sample draws
// them, as kernels/sample_args.h has it.
// Threads: one.
// The n-th draw depends on the seed, the choice's index and n only, so the
// same seed gives the same tokens in any batch and after a preemption.
#ifndef MLA_RUNTIME_SAMPLER_H_
#define MLA_RUNTIME_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "kernels/sample_args.h"
#include "runtime/request.h"

namespace mla::runtime {

class Sampler {
 public:
  // `masked` ids are not drawn before `min_tokens` tokens.
  Sampler(const SamplingParams& params, uint64_t seed, int index,
          absl::Span<const int32_t> prompt, int min_tokens,
          std::vector<int32_t> masked);

  // The next draw, whose changes are added to `changes`.
  kernels::Draw Next(std::vector<kernels::LogitChange>& changes);
  // The oldest draw that was not noted yet gave this token. One draw at most
  // may be ahead of that: it then says so by Draw::newest, which is the
  // caller's to set.
  void Note(int32_t id);

 private:
  bool penalizes() const;
  kernels::LogitChange& ChangeOf(int32_t id);

  const SamplingParams params_;
  const uint64_t stream_;  // of random numbers
  const int min_tokens_;
  const std::vector<int32_t> masked_;
  int drawn_ = 0;
  std::vector<kernels::LogitChange> changes_;
  absl::flat_hash_map<int32_t, size_t> places_;  // among changes_, by id
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_SAMPLER_H_
