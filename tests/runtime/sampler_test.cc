// Draws against the distribution that the parameters define.
#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "kernels/cpu/sample.h"

namespace mla::runtime {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> Logits() {
  return {1.0f, 3.0f, 2.0f, -1.0f, 2.5f, 0.0f, -4.0f, 1.5f};
}

Sampler MakeSampler(const SamplingParams& params, uint64_t seed = 1,
                    std::vector<int32_t> prompt = {}, int min_tokens = 0,
                    std::vector<int32_t> masked = {}) {
  return Sampler(params, seed, 0, prompt, min_tokens, std::move(masked));
}

kernels::Drawn DrawFrom(Sampler& sampler, std::vector<float> logits) {
  std::vector<kernels::LogitChange> changes(3);  // others' come first
  const kernels::Draw draw = sampler.Next(changes);
  EXPECT_EQ(draw.first_change, 3);
  EXPECT_EQ(draw.first_change + draw.num_changes,
            static_cast<int>(changes.size()));
  const kernels::Drawn drawn =
      kernels::Sample(draw, &changes[draw.first_change], logits.data(),
                      static_cast<int>(logits.size()));
  if (drawn.id >= 0) sampler.Note(drawn.id);
  return drawn;
}

int32_t DrawOne(Sampler& sampler, std::vector<float> logits = Logits()) {
  const int32_t id = DrawFrom(sampler, std::move(logits)).id;
  EXPECT_GE(id, 0);
  return id;
}

// The distribution by definition, in double.
std::vector<double> Softmax(const std::vector<float>& logits,
                            double temperature) {
  std::vector<double> p;
  for (float x : logits) p.push_back(std::exp(x / temperature));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= total;
  return p;
}

// Draws many first tokens and compares their counts with `p`: a binomial
// count strays from its mean by 5 standard deviations once in 2 million.
void ExpectDistribution(const SamplingParams& params,
                        const std::vector<double>& p) {
  constexpr int kDraws = 20000;
  std::vector<int> counts(p.size());
  for (int i = 0; i < kDraws; ++i) {
    Sampler sampler = MakeSampler(params, i);
    ++counts[DrawOne(sampler)];
  }
  for (size_t id = 0; id < p.size(); ++id) {
    const double sigma = std::sqrt(kDraws * p[id] * (1 - p[id]));
    EXPECT_NEAR(counts[id], kDraws * p[id], 5 * sigma) << "token " << id;
  }
}

TEST(Sampler, TemperatureZeroTakesTheBest) {
  SamplingParams params;
  params.temperature = 0;
  Sampler sampler = MakeSampler(params);
  EXPECT_EQ(DrawOne(sampler), 1);
  EXPECT_EQ(DrawOne(sampler, {5, 5, 1}), 0) << "ties go to the lower id";
}

TEST(Sampler, DrawsFromTheSoftmaxAtAnyTemperature) {
  for (float temperature : {0.5f, 1.0f, 2.0f}) {
    SamplingParams params;
    params.temperature = temperature;
    ExpectDistribution(params, Softmax(Logits(), temperature));
  }
}

TEST(Sampler, TopKKeepsTheLikeliestAndRenormalises) {
  SamplingParams params;
  params.top_k = 3;  // tokens 1, 4, 2
  std::vector<float> kept(8, -kInf);
  for (int id : {1, 4, 2}) kept[id] = Logits()[id];
  ExpectDistribution(params, Softmax(kept, 1));
}

TEST(Sampler, TopPKeepsTheFewestThatHoldTheMass) {
  const std::vector<double> p = Softmax(Logits(), 1);
  SamplingParams params;
  // More than tokens 1 and 4 hold, less than 1, 4 and 2 do.
  params.top_p = static_cast<float>(p[1] + p[4] + p[2] / 2);
  std::vector<float> kept(8, -kInf);
  for (int id : {1, 4, 2}) kept[id] = Logits()[id];
  ExpectDistribution(params, Softmax(kept, 1));
  params.top_p = 1e-6f;
  Sampler sampler = MakeSampler(params);
  EXPECT_EQ(DrawOne(sampler), 1) << "one token is always kept";
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  SamplingParams params;
  params.min_p = 0.2f;  // e^-1.6: tokens within 1.6 of the best
  std::vector<float> kept(8, -kInf);
  for (int id : {1, 4, 2, 7}) kept[id] = Logits()[id];
  ExpectDistribution(params, Softmax(kept, 1));
}

TEST(Sampler, PenaltiesAndBiasChangeLogitsAsDefined) {
  SamplingParams params;
  params.temperature = 0;
  params.logit_bias = {{6, 10.0f}};
  Sampler biased = MakeSampler(params);
  EXPECT_EQ(DrawOne(biased), 6);

  params.logit_bias.clear();
  params.repetition_penalty = 2.0f;  // 3 -> 1.5 for token 1, in the prompt
  Sampler repeated = MakeSampler(params, 1, {1});
  EXPECT_EQ(DrawOne(repeated), 4);
  EXPECT_EQ(DrawOne(repeated), 2) << "token 4 was drawn: 2.5 -> 1.25";

  params.repetition_penalty = 1.0f;
  params.presence_penalty = 0.4f;  // the prompt does not count
  Sampler present = MakeSampler(params, 1, {1});
  EXPECT_EQ(DrawOne(present), 1);
  EXPECT_EQ(DrawOne(present), 1) << "2.6 still beats 2.5";
  params.presence_penalty = 0;
  params.frequency_penalty = 0.4f;
  Sampler frequent = MakeSampler(params);
  EXPECT_EQ(DrawOne(frequent), 1);
  EXPECT_EQ(DrawOne(frequent), 1) << "2.6";
  EXPECT_EQ(DrawOne(frequent), 4) << "2.2 loses to 2.5";
}

TEST(Sampler, MaskedIdsAreNotDrawnBeforeMinTokens) {
  SamplingParams params;
  params.temperature = 0;
  Sampler sampler = MakeSampler(params, 1, {}, 2, {1});
  EXPECT_EQ(DrawOne(sampler), 4);
  EXPECT_EQ(DrawOne(sampler), 4);
  EXPECT_EQ(DrawOne(sampler), 1);
}

TEST(Sampler, AnIdHasOneChangeHoweverManyReasons) {
  SamplingParams params;
  params.logit_bias = {{3, 1.0f}, {5, 2.0f}, {3, 0.5f}};
  params.repetition_penalty = 1.5f;
  Sampler sampler = MakeSampler(params, 1, {3, 4, 4}, 1, {5, 6, 6});
  sampler.Note(4);
  for (const bool masks : {true, false}) {
    std::vector<kernels::LogitChange> changes;
    sampler.Next(changes);
    std::map<int32_t, kernels::LogitChange> by_id;
    for (const auto& change : changes) by_id[change.id] = change;
    EXPECT_EQ(by_id.size(), changes.size());
    EXPECT_EQ(by_id.size(), masks ? 4u : 3u);
    EXPECT_EQ(by_id[3].bias, 1.5f);
    EXPECT_EQ(by_id[3].count, 0);
    EXPECT_EQ(by_id[4].count, 1);
    EXPECT_EQ(by_id[5].bias, masks ? -kInf : 2.0f);
    EXPECT_EQ(by_id[5].count, kernels::LogitChange::kUnseen);
    EXPECT_EQ(by_id.contains(6) && by_id[6].bias == -kInf, masks);
  }
}

TEST(Sampler, TheSameSeedGivesTheSameTokens) {
  SamplingParams params;
  std::vector<int32_t> a, b, c;
  Sampler first = MakeSampler(params, 7), again = MakeSampler(params, 7);
  Sampler other(params, 7, /*index=*/1, {}, 0, {});
  for (int i = 0; i < 50; ++i) {
    a.push_back(DrawOne(first));
    b.push_back(DrawOne(again));
    c.push_back(DrawOne(other));
  }
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c) << "choices of one request differ";
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  SamplingParams params;
  params.temperature = 0;
  params.logprobs = 3;
  params.logit_bias = {{6, 100.0f}};
  Sampler sampler = MakeSampler(params);
  const kernels::Drawn drawn = DrawFrom(sampler, Logits());
  EXPECT_EQ(drawn.id, 6);
  const std::vector<double> p = Softmax(Logits(), 1);
  EXPECT_NEAR(drawn.logprob, std::log(p[6]), 1e-5);
  ASSERT_EQ(drawn.num_top, 3);
  EXPECT_EQ(drawn.top_ids[0], 1);
  EXPECT_NEAR(drawn.top_logprobs[0], std::log(p[1]), 1e-5);
  EXPECT_EQ(drawn.top_ids[1], 4);
  EXPECT_EQ(drawn.top_ids[2], 2);
}

TEST(Sampler, NaNIsNeverDrawnNorAnythingWhereNothingIsFinite) {
  SamplingParams params;
  Sampler sampler = MakeSampler(params);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(DrawOne(sampler, {NAN, 1.0f, NAN, -kInf}), 1);
  }
  EXPECT_EQ(DrawFrom(sampler, {NAN, NAN, -kInf}).id, -1);
  EXPECT_EQ(DrawFrom(sampler, {1.0f, kInf}).id, -1);
}

TEST(Sampler, ExtremeTemperaturesAreSafe) {
  for (float temperature : {1e-30f, 1e30f}) {
    SamplingParams params;
    params.temperature = temperature;
    params.min_p = 0.01f;
    params.top_p = 0.99f;
    Sampler sampler = MakeSampler(params);
    for (int i = 0; i < 100; ++i) {
      const int32_t id = DrawOne(sampler, {-1e30f, 1e30f, 3.0f});
      EXPECT_GE(id, 0);
      EXPECT_LT(id, 3);
    }
  }
}

}  // namespace
}  // namespace mla::runtime
