// mlaserve inspect: what is in a checkpoint and what its cache row costs.
// Reads headers only, no weights. Tested by tests/e2e/commands_test.py.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/attention/attention_form.h"
#include "runtime/convert/folder_config.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/load_flags.h"

namespace mla::server {
namespace {

using nlohmann::ordered_json;
using runtime::AttentionConfig;
using runtime::AttentionKind;
using runtime::FormOf;
using runtime::ModelConfig;

struct InspectOptions {
  std::string path;
  uint64_t memory_bytes = uint64_t{1} << 30;
  kernels::DType kv_dtype = kernels::DType::kBF16;
  bool json = false;
};

// One way to lay the cache out, by elements per token and layer.
struct Layout {
  std::string name;
  double row_width;  // the layers' mean
  bool is_own = false;
};

// Rows per token, summed over layers, over the number of layers.
double MeanRow(const ModelConfig& c) {
  return c.KvBytesPerToken(kernels::DType::kF32) / 4 / c.num_layers;
}

// A mean width has no whole number of elements.
double RowBytes(double width, kernels::DType dtype) {
  if (dtype == kernels::DType::kF8E4M3) {
    return kernels::RowFormatOf(static_cast<int>(width), dtype).bytes;
  }
  return width * static_cast<double>(kernels::SizeOf(dtype));
}

// What the layers have of a size: "88", or "64 to 104".
std::string Range(const ModelConfig& c, int AttentionConfig::*size) {
  int least = c.attention[0].*size, most = least;
  for (const AttentionConfig& a : c.attention) {
    least = std::min(least, a.*size);
    most = std::max(most, a.*size);
  }
  return least == most ? absl::StrCat(least)
                       : absl::StrCat(least, " to ", most);
}

// `source_row`: of the model it was converted from, or 0.
std::vector<Layout> Compare(const ModelConfig& c, int64_t source_row) {
  const AttentionConfig& a = c.attention[0];
  const double mha =
      double{1} * a.heads * (a.query_head_dim() + a.output_head_dim());
  const double own = MeanRow(c);
  std::vector<Layout> layouts = {{"MHA: keys and values of every head", mha}};
  if (a.kind == AttentionKind::kMla) {
    if (source_row > 0) {
      layouts.push_back(
          {"GQA: before it was converted", static_cast<double>(source_row)});
    }
    layouts.push_back(
        {absl::StrCat("MLA: latent ", Range(c, &AttentionConfig::kv_lora_rank),
                      " + rope ", Range(c, &AttentionConfig::qk_rope_head_dim)),
         own, true});
    return layouts;
  }
  if (a.kind != AttentionKind::kGqa) {
    layouts.push_back(
        {absl::StrCat("this model: ", FormOf(a.kind).name), own, true});
    return layouts;
  }
  layouts.push_back(
      {absl::StrCat("GQA: ", a.kv_heads, " groups, as an exact latent"), own,
       true});
  layouts.push_back({"MLA of half the row (converted, not exact)", own / 2});
  layouts.push_back({"MLA of a quarter", own / 4});
  return layouts;
}

ordered_json Describe(const ModelConfig& c, int64_t source_row,
                      const InspectOptions& options) {
  const AttentionConfig& a = c.attention[0];
  ordered_json attention = {{"heads", a.heads},
                            {"head_dim", a.query_head_dim()},
                            {"v_head_dim", a.output_head_dim()}};
  attention["kind"] = FormOf(a.kind).name;
  if (a.kind == AttentionKind::kMla) {
    attention["q_lora_rank"] = a.q_lora_rank;
    attention["kv_lora_rank"] = a.kv_lora_rank;
    attention["qk_nope_head_dim"] = a.qk_nope_head_dim;
    attention["qk_rope_head_dim"] = a.qk_rope_head_dim;
  } else {
    attention["kv_heads"] = a.kv_heads;
  }
  attention["latent_groups"] = a.Layout().groups;
  attention["row_width"] = a.Layout().row_width;
  attention["tokens_per_row"] = a.time_stride;

  const kernels::DType dtype = options.kv_dtype;
  const auto per_token =
      static_cast<int64_t>(std::ceil(c.KvBytesPerToken(dtype)));
  ordered_json layouts = ordered_json::array();
  for (const Layout& layout : Compare(c, source_row)) {
    layouts.push_back(
        {{"layout", layout.name},
         {"bytes_per_token",
          layout.is_own
              ? per_token
              : std::llround(RowBytes(layout.row_width, dtype) * c.num_layers)},
         {"this_model", layout.is_own}});
  }
  ordered_json d = {{"architecture", c.architecture},
                    {"parameters", c.Parameters()},
                    {"layers", c.num_layers},
                    {"hidden_size", c.hidden_size},
                    {"vocab_size", c.vocab_size},
                    {"max_context_tokens", c.max_position},
                    {"attention", std::move(attention)},
                    {"kv_cache_dtype", kernels::Name(options.kv_dtype)},
                    {"kv_bytes_per_token", per_token},
                    {"memory_bytes", options.memory_bytes},
                    {"tokens_that_fit", options.memory_bytes / per_token},
                    {"layouts", std::move(layouts)}};
  if (source_row > 0) {
    d["source_kv_bytes_per_token"] = std::llround(
        RowBytes(static_cast<double>(source_row), dtype) * c.num_layers);
    d["kv_bytes_of_source"] = MeanRow(c) / static_cast<double>(source_row);
  }
  return d;
}

void Print(const ordered_json& d) {
  const auto line = [](const char* name, const std::string& value) {
    std::cout << absl::StrFormat("%-20s %s\n", name, value);
  };
  const ordered_json& a = d["attention"];
  line("architecture", d["architecture"].get<std::string>());
  line("parameters",
       absl::StrFormat("%.1f M", d["parameters"].get<double>() / 1e6));
  line("layers", absl::StrCat(d["layers"].get<int>(), " of ",
                              d["hidden_size"].get<int>()));
  line("vocabulary", absl::StrCat(d["vocab_size"].get<int>()));
  line("context", absl::StrCat(d["max_context_tokens"].get<int>(), " tokens"));
  line("heads",
       absl::StrCat(a["heads"].get<int>(), " of ", a["head_dim"].get<int>()));
  line("cache row",
       absl::StrCat(a["row_width"].get<int>(), " elements in ",
                    a["latent_groups"].get<int>(), " latent group(s), ",
                    d["kv_cache_dtype"].get<std::string>()));
  line("bytes a token", absl::StrCat(d["kv_bytes_per_token"].get<int64_t>()));
  if (d.contains("source_kv_bytes_per_token")) {
    line("before conversion",
         absl::StrFormat("%d (now %.2f %% of that)",
                         d["source_kv_bytes_per_token"].get<int64_t>(),
                         100 * d["kv_bytes_of_source"].get<double>()));
  }
  line("tokens that fit",
       absl::StrCat(d["tokens_that_fit"].get<int64_t>(), " in ",
                    d["memory_bytes"].get<int64_t>(), " bytes"));
  std::cout << "\nthe same model's cache, bytes a token\n";
  const double most = d["layouts"][0]["bytes_per_token"].get<double>();
  for (const ordered_json& layout : d["layouts"]) {
    const auto bytes = layout["bytes_per_token"].get<int64_t>();
    const int bar = std::max(1, static_cast<int>(30.0 * bytes / most + 0.5));
    std::cout << absl::StrFormat("%s %-44s %9d %5.1f %%  %s\n",
                                 layout["this_model"].get<bool>() ? "*" : " ",
                                 layout["layout"].get<std::string>(), bytes,
                                 100.0 * bytes / most, std::string(bar, '#'));
  }
}

// What a token cached in a layer before conversion; 0: it was not converted.
absl::StatusOr<int64_t> SourceRow(const runtime::Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const nlohmann::json config,
                   runtime::ReadConfigJson(checkpoint));
  if (config.is_null()) return 0;
  return runtime::SourceRowWidth(config);
}

int Run(const InspectOptions& options) {
  const auto checkpoint = runtime::Checkpoint::Open(options.path);
  if (!checkpoint.ok()) return Fail("inspect", checkpoint.status());
  const auto config = runtime::ReadModelConfig(**checkpoint);
  if (!config.ok()) return Fail("inspect", config.status());
  const auto source_row = SourceRow(**checkpoint);
  if (!source_row.ok()) return Fail("inspect", source_row.status());
  const ordered_json description = Describe(*config, *source_row, options);
  if (options.json) {
    std::cout << description.dump(2) << "\n";
  } else {
    Print(description);
  }
  return 0;
}

}  // namespace

void AddInspect(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<InspectOptions>();
  CLI::App* command = parent.add_subcommand(
      "inspect", "Show a model's shape and what its KV cache costs.");
  command
      ->add_option("path", options->path, "Hugging Face folder or .gguf file")
      ->required();
  command
      ->add_option("--memory", options->memory_bytes,
                   "Memory to fit tokens into: 512M, 4G, ...")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->capture_default_str();
  AddKvDtypeFlag(*command, options->kv_dtype);
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server
