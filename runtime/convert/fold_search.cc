// Tested by tests/e2e/convert_test.py.
#include "runtime/convert/fold_search.h"

#include <limits>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/convert/window_scorer.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// One window of so many is held out.
constexpr size_t kHeldOut = 4;

absl::StatusOr<double> HeldOutNll(const Checkpoint& checkpoint,
                                  const ModelConfig& config,
                                  const Windows& fitted,
                                  const Windows& held_out,
                                  const ConversionSpec& spec, int threads) {
  const WeightReader reader(checkpoint);
  ASSIGN_OR_RETURN(HiddenStates states,
                   HiddenStates::Embed(config, reader, held_out));
  ASSIGN_OR_RETURN(Converter converter,
                   Converter::Create(checkpoint, config, fitted, spec,
                                     kernels::DType::kF32, threads));
  for (int layer = 0; layer < config.num_layers; ++layer) {
    ASSIGN_OR_RETURN(const ConvertedLayer converted, converter.Next());
    ModelConfig now = config;
    SetConverted(ShapeOf(converted.weights), layer, now);
    const ConvertedTensors tensors(converted.weights, layer,
                                   kernels::DType::kF32);
    ASSIGN_OR_RETURN(
        LayerRunner runner,
        LayerRunner::Create(
            now, layer,
            WeightReader(checkpoint, tensors.prefix(), tensors.tensors()),
            threads, states.longest(), kernels::DType::kF32));
    for (int i = 0; i < states.windows(); ++i) runner.Run(states.Window(i));
  }
  ASSIGN_OR_RETURN(const std::vector<double> nll,
                   WindowNll(config, reader, held_out, states));
  return std::accumulate(nll.begin(), nll.end(), 0.0) /
         static_cast<double>(nll.size());
}

}  // namespace

absl::StatusOr<std::vector<int>> FoldsOf(int head_dim, int rope_dim) {
  std::vector<int> folds;
  const int half = head_dim / 2;
  const int collapse = head_dim % rope_dim == 0 ? head_dim / rope_dim : 0;
  for (int fold = collapse; fold > 0 && fold <= half && half % fold == 0;
       fold *= 2) {
    folds.push_back(fold);
  }
  if (!folds.empty()) return folds;
  return absl::InvalidArgumentError(absl::StrCat("qk_rope_head_dim ", rope_dim,
                                                 ": no ladder has it in heads "
                                                 "of ",
                                                 head_dim));
}

absl::StatusOr<int> SearchFreqfold(const Checkpoint& checkpoint,
                                   const ModelConfig& config,
                                   const Windows& calibration,
                                   ConversionSpec spec, int threads) {
  ASSIGN_OR_RETURN(
      const std::vector<int> folds,
      FoldsOf(config.attention[0].head_dim, spec.qk_rope_head_dim));
  Windows fitted, held_out;
  for (size_t i = 0; i < calibration.size(); ++i) {
    const bool held = calibration.size() < kHeldOut
                          ? i + 1 == calibration.size()
                          : i % kHeldOut == kHeldOut - 1;
    (held ? held_out : fitted).push_back(calibration[i]);
  }
  if (fitted.empty()) {
    return absl::InvalidArgumentError(
        "freqfold=auto needs two windows of calibration text or more");
  }
  if (spec.method == ConversionMethod::kSequential) {
    spec.method = ConversionMethod::kWeighted;
  }
  int best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (const int fold : folds) {
    spec.freqfold = fold;
    ASSIGN_OR_RETURN(const double nll, HeldOutNll(checkpoint, config, fitted,
                                                  held_out, spec, threads));
    if (nll >= least) break;
    best = fold;
    least = nll;
  }
  return best;
}

}  // namespace mla::runtime
