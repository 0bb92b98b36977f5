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
#include "runtime/attention/attention_form.h"
#include "runtime/model.h"
#include "runtime/status_macros.h"

namespace mla::runtime {

class ModelLoader {
 public:
  ModelLoader(const ModelConfig& config, const WeightReader& reader,
              kernels::DType dtype, Model& model)
      : config_(config),
        reader_(reader),
        dtype_(dtype),
        backend_(*model.backend_),
        model_(model) {}

  absl::Status LoadOne(int index) {
    ASSIGN_OR_RETURN(Layer layer, LoadLayer(index));
    layer.attention.cache_layer = 0;
    model_.layers_.push_back(std::move(layer));
    return absl::OkStatus();
  }

  absl::Status Run(const Model::Progress& progress) {
    const int hidden = config_.hidden_size;
    const int vocab = config_.vocab_size;
    ASSIGN_OR_RETURN(
        const WeightMatrix embedding,
        reader_.Matrix("model.embed_tokens.weight", vocab, hidden));
    model_.embedding_ =
        Upload(HeadType(dtype_), vocab, hidden, Source(embedding));
    ASSIGN_OR_RETURN(std::vector<float> norm,
                     reader_.Vector("model.norm.weight", hidden));
    model_.final_norm_ = backend_.NewVector(norm);
    for (float& w : norm) w *= config_.logit_scale;
    model_.logit_norm_ = backend_.NewVector(norm);
    if (config_.rank.index == 0) {  // else the first rank has it
      model_.lm_head_.w = model_.embedding_;
      if (!config_.tied_embeddings) {
        ASSIGN_OR_RETURN(const WeightMatrix head,
                         reader_.Matrix("lm_head.weight", vocab, hidden));
        model_.lm_head_.w =
            Upload(HeadType(dtype_), vocab, hidden, Source(head));
      }
    }
    for (int i = 0; i < config_.num_layers; ++i) {
      progress(static_cast<double>(i) / config_.num_layers);
      ASSIGN_OR_RETURN(Layer layer, LoadLayer(i));
      model_.layers_.push_back(std::move(layer));
      RETURN_IF_ERROR(backend_.status());
    }
    progress(1.0);
    return absl::OkStatus();
  }

 private:
  static RowSource Source(WeightMatrix m) {
    return [m](int row, float* dst) { m.ReadRow(row, dst); };
  }

  // This rank's outputs of both, one after the other.
  OutputBlock GateUp(const OutputBlock& gate, const OutputBlock& up) const {
    return Concatenate(
        {OutputPart(gate, config_.rank), OutputPart(up, config_.rank)});
  }

  const Matrix* Upload(kernels::DType dtype, int outputs, int inputs,
                       const RowSource& rows) {
    return backend_.NewMatrix(dtype, outputs, inputs, rows);
  }

  const Matrix* Upload(const OutputBlock& block) {
    return Upload(dtype_, block.outputs, block.inputs, block.rows);
  }

  absl::StatusOr<const float*> Vector(const std::string& name, int size) {
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     reader_.Vector(name, size));
    return backend_.NewVector(values);
  }

  absl::StatusOr<FeedForward> LoadMlp(const std::string& prefix,
                                      int intermediate) {
    const int hidden = config_.hidden_size;
    FeedForward mlp;
    mlp.intermediate_size = intermediate;
    const int all = intermediate * config_.rank.count;
    ASSIGN_OR_RETURN(const WeightMatrix gate,
                     reader_.Matrix(prefix + "gate_proj.weight", all, hidden));
    ASSIGN_OR_RETURN(const WeightMatrix up,
                     reader_.Matrix(prefix + "up_proj.weight", all, hidden));
    ASSIGN_OR_RETURN(const WeightMatrix down,
                     reader_.Matrix(prefix + "down_proj.weight", hidden, all));
    mlp.gate_up.w = Upload(GateUp(BlockOf(gate), BlockOf(up)));
    mlp.down.w = Upload(InputPart(BlockOf(down), config_.rank));
    return mlp;
  }

  // An expert's matrices under the names that its family gives them.
  absl::Status LoadExpert(const std::string& prefix, int e,
                          ExpertWeights& experts) {
    const MoeConfig& c = *config_.moe;
    const int hidden = config_.hidden_size;
    const int inner = c.intermediate_size * config_.rank.count;
    const auto read = [&](const std::string& name, int rows, int cols) {
      return reader_.Expert(prefix + name, e, c.experts, rows, cols);
    };
    const auto add = [&](const OutputBlock& gate, const OutputBlock& up,
                         const WeightMatrix& down) {
      experts.gate_up.push_back(Upload(GateUp(gate, up)));
      experts.down.push_back(Upload(InputPart(BlockOf(down), config_.rank)));
      return absl::OkStatus();
    };
    if (reader_.Has(prefix + "experts.gate_up_proj")) {  // stacked and fused
      ASSIGN_OR_RETURN(const WeightMatrix gate_up,
                       read("experts.gate_up_proj", 2 * inner, hidden));
      ASSIGN_OR_RETURN(const WeightMatrix down,
                       read("experts.down_proj", hidden, inner));
      return add(Outputs(BlockOf(gate_up), 0, inner),
                 Outputs(BlockOf(gate_up), inner, inner), down);
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
    return add(BlockOf(gate), BlockOf(up), down);
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
    moe->experts.adds_identities = config_.rank.index == 0;
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
    // X-EcoMLA's own layers.
    const bool mla = reader_.Has(prefix + "mla.kv_b_proj.weight");
    const std::string attention =
        mla ? prefix + "mla." : layer.names.attention + ".";
    const LayerWeights weights(reader_, attention, dtype_, config_.hidden_size,
                               config_.norm_eps, backend_);
    ASSIGN_OR_RETURN(layer.attention,
                     LoadAttention(weights, config_.attention[index], index));
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
  const WeightReader& reader_;
  const kernels::DType dtype_;
  Backend& backend_;
  Model& model_;
};

void Model::AllocateActivations() {
  const auto rows = [&](int cols) {
    return backend_->NewRows(options_.max_step_tokens, cols);
  };
  hidden_ = rows(config_.hidden_size);
  normed_ = rows(config_.hidden_size);
  branch_ = rows(config_.hidden_size);
  int projected = 0, queries = 0, attended = 0, gating = 0;
  for (const Layer& l : layers_) {
    const AttentionLayer& a = l.attention;
    projected = std::max(projected, a.q_width + a.row_width + a.more_width);
    queries = std::max(queries, a.q_b_width);
    attended = std::max(attended, a.attended_width);
    if (a.time_gate != nullptr) {
      gating = std::max(gating, a.time_gate->latent + 2 * a.time_gate->width);
    }
    if (a.value_mlp != nullptr) {
      gating = std::max(gating, 3 * a.value_mlp->width);
    }
  }
  projected_ = rows(projected);
  queries_ = rows(queries);
  attended_ = rows(attended);
  gating_ = rows(gating);
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
  if (lm_head_.w == nullptr) return;
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
  RETURN_IF_ERROR(model->backend_->status());
  return model;
}

absl::StatusOr<std::unique_ptr<Model>> Model::LoadLayer(
    const ModelConfig& config, int index, const WeightReader& reader,
    std::unique_ptr<Backend> backend, const ModelOptions& options) {
  if (config.paired_layers || config.attention[index].cache_layer >= 0) {
    return absl::UnimplementedError(
        "layers that come in pairs, or read another's rows, one by one");
  }
  ModelConfig alone = config;
  AttentionConfig& attention = alone.attention[index];
  alone.ropes = {config.ropes[attention.rope]};
  attention.rope = 0;
  std::unique_ptr<Model> model(new Model());
  model->config_ = alone;
  model->config_.num_layers = 1;
  model->config_.attention = {attention};
  model->backend_ = std::move(backend);
  model->options_ = options;
  ModelLoader loader(alone, reader, options.weights_dtype, *model);
  RETURN_IF_ERROR(loader.LoadOne(index));
  model->AllocateActivations();
  return model;
}

}  // namespace mla::runtime
