// Tested by tests/e2e/conversion_report_test.py.
#include "server/commands/conversion_report.h"

namespace mla::server {
namespace {

using nlohmann::ordered_json;

ordered_json Cache(int64_t bytes_per_token) {
  return {{"bytes_per_token", bytes_per_token},
          {"bytes_per_sequence", bytes_per_token * kReportContext},
          {"tokens_in_pool", kReportPoolBytes / bytes_per_token}};
}

ordered_json Layers(const ConversionReport& report) {
  ordered_json layers = ordered_json::array();
  for (const ReportedLayer& layer : report.layers) {
    layers.push_back({{"kv_lora_rank", layer.kv_lora_rank},
                      {"qk_rope_head_dim", layer.qk_rope_head_dim},
                      {"row_elements", layer.row},
                      {"source_row_elements", layer.source_row},
                      {"energy_kept", layer.energy_kept}});
  }
  return layers;
}

ordered_json Quality(const ConversionReport& report) {
  const runtime::Evaluation& e = report.evaluation;
  return {{"held_out", report.evaluation_files.empty()},
          {"files", report.evaluation_files},
          {"windows", e.windows},
          {"tokens", e.tokens},
          {"source_nll", e.source_nll},
          {"converted_nll", e.converted_nll},
          {"source_perplexity", e.source_perplexity()},
          {"converted_perplexity", e.converted_perplexity()},
          {"kl", e.kl},
          {"top1_agreement", e.top1_agreement}};
}

ordered_json Samples(const runtime::SampleTexts& samples) {
  ordered_json texts = ordered_json::array();
  for (const runtime::SampleText& sample : samples.texts) {
    texts.push_back({{"prompt", sample.prompt},
                     {"source", sample.source},
                     {"converted", sample.converted}});
  }
  return {{"chat", samples.chat},
          {"max_tokens", samples.max_tokens},
          {"texts", std::move(texts)}};
}

}  // namespace

int64_t ConversionReport::source_bytes_per_token() const {
  int64_t elements = 0;
  for (const ReportedLayer& layer : layers) elements += layer.source_row;
  return elements * kReportElementBytes;
}

int64_t ConversionReport::bytes_per_token() const {
  int64_t elements = 0;
  for (const ReportedLayer& layer : layers) elements += layer.row;
  return elements * kReportElementBytes;
}

double ConversionReport::cache_ratio() const {
  return static_cast<double>(bytes_per_token()) /
         static_cast<double>(source_bytes_per_token());
}

ordered_json ToJson(const ConversionReport& report) {
  return {{"source", report.source},
          {"converted", report.converted},
          {"method", report.method},
          {"dtype", report.dtype},
          {"calibration",
           {{"files", report.calibration_files},
            {"windows", report.calibration_windows},
            {"window_tokens", report.window_tokens}}},
          {"seconds", report.seconds},
          {"layers_resumed", report.layers_resumed},
          {"peak_memory_bytes", report.peak_memory_bytes},
          {"warnings", report.warnings},
          {"cache",
           {{"dtype", "bf16"},
            {"context_tokens", kReportContext},
            {"pool_bytes", kReportPoolBytes},
            {"source", Cache(report.source_bytes_per_token())},
            {"converted", Cache(report.bytes_per_token())},
            {"ratio", report.cache_ratio()}}},
          {"layers", Layers(report)},
          {"evaluation", Quality(report)},
          {"samples", Samples(report.samples)}};
}

}  // namespace mla::server
