// Tokens that are drawn on the device, executed on the host: the ones that the
// CPU draws from the same logits, and taken by the next step before anyone has
// heard of them.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cuda_host/control.h"
#include "kernels/cpu/sample.h"
#include "runtime/sampler.h"
#include "tests/support/cuda_host/golden_on_host.h"

namespace mla::runtime {
namespace {

using cuda_host::GetCounters;
using kernels::Drawn;

constexpr int kSequences = 3;
constexpr int kPrompt = 7;

struct Sequence {
  std::vector<int32_t> tokens, blocks;
  std::unique_ptr<Sampler> sampler;
};

// A model with sequences in its cache, but for their prompts' last tokens.
class Steps {
 public:
  explicit Steps(bool record) {
    cuda_host::ResetDevice();
    const auto paths = mla::testing::GoldenModels({"minicpm3"});
    if (paths.empty()) return;
    loaded_ = mla::testing::LoadOnHost(paths[0], record);
    if (loaded_ == nullptr) return;
    EXPECT_TRUE(
        loaded_->model->AllocateCache(kernels::DType::kBF16, 32, 8).ok());
    StepBatch batch;
    for (int i = 0; i < kSequences; ++i) {
      Sequence& s = sequences[i];
      s.blocks = {2 * i + 1};
      for (int t = 0; t < kPrompt; ++t) {
        s.tokens.push_back((i * 101 + t * 37) % loaded_->config.vocab_size);
      }
      s.sampler = std::make_unique<Sampler>(Params(i), /*seed=*/11, i, s.tokens,
                                            /*min_tokens=*/2,
                                            std::vector<int32_t>{4, 5, 6});
      s.tokens.resize(32);
      Add(s, 0, kPrompt - 1, batch, batch.prompt);
    }
    model().Forward(batch);
  }

  ParallelModel& model() { return *loaded_->model; }
  bool ok() const { return loaded_ != nullptr; }

  // The step that follows `step` drawn tokens of each sequence; every other
  // one has them in reverse. `ahead`: those drawn last are not known.
  StepBatch Batch(int step, bool ahead) {
    StepBatch batch;
    for (int at = 0; at < kSequences; ++at) {
      Sequence& s = sequences[IndexAt(step, at)];
      Add(s, kPrompt - 1 + step, 1, batch, batch.generated);
      batch.logit_rows.push_back(at);
      batch.draws.push_back(s.sampler->Next(batch.changes));
      if (!ahead || step == 0) continue;
      batch.awaited.push_back(kSequences - 1 - at);
      batch.draws.back().newest = batch.awaited.back();
      batch.tokens.back() = 0;
    }
    return batch;
  }
  static int IndexAt(int step, int at) {
    return step % 2 == 0 ? at : kSequences - 1 - at;
  }
  void Note(int step, absl::Span<const Drawn> drawn) {
    ASSERT_EQ(drawn.size(), size_t{kSequences});
    for (int at = 0; at < kSequences; ++at) {
      Sequence& s = sequences[IndexAt(step, at)];
      ASSERT_GE(drawn[at].id, 0);
      s.tokens[kPrompt + step] = drawn[at].id;
      s.sampler->Note(drawn[at].id);
    }
  }

  Sequence sequences[kSequences];

 private:
  static SamplingParams Params(int i) {
    SamplingParams p;
    p.temperature = i == 0 ? 0.0f : 0.9f;
    p.top_k = i == 1 ? 12 : 0;
    p.top_p = i == 2 ? 0.8f : 1.0f;
    p.repetition_penalty = i == 0 ? 1.0f : 1.3f;
    p.frequency_penalty = 0.4f;
    p.logit_bias = {{5 + i, 2.5f}, {40, 1.0f}};
    p.logprobs = i;
    return p;
  }
  static void Add(Sequence& s, int first, int count, StepBatch& batch,
                  std::vector<StepSpan>& spans) {
    spans.push_back(
        {{batch.num_tokens(), count, first, s.blocks.data(), s.tokens.data()},
         false});
    batch.tokens.insert(batch.tokens.end(), s.tokens.begin() + first,
                        s.tokens.begin() + first + count);
  }

  std::unique_ptr<LoadedModel> loaded_;
};

TEST(SamplingCuda, TheDeviceDrawsWhatTheCpuWould) {
  Steps steps(false);
  ASSERT_TRUE(steps.ok());
  for (int step = 0; step < 12; ++step) {
    const StepBatch batch = steps.Batch(step, false);
    // Rows are written twice, the same both times.
    const Rows logits = steps.model().Forward(batch);
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < kSequences; ++i) {
      rows.emplace_back(logits[i], logits[i] + logits.cols);
    }
    const auto drawn = steps.model().Drawn(steps.model().Start(batch));
    ASSERT_TRUE(steps.model().status().ok()) << steps.model().status();
    for (int i = 0; i < kSequences; ++i) {
      SCOPED_TRACE(absl::StrCat("step ", step, ", row ", i));
      const kernels::Draw& draw = batch.draws[i];
      const Drawn expected =
          kernels::Sample(draw, batch.changes.data() + draw.first_change,
                          rows[i].data(), logits.cols);
      ASSERT_EQ(drawn[i].id, expected.id);
      ASSERT_EQ(drawn[i].num_top, expected.num_top);
      for (int a = 0; a < expected.num_top; ++a) {
        EXPECT_EQ(drawn[i].top_ids[a], expected.top_ids[a]);
        EXPECT_NEAR(drawn[i].top_logprobs[a], expected.top_logprobs[a], 1e-4);
      }
      EXPECT_NEAR(drawn[i].logprob, expected.logprob, 1e-4);
    }
    steps.Note(step, drawn);
  }
}

// One step ahead all the time, or none; recorded or called: the same draws.
TEST(SamplingCuda, StepsTakeTokensThatNobodyHasHeardOf) {
  constexpr int kSteps = 10;
  std::vector<std::vector<int32_t>> expected;
  for (const bool record : {false, true}) {
    for (const bool ahead : {false, true}) {
      SCOPED_TRACE(absl::StrCat("record ", record, ", ahead ", ahead));
      Steps steps(record);
      ASSERT_TRUE(steps.ok());
      int64_t before = -1;
      for (int step = 0; step < kSteps; ++step) {
        const int64_t number = steps.model().Start(steps.Batch(step, ahead));
        const int64_t heard = ahead ? std::exchange(before, number) : number;
        if (heard >= 0) steps.Note(step - ahead, steps.model().Drawn(heard));
      }
      if (ahead) steps.Note(kSteps - 1, steps.model().Drawn(before));
      ASSERT_TRUE(steps.model().status().ok()) << steps.model().status();
      std::vector<std::vector<int32_t>> found;
      for (const Sequence& s : steps.sequences) found.push_back(s.tokens);
      if (expected.empty()) expected = found;
      EXPECT_EQ(found, expected);
      if (cuda_host::kCounts) {
        EXPECT_EQ(GetCounters().graph_launches > 0, record);
      }
    }
  }
}

// To hear of a step's tokens is not to wait for the one behind it.
TEST(SamplingCuda, AStepIsUnderWayWhileTheTokensBeforeItAreRead) {
  if (!cuda_host::kCounts) GTEST_SKIP() << "a GPU's own affair";
  Steps steps(false);
  ASSERT_TRUE(steps.ok());
  int64_t number = steps.model().Start(steps.Batch(0, true));
  for (int step = 1; step < 8; ++step) {
    const int64_t next = steps.model().Start(steps.Batch(step, true));
    const auto enqueued = GetCounters().launches_enqueued;
    steps.Note(step - 1, steps.model().Drawn(number));
    if (step > 3) {  // memory has its size, so nothing waits for that
      EXPECT_LT(GetCounters().launches_executed, enqueued) << step;
    }
    number = next;
  }
  steps.Note(7, steps.model().Drawn(number));
  EXPECT_EQ(GetCounters().launches_executed, GetCounters().launches_enqueued);
  EXPECT_TRUE(steps.model().status().ok()) << steps.model().status();
}

}  // namespace
}  // namespace mla::runtime
