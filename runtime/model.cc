// The layer loop. It reads like the papers: DeepSeek-V2 (2405.04434) section
// 2.1 for latent attention, the Llama architecture around it.
// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/model.h"

#include <algorithm>

namespace mla::runtime {
namespace {

Rows Top(Rows x, int rows) { return x.Slice(0, rows); }

void Tap(Backend& b, ActivationTap* tap, std::string_view name, Rows x) {
  if (tap != nullptr) tap->OnActivation(name, b.Read(x));
}

void Tap(Backend& b, ActivationTap* tap, std::string_view name,
         RoutingRows routing) {
  if (tap == nullptr) return;
  const size_t pairs = size_t(routing.rows) * routing.top_k;
  Routing r{std::vector<int32_t>(pairs), std::vector<float>(pairs)};
  b.CopyOut(routing.experts, pairs * sizeof(int32_t), r.experts.data());
  b.CopyOut(routing.weights, pairs * sizeof(float), r.weights.data());
  tap->OnRouting(name, r);
  b.CopyIn(r.experts.data(), pairs * sizeof(int32_t), routing.experts);
  b.CopyIn(r.weights.data(), pairs * sizeof(float), routing.weights);
}

void Tap(Backend& b, ActivationTap* tap, std::string_view name,
         SelectionRows selection) {
  if (tap == nullptr) return;
  Selection s{selection.top_k,
              std::vector<int32_t>(size_t(selection.rows) * selection.top_k)};
  const size_t bytes = s.positions.size() * sizeof(int32_t);
  b.CopyOut(selection.positions, bytes, s.positions.data());
  tap->OnSelection(name, s);
  b.CopyIn(s.positions.data(), bytes, selection.positions);
}

}  // namespace

Rows Model::Forward(const StepBatch& batch, ActivationTap* tap) {
  return backend_->Read(Compute(batch, tap));
}

int64_t Model::Start(const StepBatch& batch) {
  const Rows logits = Compute(batch, nullptr);
  int64_t step = 0;
  if (lm_head_.w != nullptr) {
    step = backend_->Sample(logits);
    // Several ranks wait together, or nobody would look after the first.
    if (config_.rank.count > 1) backend_->Drawn(step);
  } else {
    backend_->Read(logits);
  }
  return step;
}

bool Model::runs_ahead() const {
  // Gates need all tokens' ids on the host.
  return backend_->runs_ahead() &&
         std::none_of(layers_.begin(), layers_.end(), [](const Layer& layer) {
           return layer.attention.attention.gated != nullptr;
         });
}

// Returns logits, which may not be there yet.
Rows Model::Compute(const StepBatch& batch, ActivationTap* tap) {
  Backend& b = *backend_;
  const int rows = batch.num_tokens();
  const Rows x = Top(hidden_, rows);
  // Of several ranks the first has the output head.
  const bool has_head = lm_head_.w != nullptr;
  const int wanted = has_head ? static_cast<int>(batch.logit_rows.size()) : 0;
  const Rows logits = Top(logits_, wanted);
  b.BeginStep(batch, config_.ropes);
  if (tap == nullptr && b.Replay()) return logits;
  b.Embed(embedding_, config_.embedding_scale, x);
  Tap(b, tap, "model.embed_tokens", x);
  StepLayers(x, tap);
  if (!has_head) return logits;

  if (tap != nullptr) {
    const Rows normed = Top(normed_, rows);
    b.RmsNorm(x, final_norm_, config_.norm_eps, normed);
    Tap(b, tap, "model.norm", normed);
  }
  const Rows last = Top(logit_hidden_, wanted);
  b.Gather(x, batch.logit_rows, last);
  b.RmsNorm(last, logit_norm_, config_.norm_eps, last);
  b.Linear(last, lm_head_, logits);
  return logits;
}

void Model::RunLayers(const StepBatch& batch, Rows x, ActivationTap* tap) {
  backend_->BeginStep(batch, config_.ropes);
  StepLayers(x, tap);
}

void Model::RunAttention(const StepBatch& batch, Rows x, ActivationTap* tap) {
  backend_->BeginStep(batch, config_.ropes);
  for (const Layer& layer : layers_) StepAttention(layer, x, tap);
}

void Model::StepAttention(const Layer& layer, Rows x, ActivationTap* tap) {
  Backend& b = *backend_;
  const Rows normed = Top(normed_, x.rows);
  const Rows branch = Top(branch_, x.rows);
  b.RmsNorm(x, layer.input_norm, config_.norm_eps, normed);
  Attention(layer, normed, branch, tap);
  Tap(b, tap, layer.names.attention, branch);
  b.AddScaled(branch, config_.residual_scale, x);
}

void Model::StepLayers(Rows x, ActivationTap* tap) {
  Backend& b = *backend_;
  const Rows normed = Top(normed_, x.rows);
  const Rows branch = Top(branch_, x.rows);
  bool shortcut = false;  // experts' output waits to be added
  for (const Layer& layer : layers_) {
    StepAttention(layer, x, tap);

    b.RmsNorm(x, layer.post_attention_norm, config_.norm_eps, normed);
    if (layer.moe != nullptr) {
      shortcut = config_.paired_layers;
      const Rows y = shortcut ? Top(shortcut_, x.rows) : branch;
      Moe(*layer.moe, layer.names, normed, y, tap);
    }
    if (layer.mlp.down.w != nullptr) {
      Mlp(layer.mlp, normed, branch);
      b.AllReduce(branch);
      Tap(b, tap, layer.names.mlp, branch);
    }
    b.AddScaled(branch, config_.residual_scale, x);
    if (shortcut && layer.moe == nullptr) {
      b.AddScaled(Top(shortcut_, x.rows), 1.0f, x);
      shortcut = false;
    }
    Tap(b, tap, layer.names.layer, x);
  }
}

void Model::Attention(const Layer& whole, Rows x, Rows y, ActivationTap* tap) {
  Backend& b = *backend_;
  const AttentionLayer& layer = whole.attention;
  const Rows projected =
      Top(projected_, x.rows)
          .Columns(0, layer.q_width + layer.row_width + layer.more_width);
  b.Linear(x, layer.in, projected);
  Rows q = projected.Columns(0, layer.q_width);
  const Rows row = projected.Columns(layer.q_width, layer.row_width);
  const Rows more =
      projected.Columns(layer.q_width + layer.row_width, layer.more_width);
  if (layer.q_b.w != nullptr) {
    Apply(b, {layer.q_a_norms, {}, layer.rope}, q);
    const Rows expanded = Top(queries_, x.rows).Columns(0, layer.q_b_width);
    b.Linear(q, layer.q_b, expanded);
    q = expanded;
  }
  Apply(b, {layer.q_norms, layer.q_rotations, layer.rope}, q);
  if (layer.position_beta != 0) {
    b.ScaleByPosition(layer.position_beta, layer.position_period, q);
  }
  if (layer.row_width > 0) StoreRow(layer, row);

  const Rows attended = Top(attended_, x.rows).Columns(0, layer.attended_width);
  const Rows queries = q.Columns(0, layer.query_width);
  SelectionRows selection;
  if (layer.index_topk > 0) {
    const Rows index = q.Columns(queries.cols, q.cols - queries.cols);
    selection = b.Select(layer.cache_layer, layer.attention,
                         {layer.index_n_heads, layer.index_topk, index, more});
    Tap(b, tap, whole.names.attention, selection);
  }
  b.Attend(layer.cache_layer, layer.attention,
           layer.index_topk > 0 ? &selection : nullptr, queries, attended);
  if (layer.gates > 0) b.ScaleParts(more, attended);
  if (tap != nullptr) tap->OnAttended(b.Read(attended));
  b.Linear(attended, layer.out, y);
  b.AllReduce(y);
}

// Norms, gates and rotates the row, and puts it into the cache.
void Model::StoreRow(const AttentionLayer& layer, Rows row) {
  Backend& b = *backend_;
  RowSteps steps{layer.row_norms, layer.row_rotations, layer.rope};
  if (layer.time_gate != nullptr || layer.value_mlp != nullptr) {
    Apply(b, {layer.row_norms, {}, layer.rope}, row);
    steps.norms = {};
  }
  if (const TimeGate* gate = layer.time_gate.get()) {
    const Rows latent = row.Columns(0, gate->latent);
    const Rows scratch = Top(gating_, row.rows);
    const Rows sinusoids = scratch.Columns(0, gate->latent);
    const Rows token = scratch.Columns(gate->latent, gate->width);
    const Rows chunk = scratch.Columns(gate->latent + gate->width, gate->width);
    b.Sinusoids(layer.attention.layout.time_stride, sinusoids);
    b.Linear(sinusoids, gate->chunk, chunk);
    b.Linear(latent, gate->token, token);
    b.ScaleBySigmoidDot(token, chunk, latent);
  }
  if (const ValueMlp* mlp = layer.value_mlp.get()) {
    const Rows scratch = Top(gating_, row.rows);
    const Rows gate_up = scratch.Columns(0, 2 * mlp->width);
    const Rows inner = scratch.Columns(2 * mlp->width, mlp->width);
    for (int i = 0; i < mlp->values.count; ++i) {
      const Rows value = row.Columns(mlp->values.first + i * mlp->values.stride,
                                     mlp->values.length);
      b.Linear(value, mlp->gate_up, gate_up);
      b.SigmoidMul(gate_up, inner);
      b.Linear(inner, mlp->down, value);
    }
  }
  b.WriteRows(layer.cache_layer, steps, row);
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
  Tap(b, tap, names.router + ".logits", logits);
  const RoutingRows routing = b.Route(logits, moe.experts.router);
  Tap(b, tap, names.router, routing);
  b.Experts(x, routing, moe.experts, y);
  // Of one rank among several, a part of a sum that nobody else has.
  ActivationTap* const whole = config_.rank.count == 1 ? tap : nullptr;
  Tap(b, whole, names.moe + ".experts", y);
  if (moe.shared.down.w != nullptr) {
    const Rows shared = Top(shared_, x.rows);
    Mlp(moe.shared, x, shared);
    Tap(b, whole, names.moe + ".shared_experts", shared);
    b.AddScaled(shared, 1.0f, y);
  }
  b.AllReduce(y);
  if (moe.output_norm != nullptr) {
    b.RmsNorm(y, moe.output_norm, config_.norm_eps, y);
  }
  Tap(b, tap, names.moe, y);
}

}  // namespace mla::runtime
