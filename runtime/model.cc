// The layer loop. It reads like the papers: DeepSeek-V2 (2405.04434) section
// 2.1 for latent attention, the Llama architecture around it.
// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/model.h"

namespace mla::runtime {
namespace {

// Of MLA's q_a and kv_a norms, whatever rms_norm_eps says, as in transformers.
constexpr float kLatentNormEps = 1e-6f;

Rows Top(Rows x, int rows) { return x.Slice(0, rows); }

void Tap(ActivationTap* tap, std::string_view name, Rows x) {
  if (tap != nullptr) tap->OnActivation(name, x);
}

}  // namespace

std::vector<kernels::AttnLayout> Model::layouts() const {
  return std::vector<kernels::AttnLayout>(config_.num_layers,
                                          config_.attention.Layout());
}

Rows Model::Forward(const StepBatch& batch, ActivationTap* tap) {
  Backend& b = *backend_;
  const int rows = batch.num_tokens();
  const Rows x = Top(hidden_, rows);
  const Rows normed = Top(normed_, rows);
  const Rows branch = Top(branch_, rows);
  b.BeginStep(batch, config_.attention.rope);
  b.Embed(embedding_, config_.embedding_scale, x);
  Tap(tap, "model.embed_tokens", x);

  bool shortcut = false;  // experts' output waits to be added
  for (int i = 0; i < config_.num_layers; ++i) {
    const Layer& layer = layers_[i];
    b.RmsNorm(x, layer.input_norm, config_.norm_eps, normed);
    Attention(i, layer.attention, normed, branch);
    Tap(tap, layer.names.attention, branch);
    b.AddScaled(branch, config_.residual_scale, x);

    b.RmsNorm(x, layer.post_attention_norm, config_.norm_eps, normed);
    if (layer.moe != nullptr) {
      shortcut = config_.paired_layers;
      const Rows y = shortcut ? Top(shortcut_, rows) : branch;
      Moe(*layer.moe, layer.names, normed, y, tap);
    }
    if (config_.IsDense(i)) {
      Mlp(layer.mlp, normed, branch);
      Tap(tap, layer.names.mlp, branch);
    }
    b.AddScaled(branch, config_.residual_scale, x);
    if (shortcut && layer.moe == nullptr) {
      b.AddScaled(Top(shortcut_, rows), 1.0f, x);
      shortcut = false;
    }
    Tap(tap, layer.names.layer, x);
  }

  if (tap != nullptr) {
    b.RmsNorm(x, final_norm_, config_.norm_eps, normed);
    Tap(tap, "model.norm", normed);
  }
  const int wanted = static_cast<int>(batch.logit_rows.size());
  const Rows last = Top(logit_hidden_, wanted);
  const Rows logits = Top(logits_, wanted);
  b.Gather(x, batch.logit_rows, last);
  b.RmsNorm(last, logit_norm_, config_.norm_eps, last);
  b.Linear(last, lm_head_, logits);
  return b.Read(logits);
}

void Model::Attention(int index, const AttentionLayer& layer, Rows x, Rows y) {
  Backend& b = *backend_;
  const AttentionConfig& a = config_.attention;
  const Rows projected = Top(projected_, x.rows);
  const int row_width = layer.attention.layout.row_width;
  const int q_width = projected.cols - row_width - a.index_n_heads;
  Rows q = projected.Columns(0, q_width);
  const Rows row = projected.Columns(q_width, row_width);
  b.Linear(x, layer.in, projected);

  IndexerInputs indexer{a.index_n_heads, a.index_topk, {}, {}};
  if (layer.q_b.w != nullptr) {
    b.RmsNorm(q, layer.q_a_norm, kLatentNormEps, q);
    const Rows expanded = Top(queries_, x.rows);
    b.Linear(q, layer.q_b, expanded);
    q = expanded.Columns(0, a.heads * a.query_head_dim());
    indexer.queries = expanded.Columns(q.cols, expanded.cols - q.cols);
  }
  if (a.kind == AttentionConfig::Kind::kMla) {
    const Rows latent = row.Columns(0, a.kv_lora_rank);
    b.RmsNorm(latent, layer.kv_a_norm, kLatentNormEps, latent);
    b.Rotate(q.Columns(a.qk_nope_head_dim, q.cols - a.qk_nope_head_dim),
             a.heads, a.query_head_dim());
    b.Rotate(row.Columns(a.kv_lora_rank, a.qk_rope_head_dim), 1, 0);
    if (a.index_topk > 0) {
      const Rows key =
          row.Columns(a.kv_lora_rank + a.qk_rope_head_dim, a.index_head_dim);
      b.LayerNorm(key, layer.index_k_norm, layer.index_k_bias, kLatentNormEps,
                  key);
      b.Rotate(key, 1, 0);
      b.Rotate(indexer.queries, a.index_n_heads, a.index_head_dim);
      indexer.weights = projected.Columns(q_width + row_width, a.index_n_heads);
    }
    if (a.position_beta != 0) {
      b.ScaleByPosition(a.position_beta, a.position_period, q);
    }
  } else {
    if (layer.q_norm != nullptr) {
      b.RmsNormHeads(q, a.heads, a.head_dim, a.head_dim, layer.q_norm,
                     config_.norm_eps);
      b.RmsNormHeads(row, a.kv_heads, 2 * a.head_dim, a.head_dim, layer.k_norm,
                     config_.norm_eps);
    }
    b.Rotate(q, a.heads, a.head_dim);
    b.Rotate(row, a.kv_heads, 2 * a.head_dim);
  }
  b.WriteRows(index, row);
  const Rows attended = Top(attended_, x.rows);
  b.Attend(index, layer.attention, a.index_topk > 0 ? &indexer : nullptr, q,
           attended);
  b.Linear(attended, layer.out, y);
}

void Model::Mlp(const FeedForward& mlp, Rows x, Rows y) {
  Backend& b = *backend_;
  const Rows gate_up =
      Top(gate_up_, x.rows).Columns(0, 2 * mlp.intermediate_size);
  const Rows activated =
      Top(activated_, x.rows).Columns(0, mlp.intermediate_size);
  b.Linear(x, mlp.gate_up, gate_up);
  b.SiluMul(gate_up, activated);
  b.Linear(activated, mlp.down, y);
}

void Model::Moe(const MoeLayer& moe, const LayerNames& names, Rows x, Rows y,
                ActivationTap* tap) {
  Backend& b = *backend_;
  const Rows logits = Top(router_logits_, x.rows);
  b.Linear(x, moe.router, logits);
  Tap(tap, names.router + ".logits", logits);
  Routing routing = b.Route(logits, moe.experts.router);
  if (tap != nullptr) tap->OnRouting(names.router, routing);
  b.Experts(x, routing, moe.experts, y);
  Tap(tap, names.moe + ".experts", y);
  if (moe.shared.down.w != nullptr) {
    const Rows shared = Top(shared_, x.rows);
    Mlp(moe.shared, x, shared);
    Tap(tap, names.moe + ".shared_experts", shared);
    b.AddScaled(shared, 1.0f, y);
  }
  if (moe.output_norm != nullptr) {
    b.RmsNorm(y, moe.output_norm, config_.norm_eps, y);
  }
  Tap(tap, names.moe, y);
}

}  // namespace mla::runtime
