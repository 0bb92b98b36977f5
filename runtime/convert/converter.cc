// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/converter.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/convert/fit_layer.h"
#include "runtime/convert/fold_search.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Ridges, as shares of what is regressed on: for the inputs' drift and W_O.
constexpr double kDriftRidge = 0.03;
constexpr double kOutputRidge = 0.03;
// About so many windows say which of several fits of a layer is nearest.
constexpr int kComparedWindows = 4;

DoubleMatrix AsMatrix(kernels::Rows x) {  // in columns
  DoubleMatrix m(x.cols, x.rows);
  for (int i = 0; i < x.rows; ++i) {
    m.col(i) = Eigen::Map<const Eigen::VectorXf>(x[i], x.cols).cast<double>();
  }
  return m;
}

// Keeps what a layer's attention computes.
class AttentionTap : public ActivationTap {
 public:
  void OnActivation(std::string_view name, Rows x) override {
    if (name.ends_with(".self_attn")) output = AsMatrix(x);
  }
  void OnRouting(std::string_view, Routing&) override {}
  void OnSelection(std::string_view, Selection&) override {}
  void OnAttended(Rows x) override { attended = AsMatrix(x); }

  DoubleMatrix output;    // [hidden, tokens]
  DoubleMatrix attended;  // [heads * v_head_dim, tokens]
};

}  // namespace

absl::StatusOr<Converter> Converter::Create(const Checkpoint& checkpoint,
                                            const ModelConfig& config,
                                            const Windows& calibration,
                                            const ConversionSpec& spec,
                                            kernels::DType type, int threads) {
  Converter converter(checkpoint, config, spec, type, threads);
  ASSIGN_OR_RETURN(
      converter.source_,
      HiddenStates::Embed(config, WeightReader(checkpoint), calibration));
  if (converter.source_->tokens() == 0) {
    return absl::InvalidArgumentError("no text to calibrate on");
  }
  if (spec.freqfold == kFoldBySearch) {
    ASSIGN_OR_RETURN(
        converter.spec_.freqfold,
        SearchFreqfold(checkpoint, config, calibration, spec, threads));
  }
  if (converter.sequential()) converter.converted_ = converter.source_;
  return converter;
}

absl::StatusOr<Moments> Converter::MomentsOf(HiddenStates& states,
                                             const std::vector<float>& norm) {
  const int n = states.hidden();
  Moments moments{DoubleMatrix::Zero(n, n), DoubleVector::Zero(n)};
  for (int i = 0; i < states.windows(); ++i) {
    const DoubleMatrix y = Normed(states.Window(i), norm, config_.norm_eps);
    moments.second.noalias() += y * y.transpose();
    moments.mean += y.rowwise().sum();
  }
  moments.second /= static_cast<double>(states.tokens());
  moments.mean /= static_cast<double>(states.tokens());
  return moments;
}

// Weights that make of the converted model's activations what the source's
// made of its own, as well as a linear map can.
absl::Status Converter::Correct(const std::vector<float>& norm,
                                const Moments& y, GqaWeights& w) {
  const int n = w.hidden();
  DoubleMatrix cross = DoubleMatrix::Zero(n, n);
  for (int i = 0; i < source_->windows(); ++i) {
    cross.noalias() +=
        Normed(source_->Window(i), norm, config_.norm_eps) *
        Normed(converted_->Window(i), norm, config_.norm_eps).transpose();
  }
  cross /= static_cast<double>(source_->tokens());
  ASSIGN_OR_RETURN(
      const DoubleMatrix drift,
      RidgeFit(cross, y.second, DoubleMatrix::Identity(n, n), kDriftRidge));
  w.q = w.q * drift;
  w.k = w.k * drift;
  w.v = w.v * drift;
  return absl::OkStatus();
}

absl::StatusOr<ConvertedLayer> Converter::Fit(const std::vector<float>& norm,
                                              const GqaWeights& w,
                                              const Moments& y) {
  DoubleMatrix pair_scores;
  if (NeedsPairScores(spec_)) {
    PairNorms norms(w);
    for (int i = 0; i < source_->windows(); ++i) {
      norms.Add(w, Normed(source_->Window(i), norm, config_.norm_eps));
    }
    pair_scores = norms.Scores(w);
  }
  const std::vector<float>& inv_freq =
      config_.ropes[config_.attention[layer_].rope].inv_freq;
  ConversionSpec spec = spec_;
  std::vector<int> folds = {spec.freqfold};
  if (spec.freqfold == kFoldPerLayer) {
    ASSIGN_OR_RETURN(folds, FoldsOf(w.head_dim, spec.qk_rope_head_dim));
  }
  ConvertedLayer best;
  double least = std::numeric_limits<double>::infinity();
  for (const int fold : folds) {
    spec.freqfold = fold;
    ASSIGN_OR_RETURN(LayerFit fit, FitLayer(w, y, inv_freq, spec,
                                            spec_.kv_lora_rank, pair_scores));
    double error = 0;
    if (folds.size() > 1) {
      ASSIGN_OR_RETURN(error, OutputError(fit.weights));
    }
    if (error >= least) continue;
    least = error;
    best = {layer_, std::move(fit.weights), fit.energy_kept};
  }
  return best;
}

absl::StatusOr<double> Converter::OutputError(const MlaWeights& weights) {
  const ConvertedTensors tensors(weights, layer_, type_);
  ModelConfig config = config_;
  SetConverted(weights.shape, layer_, config);
  ASSIGN_OR_RETURN(
      LayerRunner converted,
      LayerRunner::Create(
          config, layer_,
          WeightReader(*checkpoint_, tensors.prefix(), tensors.tensors()),
          threads_, source_->longest()));
  ASSIGN_OR_RETURN(
      LayerRunner source,
      LayerRunner::Create(config_, layer_, WeightReader(*checkpoint_), threads_,
                          source_->longest()));
  const auto output = [](LayerRunner& runner, kernels::Rows x) {
    std::vector<float> scratch(x.data, x.data + size_t(x.rows) * x.cols);
    x.data = scratch.data();
    AttentionTap tap;
    runner.RunAttention(x, &tap);
    return tap.output;
  };
  HiddenStates& reached = sequential() ? *converted_ : *source_;
  const int stride = std::max(1, source_->windows() / kComparedWindows);
  double error = 0;
  for (int i = 0; i < source_->windows(); i += stride) {
    error += (output(converted, reached.Window(i)) -
              output(source, source_->Window(i)))
                 .squaredNorm();
  }
  return error;
}

// W_O by least squares: towards what the source's attention adds, and part of
// what the layers before lost. Takes the source's states past this layer.
absl::Status Converter::Refit(const DoubleMatrix& prior, MlaWeights& weights) {
  const ConvertedTensors tensors(weights, layer_, type_);
  ModelConfig config = config_;
  SetConverted(weights.shape, layer_, config);
  ASSIGN_OR_RETURN(
      LayerRunner converted,
      LayerRunner::Create(
          config, layer_,
          WeightReader(*checkpoint_, tensors.prefix(), tensors.tensors()),
          threads_, source_->longest()));
  ASSIGN_OR_RETURN(
      LayerRunner source,
      LayerRunner::Create(config_, layer_, WeightReader(*checkpoint_), threads_,
                          source_->longest()));
  DoubleMatrix tu = DoubleMatrix::Zero(prior.rows(), prior.cols());
  DoubleMatrix uu = DoubleMatrix::Zero(prior.cols(), prior.cols());
  std::vector<float> scratch;
  AttentionTap theirs, ours;
  for (int i = 0; i < source_->windows(); ++i) {
    const kernels::Rows x = source_->Window(i);
    kernels::Rows x_converted = converted_->Window(i);
    DoubleMatrix target =
        spec_.feedback * (AsMatrix(x) - AsMatrix(x_converted));
    source.Run(x, &theirs);
    scratch.assign(x_converted.data,
                   x_converted.data + size_t(x.rows) * x.cols);
    x_converted.data = scratch.data();
    converted.RunAttention(x_converted, &ours);
    target += theirs.output;
    target.colwise() -= weights.o_bias;
    tu.noalias() += target * ours.attended.transpose();
    uu.noalias() += ours.attended * ours.attended.transpose();
  }
  const auto tokens = static_cast<double>(source_->tokens());
  ASSIGN_OR_RETURN(weights.o,
                   RidgeFit(tu / tokens, uu / tokens, prior, kOutputRidge));
  return absl::OkStatus();
}

absl::Status Converter::Advance(const ModelConfig& config,
                                const WeightReader& reader,
                                HiddenStates& states) const {
  if (layer_ + 1 == config_.num_layers) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      LayerRunner runner,
      LayerRunner::Create(config, layer_, reader, threads_, states.longest()));
  for (int i = 0; i < states.windows(); ++i) runner.Run(states.Window(i));
  return absl::OkStatus();
}

absl::Status Converter::AdvanceConverted(const MlaShape& shape,
                                         const WeightReader& reader) {
  ModelConfig config = config_;
  SetConverted(shape, layer_, config);
  return Advance(config, reader, *converted_);
}

absl::Status Converter::Skip(const MlaShape& shape,
                             const WeightReader& reader) {
  RETURN_IF_ERROR(Advance(config_, WeightReader(*checkpoint_), *source_));
  if (sequential()) RETURN_IF_ERROR(AdvanceConverted(shape, reader));
  ++layer_;
  return absl::OkStatus();
}

absl::StatusOr<ConvertedLayer> Converter::Next() {
  const WeightReader reader(*checkpoint_);
  ASSIGN_OR_RETURN(GqaWeights w, ReadGqaWeights(reader, config_, layer_));
  ASSIGN_OR_RETURN(const std::vector<float> norm,
                   reader.Vector(absl::StrCat("model.layers.", layer_,
                                              ".input_layernorm.weight"),
                                 config_.hidden_size));
  ASSIGN_OR_RETURN(const Moments y,
                   MomentsOf(sequential() ? *converted_ : *source_, norm));
  if (sequential() && layer_ > 0) RETURN_IF_ERROR(Correct(norm, y, w));
  ASSIGN_OR_RETURN(ConvertedLayer converted, Fit(norm, w, y));
  if (sequential()) {
    RETURN_IF_ERROR(Refit(w.o, converted.weights));
    const ConvertedTensors tensors(converted.weights, layer_, type_);
    RETURN_IF_ERROR(AdvanceConverted(
        converted.weights.shape,
        WeightReader(*checkpoint_, tensors.prefix(), tensors.tensors())));
  } else {
    RETURN_IF_ERROR(Advance(config_, reader, *source_));
  }
  ++layer_;
  return converted;
}

}  // namespace mla::runtime
