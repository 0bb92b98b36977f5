#include "server/model_service.h"

#include <gtest/gtest.h>

#include "tests/support/golden_models.h"

namespace mla::server {
namespace {

using kernels::DType;

TEST(Describe, AnMlaModelCachesItsLatentAndRotaryKey) {
  const auto model =
      testing::LoadGolden(testing::GoldenModelsFolder() + "/deepseek_v2_lite");
  ASSERT_NE(model, nullptr);
  const auto card = Describe(*model, DType::kF32, DType::kBF16);
  EXPECT_EQ(card.name(), "deepseek_v2_lite");
  EXPECT_EQ(card.attention().kind(), "mla");
  EXPECT_EQ(card.attention().latent_groups(), 1u);
  EXPECT_EQ(
      card.attention().row_width(),
      card.attention().kv_lora_rank() + card.attention().qk_rope_head_dim());
  EXPECT_EQ(card.kv_bytes_per_token(),
            card.num_layers() * card.attention().row_width() * 2);
  EXPECT_EQ(card.kv_dtype(), "bf16");
  EXPECT_EQ(card.weights_dtype(), "f32");
}

TEST(Describe, AGqaModelHasALatentGroupForEachKeyHead) {
  const auto model =
      testing::LoadGolden(testing::GoldenModelsFolder() + "/qwen2");
  ASSERT_NE(model, nullptr);
  const auto card = Describe(*model, DType::kF32, DType::kF32);
  EXPECT_EQ(card.attention().kind(), "gqa");
  EXPECT_EQ(card.attention().latent_groups(), 2u);
  EXPECT_EQ(card.attention().row_width(), 2u * 2 * 32);
  EXPECT_EQ(card.max_context_tokens(), 512u);
  EXPECT_EQ(card.vocab_size(), 1200u);
  EXPECT_TRUE(card.has_tokenizer());
  EXPECT_TRUE(card.has_chat_template());
}

}  // namespace
}  // namespace mla::server
