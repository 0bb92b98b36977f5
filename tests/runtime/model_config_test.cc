// Configs of every family, read from both formats, and what bad ones say.
#include "runtime/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "runtime/loaded_model.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

json ReadConfig(const std::string& model) {
  return json::parse(mla::testing::ReadFile(
      mla::testing::TestData("models/" + model + "/config.json")));
}

std::string ErrorOf(const json& config) {
  const auto parsed = ModelConfigFromHuggingFace(config);
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

TEST(ModelConfig, AnMlaRowIsLatentPlusRope) {
  const auto c = ModelConfigFromHuggingFace(ReadConfig("deepseek_v2_lite"));
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->attention[0].kind, AttentionKind::kMla);
  // layers x (kv_lora_rank + qk_rope_head_dim) x sizeof
  EXPECT_EQ(c->KvBytesPerToken(kernels::DType::kBF16), 3 * (64 + 16) * 2);
  EXPECT_EQ(c->KvBytesPerToken(kernels::DType::kF32), 3 * (64 + 16) * 4);
  EXPECT_FALSE(c->IsMoe(0));
  EXPECT_TRUE(c->IsMoe(1));
  EXPECT_EQ(c->moe->shared_intermediate_size, 2 * 64);
  // m = 0.1 * 0.707 * ln 8 + 1, squared, over sqrt(32 + 16)
  EXPECT_NEAR(c->attention[0].scale, 1.315647 / 6.928203, 1e-5);
  EXPECT_EQ(c->Parameters(), 1115200 - 1088)  // without the norms' vectors
      << "golden.json counts them all";
}

TEST(ModelConfig, AGqaRowHoldsAllGroupsExactly) {
  const auto c = ModelConfigFromHuggingFace(ReadConfig("qwen2"));
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->attention[0].Layout().groups, 2);
  EXPECT_EQ(c->attention[0].Layout().row_width, 2 * 2 * 32);
  EXPECT_EQ(c->eos_token_ids, std::vector<int32_t>{1195});
}

TEST(ModelConfig, GgufSaysTheSameAsItsSource) {
  const auto gguf =
      Checkpoint::Open(mla::testing::TestData("gguf/llama_f16.gguf"));
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  const auto a = ReadModelConfig(**gguf);
  const auto b = ModelConfigFromHuggingFace(ReadConfig("llama_f16_sharded"));
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  EXPECT_EQ(a->vocab_size, b->vocab_size);
  EXPECT_EQ(a->hidden_size, b->hidden_size);
  EXPECT_EQ(a->num_layers, b->num_layers);
  EXPECT_EQ(a->intermediate_size, b->intermediate_size);
  EXPECT_EQ(a->max_position, b->max_position);
  EXPECT_EQ(a->norm_eps, b->norm_eps);
  EXPECT_EQ(a->tied_embeddings, b->tied_embeddings);
  EXPECT_EQ(a->attention[0].head_dim, b->attention[0].head_dim);
  EXPECT_EQ(a->ropes[0].inv_freq, b->ropes[0].inv_freq);
  EXPECT_EQ(a->eos_token_ids, b->eos_token_ids);
  EXPECT_TRUE(a->attention[0].rope_interleaved);
  EXPECT_FALSE(b->attention[0].rope_interleaved);
}

TEST(ModelConfig, ErrorsNameTheField) {
  const json good = ReadConfig("qwen2");
  const auto with = [&](const char* field, json value) {
    json changed = good;
    changed[field] = std::move(value);
    return ErrorOf(changed);
  };
  const auto expect = [](const std::string& error, const std::string& part) {
    EXPECT_NE(error.find(part), std::string::npos) << "'" << error << "'";
  };
  expect(with("model_type", "mamba"), "'mamba' is not supported");
  expect(with("hidden_size", 0), "'hidden_size'");
  expect(with("hidden_size", "128"), "'hidden_size': expected an integer");
  expect(with("hidden_size", 1.5), "'hidden_size': expected an integer");
  expect(with("hidden_size", 1e300), "'hidden_size': expected an integer");
  expect(with("hidden_size", 1 << 30), "'hidden_size'");
  expect(with("num_hidden_layers", -3), "'num_hidden_layers'");
  expect(with("num_hidden_layers", 100000), "num_hidden_layers is 100000");
  expect(with("vocab_size", nullptr), "'vocab_size'");
  expect(with("num_key_value_heads", 3), "not a multiple");
  expect(with("num_key_value_heads", 0), "num_key_value_heads is 0");
  expect(with("head_dim", 31), "rotary dimension 31");
  expect(with("rms_norm_eps", -1.0), "rms_norm_eps");
  expect(with("rope_theta", 0.5), "rope_theta");
  expect(with("hidden_act", "gelu"), "'gelu' is not supported");
  expect(with("eos_token_id", 99999), "eos_token_id is 99999");
  expect(with("tie_word_embeddings", "yes"), "true or false");
  expect(with("quantization_config", {{"quant_method", "gptq"}}),
         "method 'gptq'");
  expect(with("quantization_config",
              {{"quant_method", "fp8"}, {"weight_block_size", {64, 64}}}),
         "in blocks of 64 x 64");
  expect(ErrorOf(json::array()), "is not supported");

  json windowed = good;
  windowed["use_sliding_window"] = true;
  windowed["sliding_window"] = 128;
  expect(ErrorOf(windowed), "'sliding_window'");
}

TEST(ModelConfig, RoutersAreReadPerFamily) {
  json v3 = ReadConfig("deepseek_v3_fp8");
  const auto config = ModelConfigFromHuggingFace(v3);
  ASSERT_TRUE(config.ok()) << config.status();
  const kernels::RouterArgs& router = config->moe->router;
  EXPECT_EQ(router.scoring, kernels::RouterArgs::Scoring::kSigmoid);
  EXPECT_EQ(router.groups, 2);
  EXPECT_EQ(router.top_groups, 1);
  EXPECT_EQ(router.group_best, 2);
  EXPECT_EQ(router.top_k, 2);
  EXPECT_TRUE(router.normalize);
  EXPECT_EQ(router.scale, 2.5f);
  EXPECT_EQ(config->moe->first_layer, 1);
  EXPECT_FALSE(config->IsMoe(0));

  // The same layers, as transformers 5 writes them.
  v3["mlp_layer_types"] = {"dense", "sparse"};
  v3.erase("first_k_dense_replace");
  EXPECT_EQ(ModelConfigFromHuggingFace(v3)->moe->first_layer, 1);

  const auto error = [&](const char* field, json value) {
    json changed = v3;
    changed[field] = std::move(value);
    return ErrorOf(changed);
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error("mlp_layer_types", {"sparse", "dense"}),
              HasSubstr("'mlp_layer_types'"));
  EXPECT_THAT(error("topk_method", "random"), HasSubstr("'random'"));
  EXPECT_THAT(error("topk_method", "greedy"), HasSubstr("'greedy'"));
  EXPECT_THAT(error("n_group", 3), HasSubstr("not a multiple of n_group"));
  EXPECT_THAT(error("topk_group", 3), HasSubstr("topk_group is 3"));
  EXPECT_THAT(error("num_experts_per_tok", 5),
              HasSubstr("num_experts_per_tok is 5, must be in [1, 4]"));
}

TEST(ModelConfig, AnIndexersKeyIsPartOfTheRow) {
  json v32 = ReadConfig("deepseek_v3_fp8");
  v32["model_type"] = "deepseek_v32";
  v32["index_topk"] = 48;
  v32["index_n_heads"] = 24;
  v32["index_head_dim"] = 32;
  const auto config = ModelConfigFromHuggingFace(v32);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->KvBytesPerToken(kernels::DType::kBF16),
            2 * (64 + 16 + 32) * 2);
  v32["index_head_dim"] = 8;  // of which 16 are to be rotated
  EXPECT_THAT(ErrorOf(v32), ::testing::HasSubstr("index_head_dim is 8"));
}

TEST(ModelConfig, AttentionTypesAreReadAndRefused) {
  using ::testing::HasSubstr;
  const json base = ReadConfig("qwen2");
  const auto error = [&](json changes) {
    json config = base;
    config.update(changes);
    return ErrorOf(config);
  };
  EXPECT_THAT(error({{"attention_type", "tpa"}}),
              HasSubstr("'tpa' is not supported; these are: gqa, mla, gla_2"));
  EXPECT_THAT(error({{"attention_type", "lorc"}}), HasSubstr("'k_rank'"));
  EXPECT_THAT(
      error({{"attention_type", "lorc"}, {"k_rank", {8, 9}}, {"v_rank", 8}}),
      HasSubstr("has 2 values for 3 layers"));
  EXPECT_THAT(error({{"kv_head_of_query_head", {0, 0, 0, 0}}}),
              HasSubstr("times that kv_head_of_query_head has 1 is 0"));
  EXPECT_THAT(error({{"kv_head_of_query_head", {0, 1, 2, 0}}}),
              HasSubstr("kv_head_of_query_head is 2, must be in [0, 1]"));
  EXPECT_THAT(error({{"kv_head_of_query_head", {{0, 1}, {0, 1}}}}),
              HasSubstr("has 2 lists for 3 layers"));
  EXPECT_THAT(
      error({{"kv_head_of_query_head", {{0, 0, 1, 1}, {}, {0, 0, 0, 2}}}}),
      HasSubstr("kv_head_of_query_head"));
  EXPECT_THAT(error({{"kv_sharing_factor", 0}}),
              HasSubstr("kv_sharing_factor is 0"));
  EXPECT_THAT(error({{"mha2mla",
                      {{"rope_dim_for_mla", 8},
                       {"low_rank", 4},
                       {"svd_init_method", "none"}}}}),
              HasSubstr("svd_init_method 'none'"));
  EXPECT_THAT(error({{"mha2mla",
                      {{"rope_dim_for_mla", 8},
                       {"low_rank", 4},
                       {"svd_init_method", "joint"},
                       {"partial_rope_version", "2-norm"}}}}),
              HasSubstr("mha2mla.rope_frequencies"));
  EXPECT_EQ(error({{"kv_sharing_factor", 2}}), "");
}

TEST(ModelConfig, SizesWhoseProductsOverflowAreRefused) {
  using ::testing::HasSubstr;
  json mla = ReadConfig("deepseek_v2_lite");
  mla["num_attention_heads"] = 65536;
  mla["qk_nope_head_dim"] = 65536;
  EXPECT_THAT(ErrorOf(mla), HasSubstr("heads * elements of a head is 4"));
  json base = ReadConfig("qwen2");
  base["num_attention_heads"] = base["num_key_value_heads"] = 65536;
  base["head_dim"] = 32;
  json lrkv = base;
  lrkv["attention_type"] = "lrkv";
  lrkv["kv_residual_rank"] = 65536;
  EXPECT_THAT(ErrorOf(lrkv), HasSubstr("heads * ranks is 8589934592"));
  json mha2mla = base;
  mha2mla["mha2mla"] = {{"rope_dim_for_mla", 8},
                        {"low_rank", 65536},
                        {"svd_init_method", "joint"}};
  EXPECT_THAT(ErrorOf(mha2mla),
              HasSubstr("low_rank * num_key_value_heads is 4294967296"));
}

TEST(ModelConfig, ALatentThatDoesNotSliceIsRefused) {
  json config = ReadConfig("deepseek_v2_lite");
  config["attention_type"] = "mlra_4";
  config["kv_lora_rank"] = 62;
  EXPECT_THAT(ErrorOf(config), ::testing::HasSubstr("4 equal slices"));
}

TEST(ModelConfig, RowsOfSeveralTokensCostAShareAndEndBlocks) {
  json json_config = ReadConfig("deepseek_v2_lite");
  json_config["attention_type"] = "mtla";
  json_config["down_rate"] = 3;
  const auto config = ModelConfigFromHuggingFace(json_config);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->RoundBlockTokens(64), 63);
  EXPECT_EQ(config->RoundBlockTokens(1), 3);
  EXPECT_EQ(config->BlockBytes(kernels::DType::kF32, 63),
            3 * 21 * (64 + 16) * 4);
  EXPECT_DOUBLE_EQ(config->KvBytesPerToken(kernels::DType::kF32),
                   3 * (64 + 16) * 4 / 3.0);
}

}  // namespace
}  // namespace mla::runtime
