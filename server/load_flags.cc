// Tested by tests/server/options_test.cc.
#include "server/load_flags.h"

#include <CLI/CLI.hpp>
#include <map>
#include <string>

namespace mla::server {
namespace {

using kernels::DType;

using DTypes = std::map<std::string, DType>;

const DTypes kWeightTypes = {
    {"bf16", DType::kBF16},  {"f32", DType::kF32},
    {"int8", DType::kQ8_0},  {"q8_0", DType::kQ8_0},
    {"int4", DType::kQ4_1},  {"q4_1", DType::kQ4_1},
    {"fp8", DType::kF8E4M3}, {"fp8_e4m3", DType::kF8E4M3}};
const DTypes kRowTypes = {{"bf16", DType::kBF16},
                          {"f32", DType::kF32},
                          {"fp8", DType::kF8E4M3},
                          {"fp8_e4m3", DType::kF8E4M3}};

void AddDType(CLI::App& command, const std::string& flag, DType& dtype,
              const DTypes& types, const std::string& what, const char* env,
              const char* group) {
  command.add_option(flag, dtype, what + " [" + kernels::Name(dtype) + "]")
      ->transform(CLI::CheckedTransformer(types).description(""))
      ->type_name("TYPE")
      ->envname(env)
      ->group(group);
}

}  // namespace

void AddLoadFlags(CLI::App& command, runtime::LoadOptions& options) {
  AddDType(command, "--weights-dtype", options.model.weights_dtype,
           kWeightTypes,
           "Weights in memory: bf16; f32 for exact comparison; int8 (q8_0) and "
           "int4 (q4_1), the CPU's, in groups of 32 as GGUF has them; fp8 (a "
           "GPU's: a byte each, what an fp8 checkpoint has)",
           "MLA_WEIGHTS_DTYPE", "Model");
  command
      .add_option("--backend", options.backend.name,
                  "Where it runs: auto for a GPU if there is one, else the "
                  "CPU; cuda; cpu for the best this machine has, or "
                  "cpu-reference, cpu-portable, cpu-avx2, cpu-avx512, "
                  "cpu-avx512-vnni, cpu-avx512-bf16")
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
  command
      .add_option("--latent-slices", options.latent_slices,
                  "Slices of an MLA model's latent, each with a softmax of its "
                  "own, so that as many ranks cache one each (TPLA): an "
                  "approximation; 1 changes nothing")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->envname("MLA_LATENT_SLICES")
      ->group("Model");
}

void AddKvDtypeFlag(CLI::App& command, DType& dtype) {
  AddDType(command, "--kv-cache-dtype", dtype, kRowTypes,
           "Cache rows: bf16, fp8 for about half the bytes, or f32 for exact "
           "comparison",
           "MLA_KV_CACHE_DTYPE", "Cache");
}

}  // namespace mla::server
