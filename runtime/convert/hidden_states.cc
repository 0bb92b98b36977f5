// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/hidden_states.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/cpu_backend.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr int kBlockTokens = 64;

}  // namespace

absl::StatusOr<HiddenStates> HiddenStates::Embed(const ModelConfig& config,
                                                 const WeightReader& reader,
                                                 const Windows& windows) {
  HiddenStates states;
  states.hidden_ = config.hidden_size;
  states.first_row_ = {0};
  for (const std::vector<int32_t>& window : windows) {
    states.first_row_.push_back(states.tokens() +
                                static_cast<int64_t>(window.size()));
    for (const int32_t id : window) {
      if (id >= 0 && id < config.vocab_size) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "calibration token ", id, " is not in the model's vocabulary of ",
          config.vocab_size));
    }
  }
  ASSIGN_OR_RETURN(const WeightMatrix table,
                   reader.Matrix("model.embed_tokens.weight", config.vocab_size,
                                 config.hidden_size));
  states.values_.resize(states.tokens() * config.hidden_size);
  float* row = states.values_.data();
  for (const std::vector<int32_t>& window : windows) {
    for (const int32_t id : window) {
      table.ReadRow(id, row);
      for (int i = 0; i < config.hidden_size; ++i) {
        row[i] *= config.embedding_scale;
      }
      row += config.hidden_size;
    }
  }
  return states;
}

int HiddenStates::longest() const {
  int64_t longest = 0;
  for (int i = 0; i < windows(); ++i) {
    longest = std::max(longest, first_row_[i + 1] - first_row_[i]);
  }
  return static_cast<int>(longest);
}

kernels::Rows HiddenStates::Window(int index) {
  return {values_.data() + first_row_[index] * hidden_,
          static_cast<int>(first_row_[index + 1] - first_row_[index]), hidden_,
          static_cast<size_t>(hidden_)};
}

DoubleMatrix Normed(kernels::Rows x, const std::vector<float>& weight,
                    float eps) {
  DoubleMatrix y(x.cols, x.rows);
  const Eigen::Map<const Eigen::VectorXf> w(weight.data(), x.cols);
  for (int i = 0; i < x.rows; ++i) {
    y.col(i) = Eigen::Map<const Eigen::VectorXf>(x[i], x.cols).cast<double>();
    y.col(i) *= 1 / std::sqrt(y.col(i).squaredNorm() / x.cols + eps);
    y.col(i).array() *= w.cast<double>().array();
  }
  return y;
}

LayerRunner::LayerRunner(std::unique_ptr<Model> model, int blocks)
    : model_(std::move(model)), no_tokens_(blocks * kBlockTokens) {
  for (int i = 0; i < blocks; ++i) block_table_.push_back(i);
}

absl::StatusOr<LayerRunner> LayerRunner::Create(const ModelConfig& config,
                                                int layer,
                                                const WeightReader& reader,
                                                int threads, int longest_window,
                                                kernels::DType weights) {
  ModelOptions options;
  options.weights_dtype = weights;
  options.max_step_tokens = longest_window;
  ASSIGN_OR_RETURN(
      std::unique_ptr<Model> model,
      Model::LoadLayer(config, layer, reader,
                       NewCpuBackend(kernels::BestIsa(), threads), options));
  const int blocks = (longest_window + kBlockTokens - 1) / kBlockTokens;
  RETURN_IF_ERROR(model->backend().AllocateCache(
      model->config().Layouts(), kernels::DType::kF32, kBlockTokens, blocks));
  return LayerRunner(std::move(model), blocks);
}

StepBatch LayerRunner::BatchOf(kernels::Rows window) const {
  StepBatch batch;
  batch.tokens.assign(window.rows, 0);
  batch.prompt = {
      {{0, window.rows, 0, block_table_.data(), no_tokens_.data()}, false}};
  return batch;
}

void LayerRunner::Run(kernels::Rows window, ActivationTap* tap) {
  model_->RunLayers(BatchOf(window), window, tap);
}

void LayerRunner::RunAttention(kernels::Rows window, ActivationTap* tap) {
  model_->RunAttention(BatchOf(window), window, tap);
}

}  // namespace mla::runtime
