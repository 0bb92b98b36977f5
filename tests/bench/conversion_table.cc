// Perplexity of SmolLM2 (or any GQA model) after conversions, by method and
// calibration text, on windows of token ids that calibrate nothing:
//
//   conversion_table MODEL WINDOWS.json [MORE.json...] -- CALIBRATION SPEC ...
//
// CALIBRATION names windows, or is "builtin" for the text that `mlaserve
// convert` reads if none is given.
//
// A file maps names to lists of windows; "ev", "ood" and, where a file has
// them, "val_prose", "val_tech" and "val_pool" are scored.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "runtime/convert/calibration.h"
#include "runtime/convert/converter.h"
#include "runtime/convert/window_scorer.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "runtime/text_model.h"

namespace mla::runtime {
namespace {

using AllWindows = std::map<std::string, Windows>;

double Perplexity(const std::vector<double>& nll, size_t first, size_t count) {
  double sum = 0;
  for (size_t i = first; i < first + count; ++i) sum += nll[i];
  return std::exp(sum / static_cast<double>(count));
}

double Seconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The named windows, or the product's own text.
absl::StatusOr<Windows> Calibration(const std::string& model,
                                    const AllWindows& all,
                                    const std::string& name) {
  if (name == "builtin") {
    ASSIGN_OR_RETURN(const TextModel text, LoadTextModel(model));
    return ReadCalibration({}, text);
  }
  const auto windows = all.find(name);
  if (windows == all.end()) return absl::NotFoundError(name);
  return windows->second;
}

absl::Status Row(const std::string& model, const Checkpoint& checkpoint,
                 const AllWindows& all, const std::string& calibration,
                 const std::string& spec_text,
                 std::vector<double>& source_nll) {
  const int threads =
      static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(checkpoint));
  const WeightReader reader(checkpoint);
  Windows scored;
  std::vector<std::pair<std::string, size_t>> sets;
  for (const char* name : {"ev", "ood", "val_prose", "val_tech", "val_pool"}) {
    const auto set = all.find(name);
    if (set == all.end()) continue;
    sets.emplace_back(name, set->second.size());
    scored.insert(scored.end(), set->second.begin(), set->second.end());
  }
  ASSIGN_OR_RETURN(HiddenStates states,
                   HiddenStates::Embed(config, reader, scored));
  std::optional<Converter> converter;
  double spent = 0;
  if (spec_text != "none") {
    ASSIGN_OR_RETURN(const ConversionSpec spec, ParseConversionSpec(spec_text));
    ASSIGN_OR_RETURN(const Windows windows,
                     Calibration(model, all, calibration));
    const double start = Seconds();
    ASSIGN_OR_RETURN(converter,
                     Converter::Create(checkpoint, config, windows, spec,
                                       kernels::DType::kF32, threads));
    spent += Seconds() - start;
  }
  int64_t row = 0;
  for (int i = 0; i < config.num_layers; ++i) {
    ModelConfig now = config;
    std::unique_ptr<ConvertedTensors> tensors;
    std::unique_ptr<WeightReader> weights =
        std::make_unique<WeightReader>(checkpoint);
    if (converter) {
      const double start = Seconds();
      ASSIGN_OR_RETURN(const ConvertedLayer layer, converter->Next());
      spent += Seconds() - start;
      SetConverted(ShapeOf(layer.weights), i, now);
      tensors = std::make_unique<ConvertedTensors>(layer.weights, i,
                                                   kernels::DType::kF32);
      weights = std::make_unique<WeightReader>(checkpoint, tensors->prefix(),
                                               tensors->tensors());
    }
    row += now.attention[i].Layout().row_width;
    ASSIGN_OR_RETURN(
        LayerRunner runner,
        LayerRunner::Create(now, i, *weights, threads, states.longest(),
                            kernels::DType::kF32));
    for (int w = 0; w < states.windows(); ++w) runner.Run(states.Window(w));
  }
  ASSIGN_OR_RETURN(const std::vector<double> nll,
                   WindowNll(config, reader, scored, states));
  std::printf("%-20s %-60s %5.1f %6.1fs", calibration.c_str(),
              spec_text.c_str(), static_cast<double>(row) / config.num_layers,
              spent);
  size_t first = 0;
  for (const auto& [name, count] : sets) {
    std::printf("  %s %8.3f", name.c_str(), Perplexity(nll, first, count));
    first += count;
  }
  if (!converter) source_nll = nll;
  double worst = 0;
  for (size_t i = 0; i < nll.size(); ++i) {
    worst = std::max(worst, nll[i] - source_nll[i]);
  }
  std::printf("  worst window +%.2f nats\n", worst);
  std::fflush(stdout);
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  AllWindows all;
  int arg = 2;
  for (; arg < argc && std::string(argv[arg]) != "--"; ++arg) {
    std::ifstream in(argv[arg]);
    const nlohmann::json file = nlohmann::json::parse(in);
    for (const auto& [name, windows] : file.items()) {
      all[name] = windows.get<Windows>();
    }
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(argv[1]));
  std::vector<double> source_nll;
  RETURN_IF_ERROR(Row(argv[1], *checkpoint, all, "-", "none", source_nll));
  for (++arg; arg + 1 < argc; arg += 2) {
    RETURN_IF_ERROR(
        Row(argv[1], *checkpoint, all, argv[arg], argv[arg + 1], source_nll));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace mla::runtime

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const absl::Status status = mla::runtime::Run(argc, argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
