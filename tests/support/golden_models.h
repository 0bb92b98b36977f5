// The golden checkpoints that tests run: the full set where MLA_SHARED_GOLDEN
// names it, else those committed under tests/golden/models.
#ifndef MLA_TESTS_SUPPORT_GOLDEN_MODELS_H_
#define MLA_TESTS_SUPPORT_GOLDEN_MODELS_H_

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runtime/loaded_model.h"
#include "tests/support/test_files.h"

namespace mla::testing {

// Every model family.
inline const std::vector<std::string> kFamilies = {"llama_gqa_tied",
                                                   "llama_f16_sharded",
                                                   "qwen2",
                                                   "qwen3",
                                                   "mixtral",
                                                   "deepseek_v2_lite",
                                                   "deepseek_v2_full",
                                                   "deepseek_v3",
                                                   "deepseek_v3_dense",
                                                   "deepseek_v3_fp8",
                                                   "deepseek_v3_halfrope_bias",
                                                   "deepseek_v3_real_dims",
                                                   "deepseek_v32_dense_range",
                                                   "deepseek_v32_sparse",
                                                   "kimi_k2",
                                                   "minicpm3",
                                                   "glm4_moe_lite",
                                                   "longcat_flash",
                                                   "mistral4",
                                                   "axk1",
                                                   "youtu"};

inline std::string GoldenModelsFolder() {
  return SharedGolden().empty() ? TestData("models")
                                : SharedGolden() + "/models";
}

// Folders of the wanted names that are there; a full set must have them all.
inline std::vector<std::string> GoldenModels(
    const std::vector<std::string>& names) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    const std::string path = GoldenModelsFolder() + "/" + name;
    if (std::filesystem::exists(path)) {
      found.push_back(path);
    } else {
      EXPECT_TRUE(SharedGolden().empty()) << path << " is missing";
    }
  }
  EXPECT_FALSE(found.empty());
  return found;
}

inline std::unique_ptr<runtime::LoadedModel> LoadGolden(
    const std::string& path,
    kernels::DType weights_dtype = kernels::DType::kF32,
    const std::string& backend = "cpu", int ranks = 1) {
  runtime::LoadOptions options;
  options.backend.name = backend;
  options.backend.ranks = ranks;
  options.backend.threads = 2;
  options.model.weights_dtype = weights_dtype;
  auto model = runtime::LoadedModel::Load(path, options);
  EXPECT_TRUE(model.ok()) << path << ": " << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_GOLDEN_MODELS_H_
