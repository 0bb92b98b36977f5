// Configs of converted models: what is written is read back as meant.
#include "runtime/convert/folder_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/loaded_model.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using ::testing::HasSubstr;

std::unique_ptr<Checkpoint> Open(const std::string& name) {
  auto checkpoint = Checkpoint::Open(testing::TestData(name));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return *std::move(checkpoint);
}

ordered_json Source(const std::string& name) {
  const auto checkpoint = Open(name);
  const auto config = ReadModelConfig(*checkpoint);
  EXPECT_TRUE(config.ok()) << config.status();
  const auto source = SourceConfig(*checkpoint, *config);
  EXPECT_TRUE(source.ok()) << source.status();
  return *source;
}

// Shapes that differ in all that may differ.
std::vector<MlaShape> Shapes(int heads, int layers) {
  std::vector<MlaShape> shapes;
  for (int i = 0; i < layers; ++i) {
    MlaShape& s = shapes.emplace_back();
    s.heads = heads;
    s.kv_lora_rank = 20 + 3 * i;
    s.qk_nope_head_dim = 24;
    s.qk_rope_head_dim = 8 + 4 * i;
    s.v_head_dim = 16;
    for (int f = 0; f < s.qk_rope_head_dim / 2; ++f) {
      s.inv_freq.push_back(1.0 / (1 + f + i));
    }
  }
  return shapes;
}

TEST(FolderConfig, AGgufFilesConfigSaysWhatTheFileDoes) {
  const auto checkpoint = Open("gguf/llama_f16.gguf");
  const auto meant = ReadModelConfig(*checkpoint);
  ASSERT_TRUE(meant.ok()) << meant.status();
  const auto read = ModelConfigFromHuggingFace(Source("gguf/llama_f16.gguf"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->vocab_size, meant->vocab_size);
  EXPECT_EQ(read->hidden_size, meant->hidden_size);
  EXPECT_EQ(read->intermediate_size, meant->intermediate_size);
  EXPECT_EQ(read->num_layers, meant->num_layers);
  EXPECT_EQ(read->max_position, meant->max_position);
  EXPECT_EQ(read->norm_eps, meant->norm_eps);
  EXPECT_EQ(read->tied_embeddings, meant->tied_embeddings);
  EXPECT_EQ(read->eos_token_ids, meant->eos_token_ids);
  EXPECT_EQ(read->bos_token_id, meant->bos_token_id);
  EXPECT_EQ(read->attention[0].heads, meant->attention[0].heads);
  EXPECT_EQ(read->attention[0].kv_heads, meant->attention[0].kv_heads);
  EXPECT_EQ(read->attention[0].head_dim, meant->attention[0].head_dim);
}

TEST(FolderConfig, AFoldersConfigIsItsOwn) {
  EXPECT_EQ(json(Source("models/qwen2")),
            json::parse(testing::ReadFile(
                testing::TestData("models/qwen2/config.json"))));
}

TEST(FolderConfig, ShapesAndFrequenciesAreReadBackLayerByLayer) {
  for (const char* name :
       {"models/qwen2", "models/mixtral", "gguf/llama_f16.gguf"}) {
    const auto checkpoint = Open(name);
    const auto before = ReadModelConfig(*checkpoint);
    ASSERT_TRUE(before.ok()) << before.status();
    const auto shapes = Shapes(before->attention[0].heads, before->num_layers);
    const auto config =
        ExtendedConfig(Source(name), shapes, kernels::DType::kBF16);
    const auto read = ModelConfigFromHuggingFace(config);
    ASSERT_TRUE(read.ok()) << name << ": " << read.status();
    ASSERT_EQ(read->num_layers, before->num_layers);
    EXPECT_EQ(read->moe.has_value(), before->moe.has_value());
    for (int i = 0; i < read->num_layers; ++i) {
      const AttentionConfig& a = read->attention[i];
      EXPECT_EQ(a.kind, AttentionKind::kMla);
      EXPECT_EQ(a.heads, shapes[i].heads);
      EXPECT_EQ(a.kv_lora_rank, shapes[i].kv_lora_rank);
      EXPECT_EQ(a.qk_nope_head_dim, shapes[i].qk_nope_head_dim);
      EXPECT_EQ(a.qk_rope_head_dim, shapes[i].qk_rope_head_dim);
      EXPECT_EQ(a.v_head_dim, shapes[i].v_head_dim);
      EXPECT_FALSE(a.latent_norms);
      EXPECT_FALSE(a.rope_interleaved);
      EXPECT_EQ(read->ropes[a.rope].inv_freq,
                std::vector<float>(shapes[i].inv_freq.begin(),
                                   shapes[i].inv_freq.end()));
    }
    // Nobody else may take it for the source's kind.
    EXPECT_THAT(config["model_type"].get<std::string>(),
                ::testing::StartsWith("mlaserve_"));
    EXPECT_EQ(config["dtype"], "bfloat16");
  }
}

TEST(FolderConfig, WhatAllLayersShareIsOneValue) {
  auto shapes = Shapes(4, 1);
  shapes.resize(3, shapes[0]);
  const auto config =
      ExtendedConfig(Source("models/qwen2"), shapes, kernels::DType::kF32);
  EXPECT_EQ(config["kv_lora_rank"], 20);
  EXPECT_EQ(config["qk_rope_head_dim"], 8);
  EXPECT_EQ(config["dtype"], "float32");
}

TEST(FolderConfig, TheSourcesRowIsKnownAfterwards) {
  for (const char* name :
       {"models/qwen2", "models/mixtral", "gguf/llama_f16.gguf"}) {
    const auto before = ReadModelConfig(*Open(name));
    ASSERT_TRUE(before.ok()) << before.status();
    const ordered_json source = Source(name);
    EXPECT_EQ(*SourceRowWidth(source), 0) << "not converted";
    const AttentionConfig& a = before->attention[0];
    const auto row = SourceRowWidth(ExtendedConfig(
        source, Shapes(a.heads, before->num_layers), kernels::DType::kBF16));
    ASSERT_TRUE(row.ok()) << row.status();
    // Keys and values of every KV head.
    EXPECT_EQ(*row, int64_t{2} * a.kv_heads * a.head_dim) << name;
  }
}

TEST(FolderConfig, WrongSizesOfTheSourceAreNamed) {
  const json good = {{"model_type", "mlaserve_llama"},
                     {"hidden_size", 64},
                     {"num_attention_heads", 4},
                     {"num_key_value_heads", 2}};
  EXPECT_EQ(*SourceRowWidth(good), 2 * 2 * 16);
  for (const char* field : {"num_attention_heads", "num_key_value_heads"}) {
    for (const json& value : {json(0), json(-3), json(1 << 30), json("2")}) {
      json bad = good;
      bad[field] = value;
      const auto row = SourceRowWidth(bad);
      EXPECT_TRUE(absl::IsInvalidArgument(row.status())) << bad;
      EXPECT_THAT(row.status().message(), HasSubstr(field));
    }
  }
}

// A config may say null where it means "as many as there are heads".
TEST(FolderConfig, FewerHeadsKnowWhatTheSourceCached) {
  const ordered_json source = {{"model_type", "llama"},
                               {"num_attention_heads", 4},
                               {"num_key_value_heads", nullptr}};
  HeadShape even, uneven;
  for (HeadShape* shape : {&even, &uneven}) {
    shape->heads = 4;
    shape->head_dim = 16;
    shape->kv_heads = 2;
  }
  uneven.kv_head_of = {0, 0, 0, 1};
  const ordered_json stock = HeadsConfig(source, 128, {even, even});
  EXPECT_EQ(stock["model_type"], "llama");
  EXPECT_EQ(stock["num_key_value_heads"], 2);
  const ordered_json own = HeadsConfig(source, 128, {even, uneven});
  EXPECT_EQ(own["model_type"], "mlaserve_llama");
  EXPECT_EQ(own["kv_head_of_query_head"],
            ordered_json({ordered_json::array(), {0, 0, 0, 1}}));
  for (const ordered_json& config : {stock, own}) {
    const auto row = SourceRowWidth(config);
    ASSERT_TRUE(row.ok()) << row.status();
    EXPECT_EQ(*row, 128);
  }
}

}  // namespace
}  // namespace mla::runtime
