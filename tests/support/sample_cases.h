// Draws of every kind over logits of every kind, for the kernels that draw, and
// the comparison with tests/support/sample_oracle.h.
#ifndef MLA_TESTS_SUPPORT_SAMPLE_CASES_H_
#define MLA_TESTS_SUPPORT_SAMPLE_CASES_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/support/sample_oracle.h"

namespace mla::testing {

struct SampleCase {
  std::string name;
  kernels::Draw draw;
  std::vector<kernels::LogitChange> changes;
  int32_t newest = -1;  // a token
  std::vector<float> logits;
};

inline std::vector<SampleCase> SampleCases(int vocab, bool with_newest) {
  std::vector<SampleCase> cases;
  std::mt19937_64 random(vocab);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  const auto token = [&] { return static_cast<int32_t>(random() % vocab); };
  const auto add = [&](const std::string& name) -> SampleCase& {
    SampleCase c;
    c.name = name + " of " + std::to_string(vocab);
    for (int i = 0; i < vocab; ++i) c.logits.push_back(normal(random));
    c.draw.random = random();
    cases.push_back(std::move(c));
    return cases.back();
  };
  // What many logits share, rounded to quarters: ties everywhere.
  const auto round = [](SampleCase& c) {
    for (float& x : c.logits) x = std::round(4 * x) / 4;
  };
  add("greedy").draw.temperature = 0;
  round(add("greedy, ties"));
  cases.back().draw.temperature = 0;
  for (const float t : {1e-30f, 0.01f, 0.7f, 1.0f, 2.0f, 100.0f, 1e30f}) {
    add("temperature " + std::to_string(t)).draw.temperature = t;
  }
  for (const uint64_t number :
       {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 11}) {
    add("number " + std::to_string(number)).draw.random = number;
  }
  for (const int k : {1, 2, 7, 20, vocab - 1, vocab, vocab + 5}) {
    if (k < 1) continue;
    add("top_k " + std::to_string(k)).draw.top_k = k;
    SampleCase& ties = add("ties, top_k " + std::to_string(k));
    round(ties);
    ties.draw.top_k = k;
  }
  for (const float top_p : {1e-6f, 0.3f, 0.9f, 0.999f, 0.99999994f}) {
    add("top_p " + std::to_string(top_p)).draw.top_p = top_p;
    SampleCase& ties = add("ties, top_p " + std::to_string(top_p));
    round(ties);
    ties.draw.top_p = top_p;
    SampleCase& both = add("top_k 9, top_p " + std::to_string(top_p));
    round(both);
    both.draw.top_k = 9;
    both.draw.top_p = top_p;
  }
  for (const float min_p : {1e-4f, 0.1f, 1.0f}) {
    add("min_p " + std::to_string(min_p)).draw.min_p = min_p;
    SampleCase& all = add("all, min_p " + std::to_string(min_p));
    all.draw.min_p = min_p;
    all.draw.top_k = 30;
    all.draw.top_p = 0.8f;
    all.draw.temperature = 1.5f;
  }
  // Changes: each id once.
  for (int i = 0; i < 8; ++i) {
    SampleCase& c = add("changes " + std::to_string(i));
    c.draw.temperature = i % 2 == 0 ? 0.0f : 1.0f;
    c.draw.repetition_penalty = i < 4 ? 1.5f : 1.0f;
    c.draw.presence_penalty = i % 4 < 2 ? 0.5f : -1.25f;
    c.draw.frequency_penalty = i == 5 ? 0.0f : 0.25f;
    c.draw.logprobs = i;
    for (int id = i % 3; id < vocab; id += 1 + i) {
      c.changes.push_back({id, id % 5 == 0 ? 1.5f : 0.0f,
                           static_cast<int32_t>(random() % 5) - 1});
      if (id % 7 == 0) {
        c.changes.back().bias = -std::numeric_limits<float>::infinity();
      }
    }
  }
  // The newest token was counted before, only seen, or neither, or is not among
  // the changes (-2); and another's logit is a little above what it comes to,
  // or below.
  for (int i = 0; i < 12 && with_newest && vocab > 1; ++i) {
    const int count = i / 2 - 2;
    SampleCase& c = add("newest " + std::to_string(i));
    c.newest = token();
    c.draw.temperature = i % 4 < 2 ? 0.0f : 0.01f;
    c.draw.repetition_penalty = 1.05f;
    c.draw.frequency_penalty = 0.5f;
    c.draw.logprobs = 2;
    c.logits[c.newest] = 20.0f;
    c.logits[(c.newest + 1) % vocab] = 20.0f / 1.05f -
                                       0.5f * (std::max(count, 0) + 1) +
                                       (i % 2 == 0 ? 0.3f : -0.3f);
    for (int other = 5; other < vocab && other < 40; ++other) {
      c.changes.push_back({(c.newest + other) % vocab, 0.5f, 1});
    }
    if (count > -2) c.changes.push_back({c.newest, 0.0f, count});
  }
  // What no model should give.
  SampleCase& nan = add("NaN");
  for (int i = 0; i < vocab; i += 2) nan.logits[i] = NAN;
  nan.draw.logprobs = 20;
  SampleCase& none = add("no number");
  none.logits.assign(vocab, NAN);
  none.draw.logprobs = 3;
  SampleCase& low = add("-inf");
  low.logits.assign(vocab, -std::numeric_limits<float>::infinity());
  SampleCase& one = add("one is finite");
  one.logits.assign(vocab, -std::numeric_limits<float>::infinity());
  one.logits[vocab / 2] = 4.0f;
  one.draw.logprobs = 5;
  add("inf").logits[vocab - 1] = std::numeric_limits<float>::infinity();
  SampleCase& masked = add("inf, masked");
  masked.logits[vocab - 1] = std::numeric_limits<float>::infinity();
  masked.changes = {{vocab - 1, -std::numeric_limits<float>::infinity(), -1}};
  SampleCase& same = add("all the same");
  same.logits.assign(vocab, -2.5f);
  same.draw.logprobs = 20;
  for (int k : {1, 3}) {
    SampleCase& few = add("all the same, top_k " + std::to_string(k));
    few.logits.assign(vocab, 1.0f);
    few.draw.top_k = k;
  }
  SampleCase& zeros = add("zeros of both signs");
  for (int i = 0; i < vocab; ++i) zeros.logits[i] = i % 2 == 0 ? -0.0f : 0.0f;
  zeros.draw.top_p = 0.5f;
  zeros.draw.logprobs = 4;
  for (const int n : {0, 1, 19, 20, 21}) {
    SampleCase& c = add(std::to_string(n) + " alternatives");
    round(c);
    c.draw.logprobs = n;
  }
  return cases;
}

// True if only one token was possible.
inline bool CheckDrawn(const SampleCase& c, const kernels::Drawn& drawn) {
  SCOPED_TRACE(c.name);
  const SampleOracle oracle = OracleOf(c.draw, c.changes, c.newest, c.logits);
  const auto vocab = static_cast<int>(c.logits.size());
  if (oracle.allowed.empty()) {
    EXPECT_EQ(drawn.id, -1);
    EXPECT_EQ(drawn.num_top, 0);
    return true;
  }
  EXPECT_TRUE(oracle.allowed.count(drawn.id)) << drawn.id;
  if (drawn.id < 0) return false;
  if (c.draw.logprobs < 0) {
    EXPECT_EQ(drawn.num_top, 0);
    return oracle.allowed.size() == 1;
  }
  EXPECT_EQ(drawn.num_top,
            std::min({c.draw.logprobs, vocab, kernels::kMaxTopLogprobs}));
  const auto expect_logprob = [&](int32_t id, float found) {
    const double exact = oracle.clean[id] - oracle.log_total;
    if (std::isinf(exact)) {
      EXPECT_EQ(found, exact);
    } else {
      EXPECT_NEAR(found, exact, 1e-5 + 0x1p-23 * std::fabs(exact));
    }
  };
  expect_logprob(drawn.id, drawn.logprob);
  for (int i = 0; i < drawn.num_top; ++i) {
    EXPECT_EQ(drawn.top_ids[i], oracle.top[i]) << i;
    expect_logprob(drawn.top_ids[i], drawn.top_logprobs[i]);
  }
  return oracle.allowed.size() == 1;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_SAMPLE_CASES_H_
