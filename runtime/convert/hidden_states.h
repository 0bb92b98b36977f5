// HiddenStates: what a model holds between two layers, for every calibration
// token. Conversion keeps these and one layer's weights, never a whole model.
// Threads: plain values; one at a time.
#ifndef MLA_RUNTIME_CONVERT_HIDDEN_STATES_H_
#define MLA_RUNTIME_CONVERT_HIDDEN_STATES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/views.h"
#include "runtime/convert/rope_split.h"
#include "runtime/convert/windows.h"
#include "runtime/model.h"

namespace mla::runtime {

class HiddenStates {
 public:
  // What the first layer reads.
  static absl::StatusOr<HiddenStates> Embed(const ModelConfig& config,
                                            const WeightReader& reader,
                                            const Windows& windows);

  int windows() const { return static_cast<int>(first_row_.size()) - 1; }
  int longest() const;
  int64_t tokens() const { return first_row_.back(); }
  int hidden() const { return hidden_; }
  kernels::Rows Window(int index);

 private:
  int hidden_ = 0;
  std::vector<int64_t> first_row_;  // by window, and one past the last
  std::vector<float> values_;       // [tokens, hidden]
};

// Rows of `x` as attention reads them: under the layer's input norm.
DoubleMatrix Normed(kernels::Rows x, const std::vector<float>& weight,
                    float eps);

// Runs one layer, the source's or a converted one, on window after window.
class LayerRunner {
 public:
  static absl::StatusOr<LayerRunner> Create(const ModelConfig& config,
                                            int layer,
                                            const WeightReader& reader,
                                            int threads, int longest_window,
                                            kernels::DType weights);

  // In place; RunAttention leaves the feed-forward network out.
  void Run(kernels::Rows window, ActivationTap* tap = nullptr);
  void RunAttention(kernels::Rows window, ActivationTap* tap);

 private:
  explicit LayerRunner(std::unique_ptr<Model> model, int blocks);
  StepBatch BatchOf(kernels::Rows window) const;

  std::unique_ptr<Model> model_;
  std::vector<int32_t> block_table_;
  std::vector<int32_t> no_tokens_;  // a layer alone embeds none
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_HIDDEN_STATES_H_
