// The CPU's draws against the oracle's; what a distribution comes to is
// tests/runtime/sampler_test.cc's.
#include "kernels/cpu/sample.h"

#include <gtest/gtest.h>

#include "tests/support/sample_cases.h"

namespace mla::kernels {
namespace {

TEST(Sample, DrawsByDefinition) {
  int draws = 0, certain = 0;
  for (const int vocab : {1, 2, 31, 1000, 5000}) {
    for (const auto& c : mla::testing::SampleCases(vocab, false)) {
      std::vector<float> logits = c.logits;
      Draw draw = c.draw;
      draw.num_changes = static_cast<int32_t>(c.changes.size());
      certain += mla::testing::CheckDrawn(
          c, Sample(draw, c.changes.data(), logits.data(), vocab));
      ++draws;
    }
  }
  EXPECT_GT(certain, draws * 95 / 100) << "the oracle is to decide";
}

}  // namespace
}  // namespace mla::kernels
