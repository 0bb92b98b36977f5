// LogitComparison: what two models predict at one position. Their logits come
// in parts, so that nobody holds a whole row of either; sums are in doubles,
// relative to the largest logit so far, so that none overflows.
// Units: nats. Threads: a plain value; one at a time.
#ifndef MLA_RUNTIME_CONVERT_LOGIT_COMPARISON_H_
#define MLA_RUNTIME_CONVERT_LOGIT_COMPARISON_H_

#include <cstdint>
#include <limits>

#include "absl/types/span.h"

namespace mla::runtime {

class LogitComparison {
 public:
  // `target`: the token that comes next in the text.
  explicit LogitComparison(int32_t target) : target_(target) {}

  // The logits of the next tokens of the vocabulary, as many of each model.
  void Add(absl::Span<const float> source, absl::Span<const float> converted);

  // -log p(target).
  double source_nll() const { return source_.Norm() - source_.target; }
  double converted_nll() const { return converted_.Norm() - converted_.target; }
  // KL(source || converted).
  double Kl() const;
  // Whether both think the same token the likeliest, the lower of equals.
  bool SameBest() const { return source_.best == converted_.best; }

 private:
  struct Softmax {
    double most = -std::numeric_limits<double>::infinity();
    double sum = 0;  // of exp(logit - most)
    double target = 0;
    int32_t best = -1;

    double Norm() const;  // log of the sum of exp(logit)
    // Sees logits of tokens from `first` on; returns what earlier sums are to
    // be multiplied by.
    double Include(absl::Span<const float> logits, int32_t first,
                   int32_t target_token);
  };

  int32_t target_;
  int32_t seen_ = 0;
  Softmax source_;
  Softmax converted_;
  double gap_ = 0;  // of exp(source - most) (source - converted)
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_LOGIT_COMPARISON_H_
