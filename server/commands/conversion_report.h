// ConversionReport: what a person, or a pipeline, looks at before a converted
// model is deployed. report_page.h makes a page of it, ToJson the same figures
// for programs. Threads: plain values; any.
#ifndef MLA_SERVER_COMMANDS_CONVERSION_REPORT_H_
#define MLA_SERVER_COMMANDS_CONVERSION_REPORT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/convert/evaluation.h"
#include "runtime/convert/sample_texts.h"

namespace mla::server {

// What caches are compared at.
inline constexpr int64_t kReportContext = 8192;  // tokens
inline constexpr int64_t kReportPoolBytes = int64_t{1} << 30;
inline constexpr int kReportElementBytes = 2;  // bf16

struct ReportedLayer {
  int kv_lora_rank = 0;
  int qk_rope_head_dim = 0;
  int64_t row = 0;  // elements that a token caches, and...
  int64_t source_row = 0;
  double energy_kept = 0;  // of keys and values, in [0, 1]
};

struct ConversionReport {
  std::string source;     // a name
  std::string converted;  // a folder
  std::string method;     // as conversion.json has it, and...
  std::string dtype;      // ...of all weights
  std::vector<std::string> calibration_files;  // empty: the built-in text
  int calibration_windows = 0;
  int window_tokens = 0;
  double seconds = 0;             // of this run
  int layers_resumed = 0;         // that an earlier run had made
  int64_t peak_memory_bytes = 0;  // of the process, mapped files included
  std::vector<std::string> warnings;
  std::vector<ReportedLayer> layers;
  std::vector<std::string> evaluation_files;  // empty: held out
  runtime::Evaluation evaluation;
  runtime::SampleTexts samples;

  // In all layers.
  int64_t source_bytes_per_token() const;
  int64_t bytes_per_token() const;
  double cache_ratio() const;
};

nlohmann::ordered_json ToJson(const ConversionReport& report);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_CONVERSION_REPORT_H_
