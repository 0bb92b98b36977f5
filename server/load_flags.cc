// Tested by tests/server/options_test.cc.
#include "server/load_flags.h"

#include <CLI/CLI.hpp>
#include <map>
#include <string>

namespace mla::server {
namespace {

using kernels::DType;

const std::map<std::string, DType> kDTypes = {{"bf16", DType::kBF16},
                                              {"f32", DType::kF32}};

void AddDType(CLI::App& command, const std::string& flag, DType& dtype,
              const std::string& what, const char* env, const char* group) {
  command
      .add_option(flag, dtype,
                  what + ": bf16, or f32 for exact comparison [" +
                      kernels::Name(dtype) + "]")
      ->transform(CLI::CheckedTransformer(kDTypes))
      ->envname(env)
      ->group(group);
}

}  // namespace

void AddLoadFlags(CLI::App& command, runtime::LoadOptions& options) {
  AddDType(command, "--weights-dtype", options.model.weights_dtype,
           "Weights in memory", "MLA_WEIGHTS_DTYPE", "Model");
  command
      .add_option("--backend", options.backend.name,
                  "Where it runs: auto for a GPU if there is one, else the "
                  "CPU; cuda; cpu for the best this machine has, or "
                  "cpu-reference, cpu-portable, cpu-avx2, cpu-avx512, "
                  "cpu-avx512-bf16")
      ->capture_default_str()
      ->envname("MLA_BACKEND")
      ->group("Model");
  command
      .add_option("--threads", options.backend.threads,
                  "CPU threads that compute; 0: every CPU the process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->envname("MLA_THREADS")
      ->group("Model");
  command
      .add_option("--tensor-parallel", options.backend.ranks,
                  "Ranks that share the model: GPUs, or on the CPU as many "
                  "parts of the threads; heads and widths must divide")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->envname("MLA_TENSOR_PARALLEL")
      ->group("Model");
}

void AddKvDtypeFlag(CLI::App& command, DType& dtype) {
  AddDType(command, "--kv-cache-dtype", dtype, "Cache rows",
           "MLA_KV_CACHE_DTYPE", "Cache");
}

}  // namespace mla::server
