// Converter turns a GQA model's attention into MLA, layer after layer, from
// what the layers do with calibration text.
//   one-shot methods see each layer as the source model has it;
//   `sequential` sees it behind the converted layers before it: it moves the
//   weights to the inputs that it will really get, fits the latent on those,
//   and refits W_O so that part of what was lost so far comes back.
// Memory: the hidden states of the calibration tokens, twice for sequential,
//         and one layer's weights.
// Threads: one at a time; layers run on a pool of `threads`.
// Errors:  those of reading weights; INVALID_ARGUMENT if ranks do not fit.
#ifndef MLA_RUNTIME_CONVERT_CONVERTER_H_
#define MLA_RUNTIME_CONVERT_CONVERTER_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/convert/conversion_spec.h"
#include "runtime/convert/converted_tensors.h"
#include "runtime/convert/hidden_states.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// What became of one layer.
struct ConvertedLayer {
  int layer = 0;
  ConvertedWeights weights;
  double energy_kept = 0;  // of keys and values, as the method weighs them
};

class Converter {
 public:
  // `checkpoint` outlives the converter. `type`: of the tensors to be saved.
  static absl::StatusOr<Converter> Create(const Checkpoint& checkpoint,
                                          const ModelConfig& config,
                                          const Windows& calibration,
                                          const ConversionSpec& spec,
                                          kernels::DType type, int threads);

  // Converts the next layer; only while next_layer() is less than the model's
  // number of layers.
  absl::StatusOr<ConvertedLayer> Next();
  // Goes on behind the next layer, which was converted to these before.
  absl::Status Skip(const ConvertedShape& shape, const WeightReader& reader);
  int next_layer() const { return layer_; }

 private:
  Converter(const Checkpoint& checkpoint, const ModelConfig& config,
            const ConversionSpec& spec, kernels::DType type, int threads)
      : checkpoint_(&checkpoint),
        config_(config),
        spec_(spec),
        type_(type),
        threads_(threads) {}

  absl::Status Survey(const Windows& calibration);
  absl::StatusOr<std::vector<float>> InputNorm() const;
  // Of the layer as the source has it, or as `shape` and `reader` say.
  absl::StatusOr<LayerRunner> SourceRunner(int longest) const;
  absl::StatusOr<LayerRunner> ConvertedRunner(const ConvertedShape& shape,
                                              const WeightReader& reader) const;
  absl::StatusOr<Moments> MomentsOf(HiddenStates& states,
                                    const std::vector<float>& norm);
  absl::StatusOr<ConvertedLayer> NextMla(const std::vector<float>& norm,
                                         GqaWeights& w, const Moments& y);
  absl::StatusOr<ConvertedLayer> Fit(const std::vector<float>& norm,
                                     const GqaWeights& w, const Moments& y);
  // Of the attention's output on a few calibration windows, squared.
  absl::StatusOr<double> OutputError(const MlaWeights& weights);
  absl::Status Correct(const std::vector<float>& norm, const Moments& y,
                       GqaWeights& w);
  absl::Status Refit(const DoubleMatrix& prior, MlaWeights& weights);
  absl::Status AdvanceSource();
  absl::Status AdvanceConverted(const ConvertedShape& shape,
                                const WeightReader& reader);
  bool sequential() const {
    return spec_.method == ConversionMethod::kSequential;
  }

  const Checkpoint* checkpoint_;
  ModelConfig config_;  // the source's
  ConversionSpec spec_;
  kernels::DType type_;
  int threads_;
  std::vector<int> ranks_;  // kv_lora_rank by layer, or HeadSizes
  int layer_ = 0;
  std::optional<HiddenStates> source_;     // as the source model has them
  std::optional<HiddenStates> converted_;  // sequential: as ours does
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERTER_H_
