// Tested by tests/e2e/export_test.py.
#include "runtime/convert/stock_layout.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/attention/constant_lane.h"
#include "runtime/convert/conversion_budget.h"
#include "runtime/convert/folder_config.h"
#include "runtime/gguf_fields.h"
#include "runtime/json_fields.h"
#include "runtime/rope.h"
#include "runtime/status_macros.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {
namespace {

using nlohmann::ordered_json;

// Times kLaneLength: what training may add to the rest of the latent.
constexpr double kRoomToTrain = 4;
// Frequencies computed in float, in two ways.
constexpr double kFrequencyTolerance = 1e-5;

absl::Status CannotHold(const std::string& why) {
  return absl::UnimplementedError(
      absl::StrCat("layout deepseek_v3 cannot hold this conversion: ", why));
}

struct RopeFields {
  double theta = 10000;
  nlohmann::json scaling;  // null: none
};

absl::StatusOr<RopeFields> SourceRope(const Checkpoint& checkpoint,
                                      const ModelConfig& config,
                                      const nlohmann::json& source) {
  RopeFields rope;
  if (checkpoint.gguf() != nullptr) {
    ASSIGN_OR_RETURN(rope.theta,
                     GgufFields(*checkpoint.gguf(), config.architecture)
                         .Float("rope.freq_base", 10000));
    return rope;
  }
  for (const char* field : {"rope_scaling", "rope_parameters"}) {
    if (source.contains(field) && source[field].is_object()) {
      rope.scaling = source[field];
    }
  }
  ASSIGN_OR_RETURN(rope.theta, ReadNumber(source, "rope_theta", 10000));
  ASSIGN_OR_RETURN(rope.theta,
                   ReadNumber(rope.scaling, "rope_theta", rope.theta));
  ASSIGN_OR_RETURN(const std::string old_type,
                   ReadString(rope.scaling, "type", "default"));
  ASSIGN_OR_RETURN(const std::string type,
                   ReadString(rope.scaling, "rope_type", old_type));
  if (type == "default") rope.scaling = nullptr;
  return rope;
}

// That a head of `dim` gets from these fields the ladder that SplitByLadder
// keeps: every head_dim / dim-th of the source's frequencies.
absl::Status CheckLadder(const ModelConfig& config, int dim,
                         const RopeFields& fields) {
  ASSIGN_OR_RETURN(
      const Rope stock,
      RopeFromConfig(dim, fields.theta, config.max_position, fields.scaling));
  for (const AttentionConfig& a : config.attention) {
    const Rope& source = config.ropes[a.rope];
    if (dim > a.head_dim || a.head_dim % dim != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "qk_rope_head_dim ", dim, " does not divide head_dim ", a.head_dim));
    }
    for (int i = 0; i < dim / 2; ++i) {
      const double wanted = source.inv_freq[i * (a.head_dim / dim)];
      if (std::abs(stock.inv_freq[i] - wanted) > kFrequencyTolerance * wanted) {
        return CannotHold(
            "its RoPE scaling gives a narrower head other frequencies");
      }
    }
    if (stock.amplitude != source.amplitude || stock.score_factor != 1) {
      return CannotHold("its RoPE scaling also scales scores");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSpec(const ModelConfig& config, const ConversionSpec& spec) {
  switch (spec.method) {
    case ConversionMethod::kExact:
      return CannotHold("exact makes no MLA; its folder is stock GQA already");
    case ConversionMethod::kLorc:
    case ConversionMethod::kQcqa:
    case ConversionMethod::kEffKv:
      return CannotHold("the method makes no MLA");
    case ConversionMethod::kMha2Mla:
    case ConversionMethod::kXEcoMla:
      return CannotHold(
          "the method does not keep one ladder of RoPE frequencies");
    case ConversionMethod::kTransMla:
    case ConversionMethod::kWeighted:
    case ConversionMethod::kSequential:
    case ConversionMethod::kCare:
      break;
  }
  if (spec.freqfold == kSelectRope) {
    return CannotHold(
        "selected RoPE components turn with other frequencies in each layer, "
        "the config has one ladder for all; give freqfold");
  }
  if (spec.greedy_ranks) {
    return CannotHold("its ranks differ by layer; give ranks=uniform");
  }
  if (config.moe) {
    return CannotHold(
        "Mixtral's experts are weighed by a softmax, DeepSeek-V3's by sigmoids "
        "beside a shared expert");
  }
  const AttentionConfig& first = config.attention[0];
  for (const AttentionConfig& a : config.attention) {
    if (a.kind != AttentionKind::kGqa || a.qk_norm) {
      return CannotHold(
          "its attention has norms of queries and keys, or no keys and values");
    }
    if (a.heads != first.heads || a.head_dim != first.head_dim) {
      return CannotHold("its layers have heads of different number or size");
    }
  }
  return absl::OkStatus();
}

double Rounded(double value, kernels::DType type) {
  const auto single = static_cast<float>(value);
  return type == kernels::DType::kBF16
             ? kernels::FromBF16(kernels::ToBF16(single))
             : single;
}

// The bias of a lane, and the norm weight that multiplies by what the norm then
// divides by: of all numbers that bf16 holds between `least` and its double,
// those that are nearest to it once both are rounded.
struct Lane {
  double bias = 0;
  double weight = 0;
};

Lane ChooseLane(double least, int rank, kernels::DType type) {
  constexpr int kSteps = 128;  // of bf16 between two powers of two
  const double power = std::exp2(std::ceil(std::log2(least)));
  Lane best;
  double best_error = 1;
  for (int i = 0; i < kSteps; ++i) {
    Lane lane;
    lane.bias = power * (1 + i / double{kSteps});
    lane.weight = Rounded(lane.bias / std::sqrt(rank), type);
    const double error =
        std::abs(lane.weight * std::sqrt(rank) / lane.bias - 1);
    if (error >= best_error) continue;
    best_error = error;
    best = lane;
  }
  return best;
}

// Of `rows` applied to what a norm of weight `gain` gives: constant_lane.h.
double Longest(const DoubleMatrix& rows, const std::vector<float>& gain) {
  const Eigen::Map<const Eigen::VectorXf> g(
      gain.data(), static_cast<Eigen::Index>(gain.size()));
  const double norm = (rows * g.cast<double>().asDiagonal()).norm();
  // Rows that are all zero take any lane.
  return std::max(norm * std::sqrt(gain.size()), 1.0);
}

// The last `rope` of every `block` rows, from pairs (i, i + rope/2) to
// (2i, 2i + 1).
template <typename Rows>
void Interleave(int block, int rope, Rows& rows) {
  const Rows halves = rows;
  for (Eigen::Index end = block; end <= rows.rows(); end += block) {
    const Eigen::Index first = end - rope;
    for (int i = 0; i < rope / 2; ++i) {
      rows.row(first + 2 * i) = halves.row(first + i);
      rows.row(first + 2 * i + 1) = halves.row(first + rope / 2 + i);
    }
  }
}

}  // namespace

absl::StatusOr<std::string> CheckStock(const Checkpoint& checkpoint,
                                       const ModelConfig& config,
                                       const ConversionSpec& spec) {
  RETURN_IF_ERROR(CheckSpec(config, spec));
  ASSIGN_OR_RETURN(const ordered_json source, SourceConfig(checkpoint, config));
  ASSIGN_OR_RETURN(const RopeFields rope,
                   SourceRope(checkpoint, config, source));
  ASSIGN_OR_RETURN(const ConversionSpec sized, WithinBudget(spec, config));
  RETURN_IF_ERROR(CheckLadder(config, sized.qk_rope_head_dim, rope));
  if (rope.scaling.is_null()) return "";
  return "its RoPE is scaled, which transformers and mlaserve compute for this "
         "folder; vLLM takes any scaling of a DeepSeek model for YaRN, and "
         "llama.cpp's converter drops it: both would answer wrongly";
}

absl::StatusOr<ordered_json> StockConfig(const Checkpoint& checkpoint,
                                         const ModelConfig& config,
                                         const std::vector<MlaShape>& layers,
                                         kernels::DType type) {
  const MlaShape& first = layers[0];
  for (const MlaShape& layer : layers) {
    if (layer.kv_lora_rank != first.kv_lora_rank ||
        layer.qk_rope_head_dim != first.qk_rope_head_dim ||
        layer.q_lora_rank != first.q_lora_rank) {
      return CannotHold("its layers have different ranks");
    }
  }
  ASSIGN_OR_RETURN(const ordered_json source, SourceConfig(checkpoint, config));
  ASSIGN_OR_RETURN(const RopeFields rope,
                   SourceRope(checkpoint, config, source));
  ordered_json json = {
      {"architectures", {"DeepseekV3ForCausalLM"}},
      {"model_type", "deepseek_v3"},
      {"torch_dtype", type == kernels::DType::kF32 ? "float32" : "bfloat16"},
      {"attention_bias", true},
      {"first_k_dense_replace", config.num_layers},  // no layer has experts
      {"num_nextn_predict_layers", 0},
      {"num_attention_heads", first.heads},
      {"num_key_value_heads", first.heads},
      {"q_lora_rank", nullptr},
      {"kv_lora_rank", first.kv_lora_rank + 1},
      {"qk_nope_head_dim", first.qk_nope_head_dim},
      {"qk_rope_head_dim", first.qk_rope_head_dim},
      {"v_head_dim", first.v_head_dim},
      {"rope_interleave", true},
      {"rope_theta", rope.theta}};
  if (first.q_lora_rank > 0) json["q_lora_rank"] = first.q_lora_rank;
  if (!rope.scaling.is_null()) json["rope_scaling"] = rope.scaling;
  for (const char* field :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "hidden_act", "max_position_embeddings", "rms_norm_eps",
        "tie_word_embeddings", "initializer_range"}) {
    if (source.contains(field)) json[field] = source[field];
  }
  // Where none is said, transformers would take DeepSeek's own.
  for (const char* field : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    json[field] = source.contains(field) ? source[field] : ordered_json();
  }
  return json;
}

bool HasQueryBias(const Checkpoint& checkpoint, const ModelConfig& config) {
  const WeightReader reader(checkpoint);
  for (int i = 0; i < config.num_layers; ++i) {
    if (reader.Has(
            absl::StrCat("model.layers.", i, ".self_attn.q_proj.bias"))) {
      return true;
    }
  }
  return false;
}

MlaWeights ToStock(const MlaWeights& weights,
                   const std::vector<float>& input_norm, kernels::DType type,
                   bool query_bias) {
  const MlaShape& shape = weights.shape;
  const int rank = shape.kv_lora_rank, rope = shape.qk_rope_head_dim;
  const int head = shape.qk_nope_head_dim + rope;
  const Eigen::Index hidden = weights.kv_a.cols();
  const double least = kLaneLength * kRoomToTrain;
  MlaWeights stock = weights;
  stock.shape.constant_lane = true;

  Lane lane = ChooseLane(
      least * Longest(weights.kv_a.topRows(rank), input_norm), rank + 1, type);
  stock.kv_a.resize(rank + 1 + rope, hidden);
  stock.kv_a << weights.kv_a.topRows(rank), DoubleMatrix::Zero(1, hidden),
      weights.kv_a.bottomRows(rope);
  stock.kv_a_bias.resize(rank + 1 + rope);
  stock.kv_a_bias << weights.kv_a_bias.head(rank), lane.bias,
      weights.kv_a_bias.tail(rope);
  Interleave(rank + 1 + rope, rope, stock.kv_a);
  Interleave(rank + 1 + rope, rope, stock.kv_a_bias);
  stock.kv_norm = DoubleVector::Constant(rank + 1, lane.weight);
  stock.kv_norm[rank] = 0;
  stock.kv_b.resize(weights.kv_b.rows(), rank + 1);
  stock.kv_b << weights.kv_b, DoubleVector::Zero(weights.kv_b.rows());

  Interleave(head, rope, stock.q);
  Interleave(head, rope, stock.q_bias);
  if (!query_bias && weights.shape.q_lora_rank == 0) return stock;
  const DoubleMatrix q_a = weights.shape.q_lora_rank > 0
                               ? weights.q_a
                               : DoubleMatrix::Identity(hidden, hidden);
  const Eigen::Index latent = q_a.rows();
  const int width = static_cast<int>(latent) + 1;
  lane = ChooseLane(least * Longest(q_a, input_norm), width, type);
  stock.shape.q_lora_rank = width;
  stock.q_a.resize(width, hidden);
  stock.q_a << q_a, DoubleMatrix::Zero(1, hidden);
  stock.q_a_bias = DoubleVector::Zero(width);
  stock.q_a_bias[latent] = lane.bias;
  stock.q_norm = DoubleVector::Constant(width, lane.weight);
  // This lane is read, as about one: the norm leaves sqrt(width) of it.
  stock.q_norm[latent] = Rounded(1 / std::sqrt(width), type);
  DoubleMatrix q_b(stock.q.rows(), width);
  q_b << stock.q, stock.q_bias / (stock.q_norm[latent] * std::sqrt(width));
  stock.q = std::move(q_b);
  stock.q_bias.setZero();
  return stock;
}

}  // namespace mla::runtime
