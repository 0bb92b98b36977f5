// The tiny golden checkpoints: complete models that load in milliseconds.
#ifndef MLA_TESTS_SUPPORT_GOLDEN_MODEL_H_
#define MLA_TESTS_SUPPORT_GOLDEN_MODEL_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/loaded_model.h"
#include "tests/support/test_files.h"

namespace mla::testing {

// From the full goldens if there are any, else the committed copy.
inline std::string GoldenModelPath(const std::string& name) {
  const std::string full = SharedGolden();
  return full.empty() ? TestData("models/" + name) : full + "/models/" + name;
}

inline std::unique_ptr<runtime::LoadedModel> LoadGoldenModel(
    const std::string& name) {
  runtime::LoadOptions options;
  options.model.weights_dtype = kernels::DType::kF32;
  options.threads = 2;
  auto model = runtime::LoadedModel::Load(GoldenModelPath(name), options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_GOLDEN_MODEL_H_
