// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/converter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/convert/conversion_budget.h"
#include "runtime/convert/fit_heads.h"
#include "runtime/convert/fit_layer.h"
#include "runtime/convert/fold_search.h"
#include "runtime/convert/head_sizes.h"
#include "runtime/convert/moment_sum.h"
#include "runtime/convert/per_head_rope.h"
#include "runtime/convert/rank_budget.h"
#include "runtime/convert/stock_layout.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Ridges, as shares of what is regressed on: for the inputs' drift and W_O.
constexpr double kDriftRidge = 0.01;
constexpr double kOutputRidge = 0.01;
// A token counts in W_O's regression by its residual stream's rms^-1, at most
// so many times the mean: else the few tokens whose activations are massive
// (2402.17762) would be all that is fitted.
constexpr double kTokenPower = 0.5;
constexpr double kMostWeight = 20;
// But the first tokens of a text, among which the models choose the one that
// they rest their attention on, are few and must not go astray.
constexpr int kFirstTokens = 4;
constexpr double kFirstWeight = 8;
// So many of the calibration windows, about, say what a layer is worth.
constexpr size_t kSurveyedWindows = 8;
// About so many windows say which of several fits of a layer is nearest.
constexpr int kComparedWindows = 4;

DoubleMatrix AsMatrix(kernels::Rows x) {  // in columns
  DoubleMatrix m(x.cols, x.rows);
  for (int i = 0; i < x.rows; ++i) {
    m.col(i) = Eigen::Map<const Eigen::VectorXf>(x[i], x.cols).cast<double>();
  }
  return m;
}

// Inverse to the square root of a token's energy.
DoubleVector InverseRms(kernels::Rows x) {
  DoubleVector weights(x.rows);
  for (int i = 0; i < x.rows; ++i) {
    const Eigen::Map<const Eigen::VectorXf> row(x[i], x.cols);
    weights[i] = std::pow(row.squaredNorm() / x.cols + 1e-3, -kTokenPower);
  }
  return weights;
}

// By what a token's squared error counts, given InverseRms and its mean.
DoubleVector TokenWeights(DoubleVector weights, double mean) {
  weights = (weights / mean).cwiseMin(kMostWeight);
  weights.head(std::min<Eigen::Index>(kFirstTokens, weights.size())) *=
      kFirstWeight;
  return weights;
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
                                            const ConversionSpec& wanted,
                                            kernels::DType type, int threads) {
  ASSIGN_OR_RETURN(const ConversionSpec spec, WithinBudget(wanted, config));
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
  if (KeepsHeads(spec.method)) {
    ASSIGN_OR_RETURN(converter.ranks_,
                     HeadSizes(WeightReader(checkpoint), config, spec));
    return converter;
  }
  converter.ranks_.assign(config.num_layers, spec.kv_lora_rank);
  if (spec.greedy_ranks) RETURN_IF_ERROR(converter.Survey(calibration));
  if (converter.sequential()) converter.converted_ = converter.source_;
  return converter;
}

// Ranks by what layers are worth in the source model.
absl::Status Converter::Survey(const Windows& calibration) {
  Windows few;
  const size_t stride =
      std::max<size_t>(1, calibration.size() / kSurveyedWindows);
  for (size_t i = 0; i < calibration.size(); i += stride) {
    few.push_back(calibration[i]);
  }
  const WeightReader reader(*checkpoint_);
  ASSIGN_OR_RETURN(HiddenStates states,
                   HiddenStates::Embed(config_, reader, few));
  std::vector<LayerWorth> worth(config_.num_layers);
  for (layer_ = 0; layer_ < config_.num_layers; ++layer_) {
    ASSIGN_OR_RETURN(const GqaWeights w,
                     ReadGqaWeights(reader, config_, layer_));
    ASSIGN_OR_RETURN(const std::vector<float> norm, InputNorm());
    ASSIGN_OR_RETURN(const Moments y, MomentsOf(states, norm));
    ConversionSpec spec = spec_;
    if (spec.freqfold == kFoldPerLayer) {
      ASSIGN_OR_RETURN(const std::vector<int> folds,
                       FoldsOf(w.head_dim, spec.qk_rope_head_dim));
      spec.freqfold = folds.front();
    }
    ASSIGN_OR_RETURN(
        const LayerFit fit,
        FitLayer(w, y, config_.ropes[config_.attention[layer_].rope].inv_freq,
                 spec, spec.kv_lora_rank));
    worth[layer_].spectrum = fit.spectrum;
    ASSIGN_OR_RETURN(LayerRunner runner, SourceRunner(states.longest()));
    AttentionTap tap;
    for (int i = 0; i < states.windows(); ++i) {
      const DoubleMatrix before = AsMatrix(states.Window(i));
      runner.Run(states.Window(i), &tap);
      const Eigen::ArrayXd added = tap.output.colwise().squaredNorm();
      const Eigen::ArrayXd all =
          (before + tap.output).colwise().squaredNorm().transpose();
      worth[layer_].share += (added / all.max(1e-30)).sum();
    }
  }
  layer_ = 0;
  ranks_ = AllocateRanks(worth, spec_.kv_lora_rank);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> Converter::InputNorm() const {
  return WeightReader(*checkpoint_)
      .Vector(absl::StrCat("model.layers.", layer_, ".input_layernorm.weight"),
              config_.hidden_size);
}

absl::StatusOr<Moments> Converter::MomentsOf(HiddenStates& states,
                                             const std::vector<float>& norm) {
  const int n = states.hidden();
  const auto tokens = static_cast<double>(states.tokens());
  MomentSum second(n, n);
  DoubleVector sum = DoubleVector::Zero(n);
  for (int i = 0; i < states.windows(); ++i) {
    const DoubleMatrix y = Normed(states.Window(i), norm, config_.norm_eps);
    second.AddSquare(y);
    sum += y.rowwise().sum();
  }
  return Moments{second.Divided(tokens), sum / tokens};
}

// Weights that make of the converted model's activations what the source's
// made of its own, as well as a linear map can.
absl::Status Converter::Correct(const std::vector<float>& norm,
                                const Moments& y, GqaWeights& w) {
  const int n = w.hidden();
  MomentSum cross(n, n);
  for (int i = 0; i < source_->windows(); ++i) {
    cross.Add(Normed(source_->Window(i), norm, config_.norm_eps),
              Normed(converted_->Window(i), norm, config_.norm_eps));
  }
  ASSIGN_OR_RETURN(
      const DoubleMatrix drift,
      RidgeFit(cross.Divided(static_cast<double>(source_->tokens())), y.second,
               DoubleMatrix::Identity(n, n), kDriftRidge));
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
  best.layer = layer_;
  double least = std::numeric_limits<double>::infinity();
  for (const int fold : folds) {
    spec.freqfold = fold;
    ASSIGN_OR_RETURN(LayerFit fit, FitLayer(w, y, inv_freq, spec,
                                            ranks_[layer_], pair_scores));
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
  ASSIGN_OR_RETURN(LayerRunner converted,
                   ConvertedRunner(weights.shape,
                                   WeightReader(*checkpoint_, tensors.prefix(),
                                                tensors.tensors())));
  ASSIGN_OR_RETURN(LayerRunner source, SourceRunner(source_->longest()));
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
  ASSIGN_OR_RETURN(LayerRunner converted,
                   ConvertedRunner(weights.shape,
                                   WeightReader(*checkpoint_, tensors.prefix(),
                                                tensors.tensors())));
  ASSIGN_OR_RETURN(LayerRunner source, SourceRunner(source_->longest()));
  const auto tokens = static_cast<double>(source_->tokens());
  double mean = 0;
  for (int i = 0; i < source_->windows(); ++i) {
    mean += InverseRms(source_->Window(i)).sum() / tokens;
  }
  MomentSum tu(prior.rows(), prior.cols());
  MomentSum uu(prior.cols(), prior.cols());
  std::vector<float> scratch;
  AttentionTap theirs, ours;
  for (int i = 0; i < source_->windows(); ++i) {
    const kernels::Rows x = source_->Window(i);
    kernels::Rows x_converted = converted_->Window(i);
    const DoubleVector root = TokenWeights(InverseRms(x), mean).cwiseSqrt();
    DoubleMatrix target =
        spec_.feedback * (AsMatrix(x) - AsMatrix(x_converted));
    source.Run(x, &theirs);
    scratch.assign(x_converted.data,
                   x_converted.data + size_t(x.rows) * x.cols);
    x_converted.data = scratch.data();
    converted.RunAttention(x_converted, &ours);
    target += theirs.output;
    target.colwise() -= weights.o_bias;
    const DoubleMatrix u = ours.attended * root.asDiagonal();
    tu.Add(target * root.asDiagonal(), u);
    uu.AddSquare(u);
  }
  ASSIGN_OR_RETURN(weights.o, RidgeFit(tu.Divided(tokens), uu.Divided(tokens),
                                       prior, kOutputRidge));
  return absl::OkStatus();
}

// Sequential conversion runs every layer three times. It does so with weights
// in bf16, as they will be served: twice as fast where CPUs multiply those.
absl::StatusOr<LayerRunner> Converter::SourceRunner(int longest) const {
  return LayerRunner::Create(
      config_, layer_, WeightReader(*checkpoint_), threads_, longest,
      sequential() ? kernels::DType::kBF16 : kernels::DType::kF32);
}

absl::StatusOr<LayerRunner> Converter::ConvertedRunner(
    const ConvertedShape& shape, const WeightReader& reader) const {
  ModelConfig config = config_;
  SetConverted(shape, layer_, config);
  return LayerRunner::Create(
      config, layer_, reader, threads_, source_->longest(),
      sequential() ? kernels::DType::kBF16 : kernels::DType::kF32);
}

absl::Status Converter::AdvanceSource() {
  if (layer_ + 1 == config_.num_layers || IgnoresText(spec_.method)) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(LayerRunner runner, SourceRunner(source_->longest()));
  for (int i = 0; i < source_->windows(); ++i) runner.Run(source_->Window(i));
  return absl::OkStatus();
}

absl::Status Converter::AdvanceConverted(const ConvertedShape& shape,
                                         const WeightReader& reader) {
  if (layer_ + 1 == config_.num_layers) return absl::OkStatus();
  ASSIGN_OR_RETURN(LayerRunner runner, ConvertedRunner(shape, reader));
  for (int i = 0; i < converted_->windows(); ++i) {
    runner.Run(converted_->Window(i));
  }
  return absl::OkStatus();
}

absl::Status Converter::Skip(const ConvertedShape& shape,
                             const WeightReader& reader) {
  RETURN_IF_ERROR(AdvanceSource());
  if (sequential()) RETURN_IF_ERROR(AdvanceConverted(shape, reader));
  ++layer_;
  return absl::OkStatus();
}

absl::StatusOr<ConvertedLayer> Converter::NextMla(
    const std::vector<float>& norm, GqaWeights& w, const Moments& y) {
  if (sequential() && layer_ > 0) RETURN_IF_ERROR(Correct(norm, y, w));
  ASSIGN_OR_RETURN(ConvertedLayer converted, Fit(norm, w, y));
  auto& weights = std::get<MlaWeights>(converted.weights);
  if (spec_.folder == FolderLayout::kDeepSeekV3) {
    weights =
        ToStock(weights, norm, type_, HasQueryBias(*checkpoint_, config_));
  }
  if (!sequential()) return converted;
  RETURN_IF_ERROR(Refit(w.o, weights));
  const ConvertedTensors tensors(weights, layer_, type_);
  RETURN_IF_ERROR(AdvanceConverted(
      weights.shape,
      WeightReader(*checkpoint_, tensors.prefix(), tensors.tensors())));
  return converted;
}

absl::StatusOr<ConvertedLayer> Converter::Next() {
  const WeightReader reader(*checkpoint_);
  ASSIGN_OR_RETURN(GqaWeights w, ReadGqaWeights(reader, config_, layer_));
  ASSIGN_OR_RETURN(const std::vector<float> norm, InputNorm());
  Moments y;
  if (!IgnoresText(spec_.method)) {
    ASSIGN_OR_RETURN(y, MomentsOf(sequential() ? *converted_ : *source_, norm));
  }
  ConvertedLayer converted;
  converted.layer = layer_;
  if (KeepsHeads(spec_.method)) {
    ASSIGN_OR_RETURN(HeadFit fit, FitHeads(w, y, spec_.method, ranks_[layer_]));
    converted.weights = std::move(fit.weights);
    converted.energy_kept = fit.energy_kept;
  } else {
    ASSIGN_OR_RETURN(converted, NextMla(norm, w, y));
  }
  // Sequential conversion has taken the source's states along.
  if (!sequential()) RETURN_IF_ERROR(AdvanceSource());
  ++layer_;
  return converted;
}

}  // namespace mla::runtime
