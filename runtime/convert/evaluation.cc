// Tested by tests/e2e/conversion_report_test.py.
#include "runtime/convert/evaluation.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/thread_pool.h"
#include "runtime/convert/logit_comparison.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr int kPartTokens = 2048;  // of the vocabulary, computed at once

// What a model's output projection reads and is, for all windows.
class Outputs {
 public:
  static absl::StatusOr<Outputs> Compute(const Checkpoint& checkpoint,
                                         const Windows& windows, int threads) {
    Outputs outputs;
    ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(checkpoint));
    const WeightReader reader(checkpoint);
    ASSIGN_OR_RETURN(HiddenStates states,
                     HiddenStates::Embed(config, reader, windows));
    for (int layer = 0; layer < config.num_layers; ++layer) {
      ASSIGN_OR_RETURN(
          LayerRunner runner,
          LayerRunner::Create(config, layer, reader, threads, states.longest(),
                              kernels::DType::kF32));
      for (int i = 0; i < states.windows(); ++i) runner.Run(states.Window(i));
    }
    ASSIGN_OR_RETURN(const std::vector<float> norm,
                     reader.Vector("model.norm.weight", config.hidden_size));
    for (int i = 0; i < states.windows(); ++i) {
      outputs.normed_.push_back(
          (Normed(states.Window(i), norm, config.norm_eps) * config.logit_scale)
              .cast<float>());
    }
    ASSIGN_OR_RETURN(
        outputs.head_,
        reader.Matrix(config.tied_embeddings ? "model.embed_tokens.weight"
                                             : "lm_head.weight",
                      config.vocab_size, config.hidden_size));
    return outputs;
  }

  int vocab_size() const { return head_.rows(); }

  // From here on LogitsOf are those of `count` tokens from `first` on.
  void Select(int first, int count) {
    part_.resize(head_.cols(), count);
    for (int i = 0; i < count; ++i) {
      head_.ReadRow(first + i, part_.col(i).data());
    }
  }
  // [tokens of the part, tokens of the window]
  Eigen::MatrixXf LogitsOf(int window) const {
    return part_.transpose() * normed_[window];
  }

 private:
  std::vector<Eigen::MatrixXf> normed_;  // by window, [hidden, tokens]
  WeightMatrix head_;
  Eigen::MatrixXf part_;  // [hidden, tokens]
};

absl::Span<const float> Column(const Eigen::MatrixXf& m, Eigen::Index index) {
  return {m.data() + index * m.rows(), static_cast<size_t>(m.rows())};
}

Evaluation Mean(const std::vector<std::vector<LogitComparison>>& positions) {
  Evaluation e;
  e.windows = static_cast<int>(positions.size());
  for (const std::vector<LogitComparison>& window : positions) {
    for (const LogitComparison& position : window) {
      ++e.tokens;
      e.source_nll += position.source_nll();
      e.converted_nll += position.converted_nll();
      e.kl += position.Kl();
      e.top1_agreement += position.SameBest() ? 1 : 0;
    }
  }
  const auto tokens = static_cast<double>(e.tokens);
  for (double* sum :
       {&e.source_nll, &e.converted_nll, &e.kl, &e.top1_agreement}) {
    *sum /= tokens;
  }
  return e;
}

}  // namespace

absl::StatusOr<Evaluation> Evaluate(const Checkpoint& source,
                                    const Checkpoint& converted,
                                    const Windows& windows, int threads) {
  ASSIGN_OR_RETURN(Outputs a, Outputs::Compute(source, windows, threads));
  ASSIGN_OR_RETURN(Outputs b, Outputs::Compute(converted, windows, threads));
  if (a.vocab_size() != b.vocab_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the models' vocabularies differ: ", a.vocab_size(),
                     " and ", b.vocab_size(), " tokens"));
  }
  std::vector<std::vector<LogitComparison>> positions;
  for (const std::vector<int32_t>& window : windows) {
    positions.emplace_back(window.begin() + 1, window.end());
  }
  kernels::ThreadPool pool(threads);
  for (int first = 0; first < a.vocab_size(); first += kPartTokens) {
    const int count = std::min(kPartTokens, a.vocab_size() - first);
    a.Select(first, count);
    b.Select(first, count);
    pool.Run(static_cast<int>(windows.size()), [&](int window, int) {
      const Eigen::MatrixXf of_a = a.LogitsOf(window);
      const Eigen::MatrixXf of_b = b.LogitsOf(window);
      for (size_t t = 0; t < positions[window].size(); ++t) {
        positions[window][t].Add(Column(of_a, t), Column(of_b, t));
      }
    });
  }
  const Evaluation e = Mean(positions);
  if (std::isfinite(e.source_nll) && std::isfinite(e.converted_nll) &&
      std::isfinite(e.kl)) {
    return e;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the ", std::isfinite(e.source_nll) ? "converted" : "source",
                   " model's logits are not finite"));
}

}  // namespace mla::runtime
