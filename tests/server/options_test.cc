#include "server/options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace mla::server {
namespace {

// True when the arguments are accepted; `options` then holds them.
bool Parse(std::vector<std::string> arguments, ServeOptions& options) {
  CLI::App app;
  AddServeFlags(app, options);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 wants it so
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError&) {
    return false;
  }
  return true;
}

TEST(ServeOptions, DefaultsListenOnTheLoopbackOnly) {
  ServeOptions options;
  ASSERT_TRUE(Parse({"--model", "m"}, options));
  EXPECT_EQ(options.grpc_listen, "127.0.0.1:50051");
  EXPECT_EQ(options.http_listen, "127.0.0.1:8080");
  EXPECT_EQ(options.admin_listen, "127.0.0.1:50052");
  EXPECT_EQ(options.drain_timeout_seconds, 45);
}

TEST(ServeOptions, FlagsArriveWithTheirUnits) {
  ServeOptions options;
  ASSERT_TRUE(
      Parse({"--model", "m", "--kv-cache-bytes", "512M", "--weights-dtype",
             "f32", "--kv-cache-dtype", "f32", "--max-queued-tokens", "7",
             "--threads", "3", "--tensor-parallel", "2"},
            options));
  EXPECT_EQ(options.engine.kv_cache_bytes, int64_t{512} << 20);
  EXPECT_EQ(options.load.model.weights_dtype, kernels::DType::kF32);
  EXPECT_EQ(options.engine.kv_dtype, kernels::DType::kF32);
  EXPECT_EQ(options.engine.max_queued_tokens, 7);
  EXPECT_EQ(options.load.backend.threads, 3);
  EXPECT_EQ(options.load.backend.ranks, 2);
}

TEST(ServeOptions, TheEnvironmentFillsInAndFlagsWin) {
  setenv("MLA_MODEL", "from-env", 1);
  setenv("MLA_KV_CACHE_BYTES", "2G", 1);
  ServeOptions options;
  EXPECT_TRUE(Parse({}, options));
  EXPECT_EQ(options.model, "from-env");
  EXPECT_EQ(options.engine.kv_cache_bytes, int64_t{2} << 30);
  EXPECT_TRUE(Parse({"--model", "from-flag"}, options));
  EXPECT_EQ(options.model, "from-flag");
  unsetenv("MLA_MODEL");
  unsetenv("MLA_KV_CACHE_BYTES");
}

TEST(ServeOptions, CalibrationTakesAllItsFilesAndOthersTheLastValue) {
  ServeOptions options;
  ASSERT_TRUE(Parse({"--model", "m", "--convert", "a", "--convert", "b",
                     "--calibration", "1.txt", "2.jsonl", "--calibration",
                     "3.txt", "--convert-cache", "folder"},
                    options));
  EXPECT_EQ(options.convert, "b");
  EXPECT_EQ(options.convert_cache, "folder");
  EXPECT_EQ(options.calibration.files,
            (std::vector<std::string>{"1.txt", "2.jsonl", "3.txt"}));
}

TEST(ServeOptions, WrongValuesAreRefused) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"--model"},
      {"--model", "m", "--kv-cache-bytes", "lots"},
      {"--model", "m", "--kv-cache-bytes", "-1"},
      {"--model", "m", "--weights-dtype", "int3"},
      {"--model", "m", "--max-running", "0"},
      {"--model", "m", "--calibration-tokens", "1"},
      {"--model", "m", "--stream-stall-seconds", "0"},
      {"--model", "m", "--no-such-flag"},
  };
  for (const auto& arguments : wrong) {
    ServeOptions options;
    EXPECT_FALSE(Parse(arguments, options)) << arguments.size();
  }
}

}  // namespace
}  // namespace mla::server
