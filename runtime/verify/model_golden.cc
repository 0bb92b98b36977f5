// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/verify/model_golden.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"
#include "runtime/verify/golden_file.h"
#include "runtime/verify/sequence_runner.h"

namespace mla::runtime {
namespace {

using kernels::DType;

double Norm(absl::Span<const float> x) {
  double squares = 0;
  for (float v : x) squares += double{v} * v;
  return std::sqrt(squares);
}

// ||ours - golden||_2 / ||golden||_2
double RelativeError(const float* ours, absl::Span<const float> golden) {
  double squares = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    const double d = double{ours[i]} - golden[i];
    squares += d * d;
  }
  return std::sqrt(squares) / Norm(golden);
}

// The worst of several rows, and where it was.
struct Worst {
  double error = 0;
  int row = 0;

  void Add(int at, double e) {
    if (e <= error) return;  // NaN is taken
    error = e;
    row = at;
  }
};

// Compares activations as the model computes them.
class GoldenTap : public ActivationTap {
 public:
  GoldenTap(const GoldenFile& golden, const Tolerance& tolerance,
            Report& report)
      : golden_(golden), tolerance_(tolerance), report_(report) {}

  void OnActivation(std::string_view name, Rows x) override {
    const std::string key = absl::StrCat("act.", std::string(name));
    const TensorView* expected = golden_.FindRows(key);
    if (expected == nullptr || expected->shape[0] != x.rows ||
        expected->shape[1] != x.cols) {
      return;
    }
    Worst worst;
    for (int row = 0; row < x.rows; ++row) {
      worst.Add(row, RelativeError(x[row], ReadRow(*expected, row)));
    }
    Add(key, worst);
  }

  // The chosen experts as a set, each with its weight.
  void OnSelection(std::string_view, Selection&) override {}
  void OnRouting(std::string_view name, Routing& routing) override {
    const std::string key = absl::StrCat("act.", std::string(name));
    const TensorView* ids = golden_.tensors->Find(key + ".indices");
    const TensorView* weights = golden_.FindRows(key + ".weights");
    if (ids == nullptr || weights == nullptr || ids->type != DType::kI32 ||
        ids->shape != weights->shape) {
      return;
    }
    const std::vector<int64_t> wanted = ReadIntegers(*ids);
    const int top_k = static_cast<int>(ids->shape[1]);
    const int rows = static_cast<int>(ids->shape[0]);
    Worst worst;
    for (int row = 0; row < rows; ++row) {
      std::map<int64_t, float> ours;
      for (int i = row * top_k; i < (row + 1) * top_k; ++i) {
        ours[routing.experts[i]] = routing.weights[i];
      }
      std::vector<float> weight_of;
      for (int i = row * top_k; i < (row + 1) * top_k; ++i) {
        weight_of.push_back(ours[wanted[i]]);  // 0 if it was not chosen
      }
      worst.Add(row, RelativeError(weight_of.data(), ReadRow(*weights, row)));
    }
    Add(key + ".weights", worst);
  }

 private:
  void Add(const std::string& name, const Worst& worst) {
    double allowed = tolerance_.row;
    if (absl::StrContains(name, ".mlp") && !absl::EndsWith(name, ".logits")) {
      allowed = tolerance_.gated;
    } else if (absl::StrContains(name, ".self_attn")) {
      allowed = tolerance_.attention;
    }
    report_.checks.push_back(
        {name, worst.error, allowed, absl::StrCat("row ", worst.row)});
  }

  const GoldenFile& golden_;
  const Tolerance tolerance_;
  Report& report_;
};

class Verifier {
 public:
  Verifier(const GoldenFile& golden, SequenceRunner& runner,
           const Tolerance& tolerance, int vocab_size, Report& report)
      : golden_(golden),
        runner_(runner),
        tolerance_(tolerance),
        vocab_(vocab_size),
        report_(report) {}

  void VerifyPrompt(const GoldenPrompt& prompt) {
    // "mid" is the prompt whose activations are recorded.
    GoldenTap tap(golden_, tolerance_, report_);
    const int length = static_cast<int>(prompt.ids.size());
    const TensorView* logits = golden_.FindRows(prompt.name + ".logits");
    const int rows = logits == nullptr ? 1 : static_cast<int>(logits->shape[0]);
    Worst worst;
    std::vector<float> last;
    runner_.Prompt(
        prompt.ids, std::max(0, length - rows),
        [&](int position, const float* row) {
          if (logits != nullptr && logits->shape[1] == vocab_) {
            worst.Add(position,
                      RelativeError(
                          row, ReadRow(*logits, position - (length - rows))));
          }
          if (position == length - 1) last.assign(row, row + vocab_);
        },
        prompt.name == "mid" ? &tap : nullptr);
    if (logits != nullptr) {
      Add(prompt.name + ".logits", worst.error,
          absl::StrCat("position ", worst.row));
    }
    VerifyLast(prompt, last);
    VerifyGreedy(prompt, std::move(last));
  }

  void VerifyPerplexity(const GoldenPerplexity& golden) {
    double total = 0;
    size_t tokens = 0;
    for (const std::vector<int32_t>& window : golden.windows) {
      for (double nll : TokenNll(runner_, window, vocab_)) {
        total += nll;
        ++tokens;
      }
    }
    const double mean = total / tokens;
    report_.checks.push_back(
        {"mean_nll", std::abs(mean - golden.mean_nll), tolerance_.mean,
         absl::StrFormat("%.6f over %d tokens, golden %.6f", mean, tokens,
                         golden.mean_nll)});
  }

 private:
  void Add(const std::string& name, double error, const std::string& detail) {
    report_.checks.push_back({name, error, tolerance_.row, detail});
  }

  void VerifyLast(const GoldenPrompt& prompt, const std::vector<float>& last) {
    if (const TensorView* all =
            golden_.tensors->Find(prompt.name + ".last_logits");
        all != nullptr && all->shape == std::vector<int64_t>{vocab_}) {
      Add(prompt.name + ".last_logits",
          RelativeError(last.data(), ReadRow(*all, 0)), "all tokens");
    }
    if (prompt.top_ids.empty()) return;
    std::vector<float> ours;
    for (int32_t id : prompt.top_ids) ours.push_back(last[id]);
    const std::vector<float> golden(prompt.top_logits.begin(),
                                    prompt.top_logits.end());
    Add(prompt.name + ".top_logits", RelativeError(ours.data(), golden),
        absl::StrCat("the ", golden.size(), " likeliest"));
  }

  // A token may differ only where the golden's margin is within what two
  // logits can be off together: sqrt(2) times the bound on the row's error.
  // From there on the two texts have nothing to compare.
  void VerifyGreedy(const GoldenPrompt& prompt, std::vector<float> logits) {
    size_t same = 0;
    double excess = 0;
    for (; same < prompt.greedy_ids.size(); ++same) {
      const auto best = static_cast<int32_t>(
          std::max_element(logits.begin(), logits.end()) - logits.begin());
      if (best != prompt.greedy_ids[same]) {
        const double allowed = std::sqrt(2.0) * tolerance_.row * Norm(logits);
        excess = std::max(0.0, prompt.greedy_margins[same] - allowed);
        break;
      }
      if (same + 1 == prompt.greedy_ids.size()) continue;
      const float* next = runner_.Generate(best);
      logits.assign(next, next + vocab_);
    }
    report_.checks.push_back(
        {prompt.name + ".greedy", excess, 0,
         absl::StrCat(same, " of ", prompt.greedy_ids.size(),
                      " tokens the same")});
  }

  const GoldenFile& golden_;
  SequenceRunner& runner_;
  const Tolerance tolerance_;
  const int vocab_;
  Report& report_;
};

size_t LongestSequence(const GoldenFile& golden) {
  size_t longest = 1;
  for (const GoldenPrompt& p : golden.prompts) {
    longest = std::max(longest, p.ids.size() + p.greedy_ids.size());
  }
  if (golden.perplexity) {
    for (const auto& window : golden.perplexity->windows) {
      longest = std::max(longest, window.size());
    }
  }
  return longest;
}

// Tensors that a layer rounds: two per projection, and the cache row.
int RoundedTensors(const ModelConfig& config) {
  int attention = 0;
  for (const AttentionConfig& a : config.attention) {
    int layer = 2;                                        // in and out
    if (FormOf(a.kind).up_parameters(a) > 0) layer += 2;  // W_UK, W_UV
    if (a.q_lora_rank > 0) ++layer;
    attention = std::max(attention, layer);
  }
  int projections = attention + 2;  // and the feed-forward's
  if (config.moe && config.moe->shared_intermediate_size > 0) projections += 2;
  return 2 * projections + 1;
}

// What rounding to the type changes, beside the norm of what is rounded: bf16's
// half a unit in the last place. A group of 32 normal numbers reaches to 2.2 of
// their standard deviations and spans 4.2; half a step of 127 or of 15, rms,
// is 2.2 / 127 / sqrt(12) = 2^-7.6 and 4.2 / 15 / sqrt(12) = 2^-3.6 of the
// norm.
double UnitRoundoff(DType weights) {
  if (weights == DType::kQ8_0) return 0x1.0p-7;
  if (weights == DType::kQ4_1) return 0x1.0p-3;
  return 0x1.0p-9;
}

}  // namespace

Tolerance ToleranceFor(const ModelConfig& config, DType weights_dtype,
                       DType kv_dtype, bool rounds_attention) {
  if (weights_dtype == DType::kF32 && kv_dtype == DType::kF32) {
    return {.row = 1e-4, .gated = 1e-4, .attention = 1e-4, .mean = 1e-3};
  }
  const double u = UnitRoundoff(weights_dtype);
  double rounded = RoundedTensors(config) + (rounds_attention ? 4 : 0);
  // Keys and values in e4m3, which may be off by 2^-4.
  if (kv_dtype == DType::kF8E4M3) rounded += 2 * 0x1.0p-4 / u;
  const double layers = config.num_layers;
  const double row = 2 * u * rounded * std::sqrt(layers);
  return {.row = row,
          .gated = 2 * row,
          .attention = rounds_attention ? 2 * row : row,
          .mean = 2 * u * std::sqrt(rounded * layers)};
}

absl::Status VerifyModelGolden(LoadedModel& loaded, const std::string& folder,
                               const VerifyOptions& options, Report& report) {
  ASSIGN_OR_RETURN(const GoldenFile golden,
                   GoldenFile::Open(folder, loaded.config.vocab_size));
  const size_t longest = LongestSequence(golden);
  if (longest > size_t(loaded.config.max_position)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "golden.json: a sequence of ", longest,
        " tokens exceeds the model's context of ", loaded.config.max_position));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<SequenceRunner> runner,
                   SequenceRunner::Create(
                       *loaded.model, options.kv_dtype, options.block_tokens,
                       static_cast<int>(longest), options.routing));
  const DType weights = loaded.model->options().weights_dtype;
  const Tolerance tolerance =
      ToleranceFor(loaded.config, weights, options.kv_dtype,
                   loaded.model->backend().rounds_attention());
  Verifier verifier(golden, *runner, tolerance, loaded.config.vocab_size,
                    report);
  for (const GoldenPrompt& prompt : golden.prompts) {
    verifier.VerifyPrompt(prompt);
    RETURN_IF_ERROR(loaded.model->status());
  }
  if (golden.perplexity) verifier.VerifyPerplexity(*golden.perplexity);
  RETURN_IF_ERROR(loaded.model->status());
  if (options.routing != nullptr) {
    const SequenceRunner::Rerouted& rerouted = runner->rerouted();
    report.notes.push_back(absl::StrFormat(
        "%d of %d choices of experts and tokens were not those of the model in "
        "float; "
        "float's were followed",
        rerouted.changed, rerouted.choices));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime
