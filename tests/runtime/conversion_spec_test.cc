#include "runtime/convert/conversion_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "runtime/convert/conversion_budget.h"

namespace mla::runtime {
namespace {

using ::testing::HasSubstr;

TEST(ConversionSpec, ReadsWhatItPrints) {
  for (const char* text :
       {"sequential:kv_lora_rank=88,qk_rope_head_dim=32,ranks=greedy,"
        "freqfold=0,mixing=weighted,feedback=0.5",
        "sequential:ratio=0.5,ranks=uniform,freqfold=0,mixing=weighted,"
        "feedback=0.5",
        "transmla:bytes-per-token=7200,ranks=uniform,freqfold=8,mixing=real,"
        "balance=2",
        "transmla:kv_lora_rank=512,qk_rope_head_dim=64,ranks=uniform,freqfold="
        "8,"
        "mixing=real,balance=2",
        "weighted:kv_lora_rank=88,qk_rope_head_dim=32,ranks=uniform,freqfold=4,"
        "mixing=complex",
        "weighted:kv_lora_rank=88,qk_rope_head_dim=32,ranks=uniform,"
        "q_lora_rank=64,freqfold=layer,mixing=weighted",
        "care:kv_lora_rank=88,qk_rope_head_dim=32,ranks=greedy,freqfold=auto,"
        "mixing=real",
        "mha2mla:kv_lora_rank=96,qk_rope_head_dim=24,select=2-norm,svd=joint,"
        "aware=weights",
        "mha2mla:kv_lora_rank=96,qk_rope_head_dim=24,select=uniform,svd=split,"
        "aware=activations",
        "x-ecomla:kv_lora_rank=16,qk_rope_head_dim=32,q_lora_rank=400",
        "exact:layout=heads", "exact:layout=single"}) {
    const auto spec = ParseConversionSpec(text);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->ToString(), text);
  }
}

TEST(ConversionSpec, TransMlaMixesAsPublished) {
  const auto spec = ParseConversionSpec(
      "transmla:kv_lora_rank=8,qk_rope_head_dim=4,freqfold=2");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->mixing, Mixing::kReal);
}

TEST(ConversionSpec, ErrorsNameTheField) {
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"svd:kv_lora_rank=8", "method 'svd'"},
      {"mha2mla", "needs kv_lora_rank"},
      {"sequential:ratio=0", "'ratio': '0'"},
      {"sequential:ratio=0.5,bytes-per-token=7200", "or ratio, or bytes"},
      {"sequential:ratio=0.5,kv_lora_rank=8,qk_rope_head_dim=4", "or ratio"},
      {"sequential:kv_lora_rank=8", "qk_rope_head_dim"},
      {"sequential:kv_lora_rank=x,qk_rope_head_dim=4", "'kv_lora_rank': 'x'"},
      {"sequential:kv_lora_rank=0,qk_rope_head_dim=4", "'kv_lora_rank': '0'"},
      {"sequential:rank=8", "'rank' is not known"},
      {"sequential:kv_lora_rank=8,qk_rope_head_dim=4,feedback=2",
       "'feedback': '2'"},
      {"transmla:kv_lora_rank=8,qk_rope_head_dim=4", "needs freqfold"},
      {"care:kv_lora_rank=8,qk_rope_head_dim=4,freqfold=best",
       "'freqfold': 'best'"},
      {"mha2mla:kv_lora_rank=8,qk_rope_head_dim=4,freqfold=4",
       "'freqfold' is not known to mha2mla"},
      {"mha2mla:kv_lora_rank=8,qk_rope_head_dim=4,select=best",
       "'best' is not 2-norm or high or low or uniform"},
      {"exact:kv_lora_rank=8", "'kv_lora_rank' is not known to exact"},
      {"exact:layout=e1", "'layout': 'e1'"},
      {"sequential:kv_lora_rank=8,qk_rope_head_dim=4,mixing=real",
       "mixing must be weighted"},
  };
  for (const auto& c : cases) {
    const auto spec = ParseConversionSpec(c.text);
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(spec.status().message(), HasSubstr(c.error)) << c.text;
  }
}

TEST(ConversionSpec, HalfTheCacheIfNothingIsSaid) {
  const auto spec = ParseConversionSpec("sequential");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->ratio, 0.5);
}

TEST(ConversionSpec, RanksFollowTheLayersUnderABudget) {
  const struct {
    const char* text;
    bool greedy;
  } cases[] = {
      {"sequential:ratio=0.5", true},
      {"sequential:ratio=0.5,ranks=uniform", false},
      {"sequential:ratio=0.5,freqfold=4", false},
      {"sequential:kv_lora_rank=88,qk_rope_head_dim=32", false},
      {"sequential:kv_lora_rank=88,qk_rope_head_dim=32,ranks=greedy", true},
      {"transmla:ratio=0.5,freqfold=4", false},
  };
  for (const auto& c : cases) {
    const auto spec = ParseConversionSpec(c.text);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(spec->greedy_ranks, c.greedy) << c.text;
  }
}

ModelConfig SmolLm2() {
  ModelConfig config;
  config.num_layers = 30;
  AttentionConfig attention;
  attention.kind = AttentionKind::kGqa;
  attention.heads = 9;
  attention.kv_heads = 3;
  attention.head_dim = 64;
  config.attention.assign(30, attention);
  return config;
}

TEST(WithinBudgetTest, RowsAreAsLargeAsTheBudget) {
  for (const double ratio : {0.05, 0.125, 0.3125, 0.5, 0.9}) {
    for (const char* method : {"sequential:", "weighted:freqfold=4,"}) {
      const auto spec =
          ParseConversionSpec(absl::StrCat(method, "ratio=", ratio));
      ASSERT_TRUE(spec.ok()) << spec.status();
      const auto within = WithinBudget(*spec, SmolLm2());
      ASSERT_TRUE(within.ok()) << within.status();
      const int elements = static_cast<int>(ratio * 384);
      EXPECT_EQ(within->kv_lora_rank + within->qk_rope_head_dim, elements);
      EXPECT_GE(within->kv_lora_rank, elements / 2);
      if (spec->freqfold > 0) {
        EXPECT_EQ(64 % within->qk_rope_head_dim, 0);
      }
    }
  }
}

TEST(WithinBudgetTest, BytesAreOfAllLayersInBf16) {
  const auto spec = ParseConversionSpec("sequential:bytes-per-token=7200");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto within = WithinBudget(*spec, SmolLm2());
  ASSERT_TRUE(within.ok()) << within.status();
  EXPECT_EQ(2 * 30 * (within->kv_lora_rank + within->qk_rope_head_dim), 7200);
}

TEST(WithinBudgetTest, RefusesWhatCannotBeKept) {
  for (const char* budget : {"bytes-per-token=60", "bytes-per-token=23100"}) {
    const auto spec = ParseConversionSpec(absl::StrCat("sequential:", budget));
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(WithinBudget(*spec, SmolLm2()).status().code(),
              absl::StatusCode::kInvalidArgument)
        << budget;
  }
}

}  // namespace
}  // namespace mla::runtime
