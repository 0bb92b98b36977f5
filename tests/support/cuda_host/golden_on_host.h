// Golden models in the CUDA backend on the host, with sizes that make small
// models go through everything that large ones do.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_GOLDEN_ON_HOST_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_GOLDEN_ON_HOST_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/cuda/cuda_backend.h"
#include "tests/support/golden_models.h"

namespace mla::testing {

inline std::unique_ptr<runtime::LoadedModel> LoadOnHost(
    const std::string& path, bool record = true, int step_tokens = 24,
    int ranks = 1, bool run_ahead = true,
    kernels::DType weights = kernels::DType::kBF16) {
  runtime::LoadOptions options;
  options.backend.name = runtime::kCudaBackendName;
  options.backend.ranks = ranks;
  options.backend.cuda.generated_rows = 4;
  options.backend.cuda.prompt_rows = 16;
  options.backend.cuda.built_rows = 32;
  options.backend.cuda.thread_blocks = 3;
  options.backend.cuda.record = record;
  options.backend.cuda.run_ahead = run_ahead;
  options.model.weights_dtype = weights;
  options.model.max_step_tokens = step_tokens;
  options.model.max_logit_rows = step_tokens;
  auto model = runtime::LoadedModel::Load(path, options);
  EXPECT_TRUE(model.ok()) << path << ": " << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_GOLDEN_ON_HOST_H_
