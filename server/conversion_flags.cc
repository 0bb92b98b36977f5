// Tested by tests/server/options_test.cc.
#include "server/conversion_flags.h"

#include <CLI/CLI.hpp>

namespace mla::server {
namespace {

constexpr char kGroup[] = "Conversion";

}  // namespace

void AddCalibrationFlags(CLI::App& command,
                         runtime::CalibrationOptions& options) {
  command
      .add_option("--calibration", options.files,
                  "Files like what the model will serve, several kinds rather "
                  "than much of one: UTF-8 texts, or .jsonl with "
                  "{\"messages\"}, {\"prompt\", \"completion\"} or {\"text\"} "
                  "a line [a built-in text of many kinds]")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname("MLA_CALIBRATION")
      ->group(kGroup);
  command
      .add_option("--calibration-tokens", options.tokens,
                  "How many tokens of them to use, evenly spread")
      ->check(CLI::Range(2, 1 << 24))
      ->capture_default_str()
      ->envname("MLA_CALIBRATION_TOKENS")
      ->group(kGroup);
  command
      .add_option("--window-tokens", options.window_tokens,
                  "Tokens that are read as one text")
      ->check(CLI::Range(2, 1 << 16))
      ->capture_default_str()
      ->envname("MLA_WINDOW_TOKENS")
      ->group(kGroup);
}

}  // namespace mla::server
