// Model::Load: names the weights, fuses those that share an input, and hands
// them to the backend row by row, so that no float copy of a matrix is made.
// Tested by tests/runtime/model_golden_test.cc.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/model.h"
#include "runtime/status_macros.h"

namespace mla::runtime {

class ModelLoader {
 public:
  ModelLoader(const ModelConfig& config, const WeightReader& reader,
              kernels::DType dtype, Model& model)
      : config_(config),
        a_(config.attention),
        reader_(reader),
        dtype_(dtype),
        backend_(*model.backend_),
        model_(model) {}

  absl::Status Run(const Model::Progress& progress) {
    const int hidden = config_.hidden_size;
    const int vocab = config_.vocab_size;
    ASSIGN_OR_RETURN(
        const WeightMatrix embedding,
        reader_.Matrix("model.embed_tokens.weight", vocab, hidden));
    model_.embedding_ = Upload(dtype_, vocab, hidden, Source(embedding));
    ASSIGN_OR_RETURN(std::vector<float> norm,
                     reader_.Vector("model.norm.weight", hidden));
    model_.final_norm_ = backend_.NewVector(norm);
    for (float& w : norm) w *= config_.logit_scale;
    model_.logit_norm_ = backend_.NewVector(norm);
    model_.lm_head_.w = model_.embedding_;
    if (!config_.tied_embeddings) {
      ASSIGN_OR_RETURN(model_.lm_head_.w,
                       Single("lm_head.weight", vocab, hidden));
    }
    for (int i = 0; i < config_.num_layers; ++i) {
      progress(static_cast<double>(i) / config_.num_layers);
      ASSIGN_OR_RETURN(Layer layer, LoadLayer(i));
      model_.layers_.push_back(std::move(layer));
    }
    progress(1.0);
    return absl::OkStatus();
  }

 private:
  static RowSource Source(WeightMatrix m) {
    return [m](int row, float* dst) { m.ReadRow(row, dst); };
  }

  // The rows of several matrices one after the other.
  static RowSource Concatenate(std::vector<WeightMatrix> parts) {
    return [parts = std::move(parts)](int row, float* dst) {
      size_t i = 0;
      while (row >= parts[i].rows()) row -= parts[i++].rows();
      parts[i].ReadRow(row, dst);
    };
  }

  static int TotalRows(const std::vector<WeightMatrix>& parts) {
    int rows = 0;
    for (const WeightMatrix& part : parts) rows += part.rows();
    return rows;
  }

  const Matrix* Upload(kernels::DType dtype, int outputs, int inputs,
                       const RowSource& rows) {
    return backend_.NewMatrix(dtype, outputs, inputs, rows);
  }

  absl::StatusOr<const Matrix*> Single(const std::string& name, int outputs,
                                       int inputs) {
    ASSIGN_OR_RETURN(const WeightMatrix m,
                     reader_.Matrix(name, outputs, inputs));
    return Upload(dtype_, outputs, inputs, Source(m));
  }

  absl::StatusOr<const float*> Vector(const std::string& name, int size) {
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     reader_.Vector(name, size));
    return backend_.NewVector(values);
  }

  // `matrix`'s biases in the order of its rows; zeros when there are none.
  absl::StatusOr<std::vector<float>> Bias(const std::string& name,
                                          const WeightMatrix& matrix) {
    std::vector<float> bias(matrix.rows());
    if (!reader_.Has(name)) return bias;
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     reader_.Vector(name, matrix.rows()));
    for (int i = 0; i < matrix.rows(); ++i) {
      bias[i] = values[matrix.SourceRow(i)];
    }
    return bias;
  }

  // A norm whose output is multiplied by `scale`.
  absl::StatusOr<const float*> ScaledNorm(const std::string& name, int size,
                                          float scale) {
    ASSIGN_OR_RETURN(std::vector<float> values, reader_.Vector(name, size));
    for (float& v : values) v *= scale;
    return backend_.NewVector(values);
  }

  absl::StatusOr<LinearWeights> OutputProjection(const std::string& prefix) {
    const int inputs = a_.heads * a_.output_head_dim();
    LinearWeights out;
    ASSIGN_OR_RETURN(
        out.w, Single(prefix + "o_proj.weight", config_.hidden_size, inputs));
    if (reader_.Has(prefix + "o_proj.bias")) {
      ASSIGN_OR_RETURN(out.bias,
                       Vector(prefix + "o_proj.bias", config_.hidden_size));
    }
    return out;
  }

  // [q | k_0 v_0 | k_1 v_1 | ...]: the right part is TransMLA's exact row.
  absl::Status LoadGqa(const std::string& prefix, AttentionLayer& layer) {
    const int hidden = config_.hidden_size;
    const int d = a_.head_dim;
    const int q_rows = a_.heads * d;
    const int kv_rows = a_.kv_heads * d;
    ASSIGN_OR_RETURN(WeightMatrix q,
                     reader_.Matrix(prefix + "q_proj.weight", q_rows, hidden));
    ASSIGN_OR_RETURN(WeightMatrix k,
                     reader_.Matrix(prefix + "k_proj.weight", kv_rows, hidden));
    ASSIGN_OR_RETURN(const WeightMatrix v,
                     reader_.Matrix(prefix + "v_proj.weight", kv_rows, hidden));
    if (a_.rope_interleaved) {
      q.Deinterleave(d, d);
      k.Deinterleave(d, d);
    }
    // Row i of the cache row's projection: which of k and v, and its row.
    const auto locate = [d](int i) {
      return std::pair(i / d % 2 == 0, i / (2 * d) * d + i % d);
    };
    const int outputs = q_rows + 2 * kv_rows;
    layer.in.w = Upload(dtype_, outputs, hidden, [&](int row, float* dst) {
      if (row < q_rows) return q.ReadRow(row, dst);
      const auto [is_key, source] = locate(row - q_rows);
      (is_key ? k : v).ReadRow(source, dst);
    });

    if (reader_.Has(prefix + "q_proj.bias")) {
      ASSIGN_OR_RETURN(std::vector<float> bias,
                       Bias(prefix + "q_proj.bias", q));
      ASSIGN_OR_RETURN(const std::vector<float> k_bias,
                       Bias(prefix + "k_proj.bias", k));
      ASSIGN_OR_RETURN(const std::vector<float> v_bias,
                       Bias(prefix + "v_proj.bias", v));
      for (int i = 0; i < 2 * kv_rows; ++i) {
        const auto [is_key, source] = locate(i);
        bias.push_back((is_key ? k_bias : v_bias)[source]);
      }
      layer.in.bias = backend_.NewVector(bias);
    }
    if (a_.qk_norm) {
      ASSIGN_OR_RETURN(layer.q_norm, Vector(prefix + "q_norm.weight", d));
      ASSIGN_OR_RETURN(layer.k_norm, Vector(prefix + "k_norm.weight", d));
    }
    return absl::OkStatus();
  }

  // DeepSeek-V3.2's: its key and its heads' weights, from the layer's input.
  absl::Status LoadIndexer(const std::string& prefix,
                           std::vector<WeightMatrix>& in,
                           AttentionLayer& layer) {
    const int dim = a_.index_head_dim;
    ASSIGN_OR_RETURN(
        in.emplace_back(),
        reader_.Matrix(prefix + "wk.weight", dim, config_.hidden_size));
    ASSIGN_OR_RETURN(in.emplace_back(),
                     reader_.Matrix(prefix + "weights_proj.weight",
                                    a_.index_n_heads, config_.hidden_size));
    ASSIGN_OR_RETURN(layer.index_k_norm, Vector(prefix + "k_norm.weight", dim));
    ASSIGN_OR_RETURN(layer.index_k_bias, Vector(prefix + "k_norm.bias", dim));
    return absl::OkStatus();
  }

  // [q | c | k_rope], or [q_a | c | k_rope] with q_b behind a query latent.
  absl::Status LoadMla(const std::string& prefix, AttentionLayer& layer) {
    const int hidden = config_.hidden_size;
    const int rank = a_.kv_lora_rank;
    const int rope = a_.qk_rope_head_dim;
    const int head = a_.query_head_dim();
    const bool q_latent = a_.q_lora_rank > 0;
    const int q_rows = q_latent ? a_.q_lora_rank : a_.heads * head;
    const std::string q_name = prefix + (q_latent ? "q_a_proj" : "q_proj");
    const std::string kv_name = prefix + "kv_a_proj_with_mqa";
    ASSIGN_OR_RETURN(WeightMatrix q,
                     reader_.Matrix(q_name + ".weight", q_rows, hidden));
    ASSIGN_OR_RETURN(WeightMatrix kv_a,
                     reader_.Matrix(kv_name + ".weight", rank + rope, hidden));
    if (a_.rope_interleaved) {
      if (!q_latent) q.Deinterleave(head, rope);
      kv_a.Deinterleave(rank + rope, rope);
    }
    std::vector<WeightMatrix> in = {q, kv_a};
    if (a_.index_topk > 0) {
      RETURN_IF_ERROR(LoadIndexer(prefix + "indexer.", in, layer));
    }
    layer.in.w = Upload(dtype_, TotalRows(in), hidden, Concatenate(in));
    if (reader_.Has(q_name + ".bias") || reader_.Has(kv_name + ".bias")) {
      ASSIGN_OR_RETURN(std::vector<float> bias, Bias(q_name + ".bias", q));
      ASSIGN_OR_RETURN(const std::vector<float> kv_bias,
                       Bias(kv_name + ".bias", kv_a));
      bias.insert(bias.end(), kv_bias.begin(), kv_bias.end());
      bias.resize(TotalRows(in));
      layer.in.bias = backend_.NewVector(bias);
    }
    ASSIGN_OR_RETURN(
        layer.kv_a_norm,
        ScaledNorm(prefix + "kv_a_layernorm.weight", rank, a_.kv_latent_scale));
    if (q_latent) {
      ASSIGN_OR_RETURN(layer.q_a_norm,
                       ScaledNorm(prefix + "q_a_layernorm.weight", q_rows,
                                  a_.q_latent_scale));
      ASSIGN_OR_RETURN(
          WeightMatrix q_b,
          reader_.Matrix(prefix + "q_b_proj.weight", a_.heads * head, q_rows));
      if (a_.rope_interleaved) q_b.Deinterleave(head, rope);
      std::vector<WeightMatrix> queries = {q_b};
      if (a_.index_topk > 0) {
        ASSIGN_OR_RETURN(
            queries.emplace_back(),
            reader_.Matrix(prefix + "indexer.wq_b.weight",
                           a_.index_n_heads * a_.index_head_dim, q_rows));
      }
      layer.q_b.w =
          Upload(dtype_, TotalRows(queries), q_rows, Concatenate(queries));
    }

    // kv_b: per head, W_UK's rows and then W_UV's.
    const int nope = a_.qk_nope_head_dim;
    const int v_dim = a_.v_head_dim;
    ASSIGN_OR_RETURN(const WeightMatrix kv_b,
                     reader_.Matrix(prefix + "kv_b_proj.weight",
                                    a_.heads * (nope + v_dim), rank));
    layer.attention.up = backend_.NewUpProjection(
        dtype_, a_.heads, rank, nope, rope, v_dim,
        [&](int row, float* dst) {
          kv_b.ReadRow(row / nope * (nope + v_dim) + row % nope, dst);
        },
        [&](int row, float* dst) {
          kv_b.ReadRow(row / v_dim * (nope + v_dim) + nope + row % v_dim, dst);
        });
    return absl::OkStatus();
  }

  absl::StatusOr<FeedForward> LoadMlp(const std::string& prefix,
                                      int intermediate) {
    const int hidden = config_.hidden_size;
    FeedForward mlp;
    mlp.intermediate_size = intermediate;
    ASSIGN_OR_RETURN(
        const WeightMatrix gate,
        reader_.Matrix(prefix + "gate_proj.weight", intermediate, hidden));
    ASSIGN_OR_RETURN(
        const WeightMatrix up,
        reader_.Matrix(prefix + "up_proj.weight", intermediate, hidden));
    mlp.gate_up.w =
        Upload(dtype_, 2 * intermediate, hidden, Concatenate({gate, up}));
    ASSIGN_OR_RETURN(mlp.down.w,
                     Single(prefix + "down_proj.weight", hidden, intermediate));
    return mlp;
  }

  // An expert's matrices under the names that its family gives them.
  absl::Status LoadExpert(const std::string& prefix, int e,
                          ExpertWeights& experts) {
    const MoeConfig& c = *config_.moe;
    const int hidden = config_.hidden_size;
    const int inner = c.intermediate_size;
    const auto read = [&](const std::string& name, int rows, int cols) {
      return reader_.Expert(prefix + name, e, c.experts, rows, cols);
    };
    const auto add = [&](const RowSource& gate_up, const WeightMatrix& down) {
      experts.gate_up.push_back(Upload(dtype_, 2 * inner, hidden, gate_up));
      experts.down.push_back(Upload(dtype_, hidden, inner, Source(down)));
      return absl::OkStatus();
    };
    if (reader_.Has(prefix + "experts.gate_up_proj")) {  // stacked and fused
      ASSIGN_OR_RETURN(const WeightMatrix gate_up,
                       read("experts.gate_up_proj", 2 * inner, hidden));
      ASSIGN_OR_RETURN(const WeightMatrix down,
                       read("experts.down_proj", hidden, inner));
      return add(Source(gate_up), down);
    }
    const bool mixtral = absl::EndsWith(prefix, "block_sparse_moe.");
    const auto name = [&](const char* w, const char* proj) {
      return absl::StrCat("experts.%d.", mixtral ? w : proj, ".weight");
    };
    ASSIGN_OR_RETURN(const WeightMatrix gate,
                     read(name("w1", "gate_proj"), inner, hidden));
    ASSIGN_OR_RETURN(const WeightMatrix up,
                     read(name("w3", "up_proj"), inner, hidden));
    ASSIGN_OR_RETURN(const WeightMatrix down,
                     read(name("w2", "down_proj"), hidden, inner));
    return add(Concatenate({gate, up}), down);
  }

  absl::StatusOr<std::unique_ptr<MoeLayer>> LoadMoe(const std::string& layer) {
    const MoeConfig& c = *config_.moe;
    const int hidden = config_.hidden_size;
    const int choices = c.experts + c.identity_experts;
    const bool mixtral = reader_.Has(layer + "block_sparse_moe.gate.weight");
    const std::string prefix = layer + (mixtral ? "block_sparse_moe." : "mlp.");
    const bool longcat = config_.paired_layers;
    const std::string router = prefix + (longcat ? "router." : "gate.");
    auto moe = std::make_unique<MoeLayer>();
    // The router stays in float: a rounded score can choose another expert.
    ASSIGN_OR_RETURN(
        const WeightMatrix scores,
        reader_.Matrix(router + (longcat ? "classifier.weight" : "weight"),
                       choices, hidden));
    moe->router.w =
        Upload(kernels::DType::kF32, choices, hidden, Source(scores));
    moe->experts.router = c.router;
    if (reader_.Has(router + "e_score_correction_bias")) {
      ASSIGN_OR_RETURN(moe->experts.router.correction,
                       Vector(router + "e_score_correction_bias", choices));
    }
    for (int e = 0; e < c.experts; ++e) {
      RETURN_IF_ERROR(LoadExpert(prefix, e, moe->experts));
    }
    if (c.shared_intermediate_size > 0) {
      ASSIGN_OR_RETURN(moe->shared, LoadMlp(prefix + "shared_experts.",
                                            c.shared_intermediate_size));
    }
    if (reader_.Has(layer + "post_mlp_layernorm.weight")) {
      ASSIGN_OR_RETURN(moe->output_norm,
                       Vector(layer + "post_mlp_layernorm.weight", hidden));
    }
    return moe;
  }

  // A pair of layers is one in the file, with two of everything but experts.
  LayerNames Names(int index) const {
    const int pair = config_.paired_layers ? 2 : 1;
    const std::string layer = absl::StrCat("model.layers.", index / pair);
    const std::string half =
        pair == 2 ? absl::StrCat(".", index % pair) : std::string();
    LayerNames names;
    if (index % pair == pair - 1) names.layer = layer;
    names.attention = layer + ".self_attn" + half;
    names.moe = layer + ".mlp";
    names.mlp = pair == 2 ? layer + ".mlps" + half : names.moe;
    names.router = names.moe + (pair == 2 ? ".router" : ".gate");
    return names;
  }

  absl::StatusOr<Layer> LoadLayer(int index) {
    Layer layer;
    layer.names = Names(index);
    const int pair = config_.paired_layers ? 2 : 1;
    const std::string prefix = absl::StrCat("model.layers.", index / pair, ".");
    const std::string norm =
        pair == 2 ? absl::StrCat(".", index % pair, ".weight") : ".weight";
    ASSIGN_OR_RETURN(layer.input_norm, Vector(prefix + "input_layernorm" + norm,
                                              config_.hidden_size));
    ASSIGN_OR_RETURN(layer.post_attention_norm,
                     Vector(prefix + "post_attention_layernorm" + norm,
                            config_.hidden_size));
    AttentionLayer& attention = layer.attention;
    attention.attention.layout = a_.Layout();
    attention.attention.scale = a_.scale;
    const std::string attn = layer.names.attention + ".";
    RETURN_IF_ERROR(a_.kind == AttentionConfig::Kind::kMla
                        ? LoadMla(attn, attention)
                        : LoadGqa(attn, attention));
    ASSIGN_OR_RETURN(attention.out, OutputProjection(attn));
    if (config_.IsMoe(index)) {
      ASSIGN_OR_RETURN(layer.moe, LoadMoe(prefix));
    }
    if (config_.IsDense(index)) {
      ASSIGN_OR_RETURN(
          layer.mlp, LoadMlp(layer.names.mlp + ".", config_.intermediate_size));
    }
    return layer;
  }

  const ModelConfig& config_;
  const AttentionConfig& a_;
  const WeightReader& reader_;
  const kernels::DType dtype_;
  Backend& backend_;
  Model& model_;
};

void Model::AllocateActivations() {
  const AttentionConfig& a = config_.attention;
  const auto rows = [&](int cols) {
    return backend_->NewRows(options_.max_step_tokens, cols);
  };
  hidden_ = rows(config_.hidden_size);
  normed_ = rows(config_.hidden_size);
  branch_ = rows(config_.hidden_size);
  const int q_width = a.heads * a.query_head_dim();
  const int first_q = a.q_lora_rank > 0 ? a.q_lora_rank : q_width;
  projected_ = rows(first_q + a.Layout().row_width + a.index_n_heads);
  if (a.q_lora_rank > 0) {
    queries_ = rows(q_width + a.index_n_heads * a.index_head_dim);
  }
  attended_ = rows(a.heads * a.output_head_dim());
  int intermediate = config_.intermediate_size;
  if (config_.moe) {
    intermediate =
        std::max(intermediate, config_.moe->shared_intermediate_size);
    router_logits_ = rows(config_.moe->experts + config_.moe->identity_experts);
    shared_ = rows(config_.hidden_size);
    if (config_.paired_layers) shortcut_ = rows(config_.hidden_size);
  }
  gate_up_ = rows(2 * intermediate);
  activated_ = rows(intermediate);
  const int wanted = options_.max_logit_rows;
  logit_hidden_ = backend_->NewRows(wanted, config_.hidden_size);
  logits_ = backend_->NewRows(wanted, config_.vocab_size);
}

absl::StatusOr<std::unique_ptr<Model>> Model::Load(
    const ModelConfig& config, const WeightReader& reader,
    std::unique_ptr<Backend> backend, const ModelOptions& options,
    const Progress& progress) {
  std::unique_ptr<Model> model(new Model());
  model->config_ = config;
  model->backend_ = std::move(backend);
  model->options_ = options;
  ModelLoader loader(model->config_, reader, options.weights_dtype, *model);
  RETURN_IF_ERROR(loader.Run(progress));
  model->AllocateActivations();
  return model;
}

}  // namespace mla::runtime
