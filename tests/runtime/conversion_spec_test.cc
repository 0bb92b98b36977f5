#include "runtime/convert/conversion_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

using ::testing::HasSubstr;

TEST(ConversionSpec, ReadsWhatItPrints) {
  for (const char* text :
       {"sequential:kv_lora_rank=88,qk_rope_head_dim=32,freqfold=0,"
        "mixing=weighted,feedback=0.5",
        "transmla:kv_lora_rank=512,qk_rope_head_dim=64,freqfold=8,"
        "mixing=real,balance=2",
        "weighted:kv_lora_rank=88,qk_rope_head_dim=32,freqfold=4,"
        "mixing=complex",
        "weighted:kv_lora_rank=88,qk_rope_head_dim=32,q_lora_rank=64,"
        "freqfold=layer,mixing=weighted",
        "care:kv_lora_rank=88,qk_rope_head_dim=32,freqfold=auto,mixing=real",
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
      {"sequential", "needs kv_lora_rank"},
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

}  // namespace
}  // namespace mla::runtime
