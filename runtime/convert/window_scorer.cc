// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/window_scorer.h"

#include <cmath>

#include "runtime/status_macros.h"

namespace mla::runtime {

absl::StatusOr<std::vector<double>> WindowNll(const ModelConfig& config,
                                              const WeightReader& reader,
                                              const Windows& windows,
                                              HiddenStates& states) {
  ASSIGN_OR_RETURN(const std::vector<float> norm,
                   reader.Vector("model.norm.weight", config.hidden_size));
  ASSIGN_OR_RETURN(
      const WeightMatrix head,
      reader.Matrix(config.tied_embeddings ? "model.embed_tokens.weight"
                                           : "lm_head.weight",
                    config.vocab_size, config.hidden_size));
  Eigen::MatrixXf weights(config.hidden_size, config.vocab_size);
  for (int i = 0; i < config.vocab_size; ++i) {
    head.ReadRow(i, weights.col(i).data());
  }
  std::vector<double> scores;
  for (int i = 0; i < states.windows(); ++i) {
    const Eigen::MatrixXf y =
        (Normed(states.Window(i), norm, config.norm_eps) * config.logit_scale)
            .cast<float>();
    const Eigen::MatrixXf logits = weights.transpose() * y;
    double sum = 0;
    for (Eigen::Index t = 0; t + 1 < y.cols(); ++t) {
      const auto column = logits.col(t).cast<double>().array();
      const double most = column.maxCoeff();
      sum += most + std::log((column - most).exp().sum()) -
             logits(windows[i][t + 1], t);
    }
    scores.push_back(sum / static_cast<double>(y.cols() - 1));
  }
  return scores;
}

}  // namespace mla::runtime
