// mlaserve bench attention: the three ways to execute one MLA layer
// (2506.02523), timed on this machine for one shape.
//   precomputed   queries come out of one matrix W_UK^T W_UQ in the space of
//                 the rows, and one matrix W_O W_UV takes the outputs back
//   two-step      W_UQ, then W_UK^T per head; W_UV per head, then W_O
//   materialised  keys and values of every head are built from the rows
// All three give the same numbers (tests/kernels/attention_test.cc); the server
// takes two-step for generated tokens and materialised for prompts.
// Tested by tests/e2e/commands_test.py.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/linear.h"
#include "runtime/cpu_count.h"
#include "server/commands/commands.h"

namespace mla::server {
namespace {

using kernels::AttentionOp;
using kernels::DType;
using kernels::PackedMatrix;
using kernels::Rows;
using kernels::SequenceSpan;
using nlohmann::ordered_json;

struct BenchOptions {
  int hidden_size = 2048;  // DeepSeek-V2-Lite's
  int heads = 16;
  int q_lora_rank = 0;
  int kv_lora_rank = 512;
  int qk_nope_head_dim = 128;
  int qk_rope_head_dim = 64;
  int v_head_dim = 128;
  std::vector<int> contexts = {128, 1024, 4096};
  std::vector<int> queries = {1, 64, 512};
  int threads = 0;
  double seconds = 0.3;  // per figure
  bool json = false;
};

// One layer's shape with random weights; what they are does not matter here.
class Layer {
 public:
  explicit Layer(const BenchOptions& o)
      : o_(o),
        cpu_(kernels::BestIsa(),
             o.threads > 0 ? o.threads : runtime::UsableCpus()),
        inputs_(o.q_lora_rank > 0 ? o.q_lora_rank : o.hidden_size),
        row_(o.kv_lora_rank + o.qk_rope_head_dim),
        query_dim_(o.qk_nope_head_dim + o.qk_rope_head_dim) {
    for (int h = 0; h < o.heads; ++h) {
      up_.k.push_back(Random(o.qk_nope_head_dim, o.kv_lora_rank));
      up_.k_absorbed.push_back(Random(o.kv_lora_rank, o.qk_nope_head_dim));
      up_.v.push_back(Random(o.v_head_dim, o.kv_lora_rank));
    }
    w_q_ = Random(o.heads * query_dim_, inputs_);
    w_o_ = Random(o.hidden_size, o.heads * o.v_head_dim);
    precomputed_q_ = Random(o.heads * row_, inputs_);
    precomputed_o_ = Random(o.hidden_size, o.heads * o.kv_lora_rank);
  }

  // Seconds that `queries` tokens at the end of a context take; they are one
  // prompt's, or as many sequences' newest.
  double Precomputed(int context, int queries) {
    AttentionOp op = Op();
    op.up = nullptr;
    return Time(context, queries, precomputed_q_, precomputed_o_,
                o_.heads * o_.kv_lora_rank, [&](const Step& s, Rows q, Rows y) {
                  AttendDecode(cpu_, op, s.cache, s.spans.data(), s.count(), q,
                               y);
                });
  }
  double TwoStep(int context, int queries) {
    return Time(context, queries, w_q_, w_o_, o_.heads * o_.v_head_dim,
                [&](const Step& s, Rows q, Rows y) {
                  AttendDecode(cpu_, Op(), s.cache, s.spans.data(), s.count(),
                               q, y);
                });
  }
  double Materialised(int context, int queries) {
    return Time(context, queries, w_q_, w_o_, o_.heads * o_.v_head_dim,
                [&](const Step& s, Rows q, Rows y) {
                  AttendPrefill(cpu_, Op(), s.cache, s.spans.data(), s.count(),
                                q, y);
                });
  }

 private:
  struct Step {
    kernels::CacheRows cache;
    std::vector<SequenceSpan> spans;
    int count() const { return static_cast<int>(spans.size()); }
  };

  AttentionOp Op() const {
    return {kernels::MlaLayout(o_.heads, o_.kv_lora_rank, o_.qk_rope_head_dim),
            0.1f, &up_};
  }

  PackedMatrix Random(int outputs, int inputs) {
    PackedMatrix m(DType::kBF16, outputs, inputs);
    std::vector<float> row(inputs);
    for (int i = 0; i < outputs; ++i) {
      for (float& x : row) x = Draw();
      m.SetRow(i, row.data());
    }
    return m;
  }
  float Draw() {
    return (static_cast<float>(random_()) / static_cast<float>(random_.max()) -
            0.5f) /
           16;
  }

  double Time(int context, int queries, const PackedMatrix& w_q,
              const PackedMatrix& w_o, int attended,
              const std::function<void(const Step&, Rows, Rows)>& attend) {
    constexpr int kBlockTokens = 64;
    const int blocks = (context + kBlockTokens - 1) / kBlockTokens;
    std::vector<float> cache(size_t(blocks) * kBlockTokens * row_);
    for (float& x : cache) x = Draw();
    std::vector<kernels::bf16_t> rows(cache.size());
    for (size_t i = 0; i < rows.size(); ++i)
      rows[i] = kernels::ToBF16(cache[i]);
    std::vector<int32_t> table(blocks);
    for (int i = 0; i < blocks; ++i) table[i] = i;
    Step step;
    step.cache = {reinterpret_cast<std::byte*>(rows.data()),
                  size_t(kBlockTokens) * row_ * sizeof(kernels::bf16_t),
                  kBlockTokens, kernels::RowFormatOf(row_, DType::kBF16)};
    step.spans = {{0, queries, context - queries, table.data()}};
    const auto matrix = [&](std::vector<float>& data, int cols) {
      data.resize(size_t(queries) * cols, 0.01f);
      return Rows{data.data(), queries, cols, size_t(cols)};
    };
    std::vector<float> x_data, q_data, attended_data, y_data;
    const Rows x = matrix(x_data, inputs_);
    const Rows q = matrix(q_data, w_q.n());
    const Rows out = matrix(attended_data, attended);
    const Rows y = matrix(y_data, o_.hidden_size);
    const auto run = [&] {
      Linear(cpu_, x, w_q, nullptr, q);
      attend(step, q, out);
      Linear(cpu_, out, w_o, nullptr, y);
    };
    run();  // once to touch everything
    // The fastest of several: what else the machine does only adds.
    double best = 1e9, total = 0;
    for (int i = 0; i < 3 || total < o_.seconds; ++i) {
      const auto start = std::chrono::steady_clock::now();
      run();
      const std::chrono::duration<double> took =
          std::chrono::steady_clock::now() - start;
      best = std::min(best, took.count());
      total += took.count();
    }
    return best;
  }

  const BenchOptions o_;
  kernels::CpuContext cpu_;
  const int inputs_;
  const int row_;
  const int query_dim_;
  std::mt19937 random_{1};
  kernels::UpProjection up_;
  PackedMatrix w_q_, w_o_, precomputed_q_, precomputed_o_;
};

int Run(const BenchOptions& options) {
  Layer layer(options);
  ordered_json figures = ordered_json::array();
  if (!options.json) {
    std::cout << "one layer, milliseconds; * is the fastest\n\n"
              << "| context | queries | precomputed | two-step | materialised "
                 "|\n|---:|---:|---:|---:|---:|\n";
  }
  for (const int context : options.contexts) {
    for (const int queries : options.queries) {
      if (queries > context) continue;
      const double times[] = {layer.Precomputed(context, queries),
                              layer.TwoStep(context, queries),
                              layer.Materialised(context, queries)};
      figures.push_back({{"context", context},
                         {"queries", queries},
                         {"precomputed_seconds", times[0]},
                         {"two_step_seconds", times[1]},
                         {"materialised_seconds", times[2]}});
      if (options.json) continue;
      const double best = *std::min_element(times, times + 3);
      std::cout << absl::StrFormat("| %d | %d |", context, queries);
      for (const double t : times) {
        std::cout << absl::StrFormat(" %.3f%s |", 1e3 * t,
                                     t == best ? " *" : "");
      }
      std::cout << std::endl;
    }
  }
  if (options.json) std::cout << figures.dump(2) << "\n";
  return 0;
}

}  // namespace

void AddBenchAttention(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* command = parent.add_subcommand(
      "attention",
      "Time the three ways to execute one MLA layer: precomputed, two-step and "
      "materialised.");
  const auto size = [command](const char* flag, int& value, const char* help,
                              int low = 1) {
    command->add_option(flag, value, help)
        ->check(CLI::Range(low, 1 << 16))
        ->capture_default_str();
  };
  size("--hidden-size", options->hidden_size, "Model width");
  size("--heads", options->heads, "Query heads");
  size("--q-lora-rank", options->q_lora_rank, "Query latent; 0: none", 0);
  size("--kv-lora-rank", options->kv_lora_rank, "Latent of a row");
  size("--qk-nope-head-dim", options->qk_nope_head_dim, "Unrotated key part");
  size("--qk-rope-head-dim", options->qk_rope_head_dim, "Rotated key part");
  size("--v-head-dim", options->v_head_dim, "Value of a head");
  command->add_option("--contexts", options->contexts, "Cached tokens: 128,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--queries", options->queries, "New tokens: 1,64,...")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--threads", options->threads, "0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "Time per figure")
      ->check(CLI::Range(0.0, 60.0))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server
