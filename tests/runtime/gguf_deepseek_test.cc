// The metadata of published DeepSeek models, in both of llama.cpp's forms, and
// what bad ones say. What the models compute: tests/e2e/gguf_deepseek_test.py.
#include "runtime/gguf_deepseek.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>

#include "runtime/checkpoint/byte_cursor.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/model_config.h"
#include "tests/support/bytes.h"

namespace mla::runtime {
namespace {

using mla::testing::Encode;
using mla::testing::ToBytes;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Metadata {
 public:
  Metadata& Text(const std::string& key, const std::string& value) {
    return Set(key, GgufType::kString, String(value));
  }
  // Below, keys are without "deepseek2.".
  Metadata& Int(const std::string& key, uint32_t value) {
    return Set("deepseek2." + key, GgufType::kU32, Encode(value));
  }
  Metadata& Float(const std::string& key, float value) {
    return Set("deepseek2." + key, GgufType::kF32, Encode(value));
  }
  Metadata& Bool(const std::string& key, bool value) {
    return Set("deepseek2." + key, GgufType::kBool, Encode(value));
  }
  Metadata& Erase(const std::string& key) {
    pairs_.erase("deepseek2." + key);
    return *this;
  }
  // `count` tokens without text.
  Metadata& Tokens(uint64_t count) {
    return Set("tokenizer.ggml.tokens", GgufType::kArray,
               Type(GgufType::kString) + Encode(count) +
                   std::string(count * sizeof(uint64_t), '\0'));
  }

  absl::StatusOr<ModelConfig> Read() const {
    std::string all;
    for (const auto& [key, value] : pairs_) all += String(key) + value;
    const std::vector<std::byte> bytes = ToBytes(all);
    ByteCursor cursor(bytes);
    const auto metadata = GgufMetadata::Parse(cursor, pairs_.size());
    EXPECT_TRUE(metadata.ok()) << metadata.status();
    return ModelConfigFromGguf(*metadata, {}, /*tied=*/false);
  }

 private:
  static std::string Type(GgufType type) {
    return Encode(static_cast<uint32_t>(type));
  }
  static std::string String(const std::string& text) {
    return Encode(uint64_t{text.size()}) + text;
  }
  Metadata& Set(const std::string& key, GgufType type,
                const std::string& value) {
    pairs_[key] = Type(type) + value;
    return *this;
  }

  std::map<std::string, std::string> pairs_;
};

Metadata Common() {
  return Metadata()
      .Text("general.architecture", "deepseek2")
      .Text("deepseek2.rope.scaling.type", "yarn")
      .Int("context_length", 163840)
      .Int("attention.kv_lora_rank", 512)
      .Int("attention.key_length", 128 + 64)
      .Int("attention.value_length", 128)
      .Int("rope.dimension_count", 64)
      .Int("rope.scaling.original_context_length", 4096)
      .Float("attention.layer_norm_rms_epsilon", 1e-6f)
      .Float("rope.freq_base", 10000)
      .Float("rope.scaling.factor", 40);
}

// huggingface.co/deepseek-ai/DeepSeek-V3's config.json under GGUF's keys, as
// the older of the forms has them.
Metadata V3() {
  return Common()
      .Tokens(129280)
      .Int("embedding_length", 7168)
      .Int("block_count", 61)
      .Int("feed_forward_length", 18432)
      .Int("attention.head_count", 128)
      .Int("attention.head_count_kv", 128)
      .Int("attention.q_lora_rank", 1536)
      .Float("rope.scaling.yarn_log_multiplier", 0.1f)
      .Int("leading_dense_block_count", 3)
      .Int("expert_count", 256)
      .Int("expert_used_count", 8)
      .Int("expert_shared_count", 1)
      .Int("expert_feed_forward_length", 2048)
      .Int("expert_group_count", 8)
      .Int("expert_group_used_count", 4)
      .Int("expert_gating_func", 2)
      .Float("expert_weights_scale", 2.5f)
      .Bool("expert_weights_norm", true);
}

Metadata V3AsMqa() {
  return V3()
      .Int("attention.head_count_kv", 1)
      .Int("attention.key_length", 512 + 64)
      .Int("attention.value_length", 512)
      .Int("attention.key_length_mla", 128 + 64)
      .Int("attention.value_length_mla", 128);
}

// The same of DeepSeek-V2-Lite, which is older than expert_gating_func.
Metadata V2Lite() {
  return Common()
      .Tokens(102400)
      .Int("embedding_length", 2048)
      .Int("block_count", 27)
      .Int("feed_forward_length", 10944)
      .Int("attention.head_count", 16)
      .Int("attention.head_count_kv", 16)
      .Float("rope.scaling.yarn_log_multiplier", 0.0707f)
      .Int("leading_dense_block_count", 1)
      .Int("expert_count", 64)
      .Int("expert_used_count", 6)
      .Int("expert_shared_count", 2)
      .Int("expert_feed_forward_length", 1408)
      .Float("expert_weights_scale", 1);
}

TEST(GgufDeepSeek, BothFormsOfV3AreTheSameModel) {
  for (const Metadata& metadata : {V3(), V3AsMqa()}) {
    const auto c = metadata.Read();
    ASSERT_TRUE(c.ok()) << c.status();
    // 2412.19437, abstract: 671B parameters; section 4.2: the other sizes.
    EXPECT_NEAR(static_cast<double>(c->Parameters()), 671e9, 0.5e9);
    EXPECT_EQ(c->KvBytesPerToken(kernels::DType::kBF16), 61 * (512 + 64) * 2);
    const AttentionConfig& a = c->attention[60];
    EXPECT_EQ(a.kind, AttentionKind::kMla);
    EXPECT_EQ(a.q_lora_rank, 1536);
    EXPECT_EQ(a.qk_nope_head_dim, 128);
    EXPECT_EQ(a.v_head_dim, 128);
    EXPECT_TRUE(a.rope_interleaved);
    // m = 0.1 ln 40 + 1, squared, over sqrt(128 + 64)
    EXPECT_NEAR(a.scale, 1.873854 / 13.856406, 1e-6);
    EXPECT_EQ(c->ropes[0].amplitude, 1);
    EXPECT_FALSE(c->IsMoe(2));
    EXPECT_TRUE(c->IsMoe(3));
    const kernels::RouterArgs& router = c->moe->router;
    EXPECT_EQ(router.scoring, kernels::RouterArgs::Scoring::kSigmoid);
    EXPECT_EQ(router.groups, 8);
    EXPECT_EQ(router.top_groups, 4);
    EXPECT_EQ(router.group_best, 2);
    EXPECT_TRUE(router.normalize);
    EXPECT_EQ(router.scale, 2.5f);
  }
}

TEST(GgufDeepSeek, LiteHasNoQueryLatentAndScoresBySoftmax) {
  const auto c = V2Lite().Read();
  ASSERT_TRUE(c.ok()) << c.status();
  // 2405.04434, appendix B: 15.7B parameters
  EXPECT_NEAR(static_cast<double>(c->Parameters()), 15.7e9, 0.05e9);
  EXPECT_EQ(c->attention[0].q_lora_rank, 0);
  EXPECT_EQ(V2Lite().Int("attention.q_lora_rank", 0).Read()->Parameters(),
            c->Parameters());
  // m = 0.0707 ln 40 + 1, squared, over sqrt(128 + 64)
  EXPECT_NEAR(c->attention[0].scale, 1.589626 / 13.856406, 1e-6);
  EXPECT_EQ(c->moe->shared_intermediate_size, 2 * 1408);
  const kernels::RouterArgs& router = c->moe->router;
  EXPECT_EQ(router.scoring, kernels::RouterArgs::Scoring::kSoftmax);
  EXPECT_EQ(router.groups, 1);
  EXPECT_EQ(router.top_groups, 1);
  EXPECT_EQ(router.group_best, 1);
  EXPECT_FALSE(router.normalize);
}

TEST(GgufDeepSeek, LayersThatPredictFurtherTokensAreLeftOut) {
  const auto c =
      V3().Int("block_count", 62).Int("nextn_predict_layers", 1).Read();
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->num_layers, 61);
  EXPECT_EQ(c->attention.size(), 61);
}

TEST(GgufDeepSeek, OneWithoutExpertsIsDense) {
  EXPECT_FALSE(V2Lite().Int("leading_dense_block_count", 27).Read()->moe);
  EXPECT_FALSE(V2Lite().Erase("expert_count").Read()->moe);
}

TEST(GgufDeepSeek, ErrorsNameTheKey) {
  const auto error = [](const Metadata& metadata, absl::StatusCode code) {
    const auto c = metadata.Read();
    EXPECT_EQ(c.status().code(), code) << c.status();
    return std::string(c.status().message());
  };
  using Code = absl::StatusCode;
  for (const char* key : {"attention.head_count", "attention.kv_lora_rank",
                          "attention.value_length_mla", "rope.dimension_count",
                          "expert_used_count", "expert_feed_forward_length"}) {
    EXPECT_THAT(error(V3AsMqa().Erase(key), Code::kNotFound),
                HasSubstr(std::string("'deepseek2.") + key + "' is missing"));
  }
  constexpr uint32_t kHuge = std::numeric_limits<uint32_t>::max();
  for (const char* key :
       {"block_count", "attention.head_count", "attention.q_lora_rank",
        "attention.kv_lora_rank", "attention.value_length_mla",
        "rope.dimension_count", "expert_count", "expert_used_count",
        "expert_shared_count", "expert_feed_forward_length",
        "expert_group_count", "expert_group_used_count", "expert_gating_func",
        "leading_dense_block_count", "nextn_predict_layers"}) {
    EXPECT_THAT(error(V3AsMqa().Int(key, kHuge), Code::kInvalidArgument),
                AllOf(HasSubstr(std::string("'deepseek2.") + key + "'"),
                      HasSubstr("4294967295")));
    // Within the range of an int, no size may be the product of two such.
    (void)V3AsMqa().Int(key, 1u << 30).Read();
  }
  EXPECT_THAT(error(V3AsMqa().Int("attention.key_length_mla", 64),
                    Code::kInvalidArgument),
              HasSubstr("'deepseek2.attention.key_length_mla': of 64"));
  EXPECT_THAT(
      error(V3().Int("expert_group_used_count", 9), Code::kInvalidArgument),
      HasSubstr("topk_group is 9"));
  EXPECT_THAT(error(V3().Int("expert_gating_func", 3), Code::kUnimplemented),
              HasSubstr("'deepseek2.expert_gating_func': 3"));
  EXPECT_THAT(
      error(V3().Int("nextn_predict_layers", 61), Code::kInvalidArgument),
      HasSubstr("'deepseek2.nextn_predict_layers': 61 of 61"));
  EXPECT_THAT(error(V3().Float("attention.temperature_scale", 0.1f),
                    Code::kUnimplemented),
              HasSubstr("'deepseek2.attention.temperature_scale'"));
  EXPECT_THAT(
      error(V3().Float("rope.scaling.attn_factor", 2), Code::kUnimplemented),
      HasSubstr("'deepseek2.rope.scaling.attn_factor'"));
  EXPECT_THAT(error(V3().Float("rope.scaling.yarn_log_multiplier",
                               std::numeric_limits<float>::quiet_NaN()),
                    Code::kInvalidArgument),
              HasSubstr("yarn_log_multiplier': nan is not finite"));
}

}  // namespace
}  // namespace mla::runtime
