// One latent and a rope key that all heads share: row [c | k_rope]. DeepSeek's
// MLA (2405.04434) and its descendants; TransMLA (2502.07864), CARE
// (2603.17946) and X-EcoMLA (2503.11132), whose ranks may differ by layer and
// whose latents may have no norm; GLA-2 (2505.21487) and MLRA (2603.02188),
// which cut the latent into slices; MTLA (2505.13544), whose rows stand for
// several tokens; CLLA (2410.15252), whose layers share latents; EG-MLA
// (2509.16686), whose tokens gate what the latent becomes; TPLA (2508.15881),
// which splits a latent where it is loaded: see split_latent.h.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_form.h"
#include "runtime/attention/constant_lane.h"
#include "runtime/attention/latent_mix.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Of the latents' RMSNorms, whatever rms_norm_eps says, as in transformers...
constexpr float kLatentNormEps = 1e-6f;
// ...and of LayerNorms, as in torch.
constexpr float kLayerNormEps = 1e-5f;

// What published code calls the same things.
struct Names {
  const char* q = "q_proj";
  const char* q_a = "q_a_proj";
  const char* q_norm = "q_a_layernorm";
  const char* q_b = "q_b_proj";
  const char* kv_a = "kv_a_proj_with_mqa";
  const char* kv_norm = "kv_a_layernorm";
  const char* kv_b = "kv_b_proj";
};
constexpr Names kMtlaNames = {"wq",    "wq_a",    "q_norm", "wq_b",
                              "wkv_a", "kv_norm", "wkv_b"};

absl::Status Validate(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckBetween("kv_lora_rank", a.kv_lora_rank, 1, 1 << 18));
  RETURN_IF_ERROR(
      CheckBetween("qk_nope_head_dim", a.qk_nope_head_dim, 1, 65536));
  RETURN_IF_ERROR(
      CheckBetween("qk_rope_head_dim", a.qk_rope_head_dim, 2, 65536));
  RETURN_IF_ERROR(CheckBetween("v_head_dim", a.v_head_dim, 1, 65536));
  RETURN_IF_ERROR(CheckBetween("down_rate", a.time_stride, 1, 16));
  if (a.kv_lora_rank % a.latent_slices != 0 ||
      a.heads * a.branches % a.latent_slices != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_lora_rank ", a.kv_lora_rank, " and ", a.heads,
                     " heads do not make ", a.latent_slices, " equal slices"));
  }
  RETURN_IF_ERROR(
      CheckBetween("gate_embedding_dim", a.gate_embedding_dim, 0, 65536));
  if (a.index_topk == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckBetween("index_n_heads", a.index_n_heads, 1, 65536));
  RETURN_IF_ERROR(CheckBetween("index_head_dim", a.index_head_dim,
                               a.qk_rope_head_dim, 65536));
  return CheckBetween("q_lora_rank with an indexer", a.q_lora_rank, 1, 65536);
}

int QueryHeadDim(const AttentionConfig& a) {
  return a.qk_nope_head_dim + a.qk_rope_head_dim;
}
int OutputHeadDim(const AttentionConfig& a) { return a.v_head_dim; }

kernels::AttnLayout Layout(const AttentionConfig& a) {
  kernels::AttnLayout layout =
      kernels::MlaLayout(a.heads, a.kv_lora_rank, a.qk_rope_head_dim,
                         a.index_head_dim, a.latent_slices, a.branches);
  layout.time_stride = a.time_stride;
  return layout;
}

// A norm of `at`: LayerNorm if the checkpoint has its bias.
absl::StatusOr<NormStep> ReadNorm(const LayerWeights& weights,
                                  const std::string& name, Pieces at,
                                  float scale) {
  NormStep norm;
  norm.at = at;
  ASSIGN_OR_RETURN(norm.weight,
                   weights.UploadNorm(name + ".weight", at.length, scale));
  norm.eps = kLatentNormEps;
  if (weights.Has(name + ".bias")) {
    ASSIGN_OR_RETURN(norm.bias,
                     weights.UploadNorm(name + ".bias", at.length, scale));
    norm.eps = kLayerNormEps;
  }
  return norm;
}

// The row's projection without a constant lane, and as the norm would leave it.
absl::StatusOr<OutputBlock> WithoutLane(const LayerWeights& weights,
                                        const AttentionConfig& a,
                                        const OutputBlock& row) {
  const int rank = a.kv_lora_rank;
  ASSIGN_OR_RETURN(const std::vector<float> factors,
                   LaneFactors(weights, row, rank));
  return Concatenate({ScaleEach(Outputs(row, 0, rank), factors),
                      Outputs(row, rank + 1, row.outputs - rank - 1)});
}

// Of all ranks together.
int AllSlices(const AttentionConfig& a) {
  return a.latent_slices * a.group_part.count;
}
int AllBranches(const AttentionConfig& a) {
  return a.branches * (a.rank.count / a.head_part.count);
}

// Of a latent that is split, which `down` makes. Without norms it is
// TransMLA's, whose elements are principal components of activations: nothing
// better is known.
LatentMix MixOf(const AttentionConfig& a, const OutputBlock& down) {
  return a.latent_norms ? MixByEnergy(down) : NoMix(down.outputs);
}

// A slice's own length stands for its usual part of the latent's; the norm's
// weights are in the up-projection.
absl::Status LoadSplitNorms(const LayerWeights& weights, const Names& names,
                            const AttentionConfig& a, const LatentMix& mix,
                            AttentionLayer& layer) {
  if (!a.latent_norms) return absl::OkStatus();
  if (weights.Has(absl::StrCat(names.kv_norm, ".bias"))) {
    return absl::UnimplementedError(
        "a latent whose norm has a bias is not split");
  }
  const int slice = a.kv_lora_rank / a.latent_slices;
  for (int i = 0; i < a.latent_slices; ++i) {
    const int first = a.group_part.First(a.kv_lora_rank) + i * slice;
    double energy = 0;
    for (int j = first; j < first + slice; ++j) {
      energy += double{mix.size[j]} * mix.size[j];
    }
    const auto size = static_cast<float>(std::sqrt(energy / slice));
    layer.row_norms.push_back(
        {{i * slice, 1, 0, slice},
         weights.UploadVector(std::vector<float>(slice, size)),
         nullptr,
         kLatentNormEps});
  }
  return absl::OkStatus();
}

absl::Status LoadLatentNorms(const LayerWeights& weights, const Names& names,
                             const AttentionConfig& a, AttentionLayer& layer) {
  if (!a.latent_norms || a.constant_lane) return absl::OkStatus();
  const int slice = a.kv_lora_rank / a.latent_slices;
  for (int i = 0; i < a.latent_slices; ++i) {
    std::string name = names.kv_norm;
    const int number = a.group_part.First(a.latent_slices) + i;
    if (AllBranches(a) > 1) {
      name = absl::StrCat("kv_a_layernorms.", number);
    } else if (AllSlices(a) > 1) {
      absl::StrAppend(&name, "_", number + 1);
    }
    ASSIGN_OR_RETURN(
        NormStep norm,
        ReadNorm(weights, name, {i * slice, 1, 0, slice}, a.kv_latent_scale));
    layer.row_norms.push_back(norm);
  }
  return absl::OkStatus();
}

// DeepSeek-V3.2's: its key and its heads' weights, from the layer's input.
absl::Status LoadIndexer(const LayerWeights& weights, const AttentionConfig& a,
                         OutputBlock& row, OutputBlock& more,
                         AttentionLayer& layer) {
  const int first = row.outputs;
  ASSIGN_OR_RETURN(
      const OutputBlock key,
      weights.Read("indexer.wk", a.index_head_dim, weights.hidden_size()));
  ASSIGN_OR_RETURN(more, weights.Read("indexer.weights_proj", a.index_n_heads,
                                      weights.hidden_size()));
  row = Concatenate({row, key});
  ASSIGN_OR_RETURN(NormStep norm, ReadNorm(weights, "indexer.k_norm",
                                           {first, 1, 0, a.index_head_dim}, 1));
  norm.eps = kLatentNormEps;
  layer.row_norms.push_back(norm);
  layer.row_rotations.push_back({{first, 1, 0, a.index_head_dim}});
  layer.q_rotations.push_back({{layer.query_width, a.index_n_heads,
                                a.index_head_dim, a.index_head_dim}});
  return absl::OkStatus();
}

// Of one latent of `rank`, [heads * (nope + v), rank].
absl::StatusOr<OutputBlock> ReadWholeUpProjection(const LayerWeights& weights,
                                                  const Names& names,
                                                  const AttentionConfig& a,
                                                  int heads, int rank) {
  const int both = a.qk_nope_head_dim + a.v_head_dim;
  const Part part = a.PartInGroup();
  if (a.constant_lane) {
    ASSIGN_OR_RETURN(OutputBlock up,
                     weights.Read(names.kv_b, heads * both, rank + 1, part));
    std::vector<int> map(rank);
    std::iota(map.begin(), map.end(), 0);
    return SelectInputs(std::move(up), std::move(map));
  }
  if (!weights.Has("k_b_proj.weight")) {
    return weights.Read(names.kv_b, heads * both, rank, part);
  }
  // As llama.cpp splits it: W_UK absorbed, [heads, r, nope].
  ASSIGN_OR_RETURN(const OutputBlock absorbed,
                   weights.ReadStacked("k_b_proj.weight", heads, rank,
                                       a.qk_nope_head_dim, part));
  ASSIGN_OR_RETURN(
      const OutputBlock v,
      weights.ReadStacked("v_b_proj.weight", heads, a.v_head_dim, rank, part));
  const OutputBlock k = TransposeEach(absorbed, heads);
  std::vector<int> map;
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < a.qk_nope_head_dim; ++i) {
      map.push_back(h * a.qk_nope_head_dim + i);
    }
    for (int i = 0; i < a.v_head_dim; ++i) {
      map.push_back(k.outputs + h * a.v_head_dim + i);
    }
  }
  return Select(Concatenate({k, v}), std::move(map));
}

// Of a latent that is split, for each of the rank's slices: W diag(norm) U^T.
absl::StatusOr<OutputBlock> ReadSplitUpProjection(const LayerWeights& weights,
                                                  const Names& names,
                                                  const AttentionConfig& a,
                                                  const LatentMix& mix) {
  const int rank = a.kv_lora_rank * a.group_part.count;
  ASSIGN_OR_RETURN(const OutputBlock whole,
                   ReadWholeUpProjection(weights, names, a, a.heads, rank));
  OutputBlock back = TransposeEach(mix.u, 1);
  if (a.latent_norms) {
    ASSIGN_OR_RETURN(
        std::vector<float> norm,
        weights.ReadVector(absl::StrCat(names.kv_norm, ".weight"), rank));
    for (float& w : norm) w *= a.kv_latent_scale;
    back = ScaleEach(back, std::move(norm));
  }
  const OutputBlock mixed = Compose(whole, back);
  const int slice = a.kv_lora_rank / a.latent_slices;
  std::vector<OutputBlock> slices;
  for (int i = 0; i < a.latent_slices; ++i) {
    std::vector<int> map(slice);
    std::iota(map.begin(), map.end(),
              a.group_part.First(a.kv_lora_rank) + i * slice);
    slices.push_back(SelectInputs(mixed, std::move(map)));
  }
  return Concatenate(std::move(slices));
}

// Per virtual head, W_UK's rows and then W_UV's. `mix` null: the latent is not
// split.
absl::StatusOr<OutputBlock> ReadUpProjection(const LayerWeights& weights,
                                             const Names& names,
                                             const AttentionConfig& a,
                                             const LatentMix* mix) {
  const int both = a.qk_nope_head_dim + a.v_head_dim;
  const int slice = a.kv_lora_rank / a.latent_slices;
  const int heads = a.heads * a.branches;
  const Part part = a.PartInGroup();
  if (mix != nullptr) return ReadSplitUpProjection(weights, names, a, *mix);
  if (AllBranches(a) > 1) {  // MLRA: [slices, slice, outputs]
    const int outputs = heads / a.latent_slices * both * part.count;
    ASSIGN_OR_RETURN(const OutputBlock stacked,
                     weights.ReadStacked(names.kv_b, a.latent_slices, slice,
                                         outputs, a.group_part));
    return OutputPart(TransposeEach(stacked, a.latent_slices), part);
  }
  if (AllSlices(a) == 1) {
    return ReadWholeUpProjection(weights, names, a, heads, slice);
  }
  std::vector<OutputBlock> slices;
  for (int i = 0; i < a.latent_slices; ++i) {
    const int number = a.group_part.First(a.latent_slices) + i;
    ASSIGN_OR_RETURN(slices.emplace_back(),
                     weights.Read(absl::StrCat(names.kv_b, "_", number + 1),
                                  heads / a.latent_slices * both, slice, part));
  }
  return Concatenate(std::move(slices));
}

absl::Status LoadUpProjection(const LayerWeights& weights, const Names& names,
                              const AttentionConfig& a, const LatentMix* mix,
                              AttentionLayer& layer) {
  ASSIGN_OR_RETURN(const OutputBlock kv_b,
                   ReadUpProjection(weights, names, a, mix));
  const int both = a.qk_nope_head_dim + a.v_head_dim;
  std::vector<int> k, v;
  for (int i = 0; i < kv_b.outputs; ++i) {
    (i % both < a.qk_nope_head_dim ? k : v).push_back(i);
  }
  const int heads = a.heads * a.branches;
  layer.attention.up = weights.UploadUp(
      Select(kv_b, std::move(k)), heads, /*absorb=*/true,
      Scale(Select(kv_b, std::move(v)), a.branch_scale), heads);
  return absl::OkStatus();
}

// EG-MLA's; names besides MLA's own are ours, no code was found.
absl::Status LoadGated(const LayerWeights& weights, const Names& names,
                       const AttentionConfig& a, AttentionLayer& layer) {
  auto gated = std::make_shared<GatedWeights>();
  const int outputs = a.heads * (a.qk_nope_head_dim + a.v_head_dim);
  const int embedding = a.gate_embedding_dim;
  ASSIGN_OR_RETURN(const OutputBlock up,
                   weights.Read(names.kv_b, outputs, a.kv_lora_rank));
  ASSIGN_OR_RETURN(const OutputBlock gate,
                   weights.Read("gate_b_proj", outputs, embedding));
  ASSIGN_OR_RETURN(const OutputBlock table,
                   weights.Read("gate_embedding", a.gate_tokens, embedding));
  gated->up = weights.UploadWide(up);
  gated->gate = weights.UploadWide(gate);
  gated->table = weights.UploadWide(table);
  ASSIGN_OR_RETURN(gated->norm,
                   weights.UploadNorm("kv_b_layernorm.weight", outputs));
  ASSIGN_OR_RETURN(gated->norm_bias,
                   weights.UploadNorm("kv_b_layernorm.bias", outputs));
  gated->eps = kLayerNormEps;
  gated->nope = a.qk_nope_head_dim;
  gated->rope = a.qk_rope_head_dim;
  gated->v_dim = a.v_head_dim;
  layer.attention.gated = std::move(gated);
  return absl::OkStatus();
}

absl::Status LoadTimeGate(const LayerWeights& weights, const AttentionConfig& a,
                          AttentionLayer& layer) {
  auto gate = std::make_unique<TimeGate>();
  gate->latent = a.kv_lora_rank;
  gate->width = a.kv_lora_rank / 4;
  ASSIGN_OR_RETURN(
      const OutputBlock token,
      weights.Read("hypernet_down.fc_p", gate->width, a.kv_lora_rank));
  ASSIGN_OR_RETURN(
      const OutputBlock chunk,
      weights.Read("hypernet_down.fc_c", gate->width, a.kv_lora_rank));
  gate->token = weights.Upload(token);
  gate->chunk = weights.Upload(chunk);
  layer.time_gate = std::move(gate);
  return absl::OkStatus();
}

absl::Status LoadQueryLatent(const LayerWeights& weights, const Names& names,
                             const AttentionConfig& a, AttentionLayer& layer) {
  const int head = QueryHeadDim(a);
  if (a.latent_norms) {
    ASSIGN_OR_RETURN(NormStep norm,
                     ReadNorm(weights, names.q_norm, {0, 1, 0, a.q_lora_rank},
                              a.q_latent_scale));
    layer.q_a_norms.push_back(norm);
  }
  ASSIGN_OR_RETURN(OutputBlock q_b, weights.Read(names.q_b, a.heads * head,
                                                 a.q_lora_rank, a.head_part));
  if (a.rope_interleaved) q_b = Deinterleave(q_b, head, a.qk_rope_head_dim);
  if (a.index_topk > 0) {
    ASSIGN_OR_RETURN(
        const OutputBlock index,
        weights.Read("indexer.wq_b", a.index_n_heads * a.index_head_dim,
                     a.q_lora_rank));
    q_b = Concatenate({q_b, index});
  }
  layer.q_b = weights.Upload(q_b);
  layer.q_b_width = q_b.outputs;
  return absl::OkStatus();
}

// The latent's slices are divided as far as they go; ranks that share one
// divide its heads. Branches are summed behind the output projection, so that
// ranks may have one each.
absl::Status Shard(AttentionConfig& a) {
  if (a.gate_embedding_dim > 0) {
    return absl::UnimplementedError(
        "gated latents (EG-MLA) are not divided among ranks: kv_b_layernorm is "
        "taken over all heads");
  }
  const int ranks = a.rank.count;
  const int branches = std::min(ranks, a.branches);
  const int slices = std::min(ranks, a.latent_slices);
  for (const int parts : {branches, slices}) {
    RETURN_IF_ERROR(CheckDivides("the number of ranks,", ranks, parts));
  }
  RETURN_IF_ERROR(CheckDivides("branches", a.branches, branches));
  RETURN_IF_ERROR(CheckDivides("latent slices", a.latent_slices, slices));
  RETURN_IF_ERROR(
      CheckDivides("num_attention_heads", a.heads, ranks / branches));
  a.head_part = {a.rank.index % (ranks / branches), ranks / branches};
  a.group_part = {a.rank.index * slices / ranks, slices};
  a.heads /= a.head_part.count;
  a.branches /= branches;
  a.latent_slices /= slices;
  a.kv_lora_rank /= slices;
  return absl::OkStatus();
}

int64_t UpParameters(const AttentionConfig& a) {
  int64_t up = int64_t{a.kv_lora_rank} / a.latent_slices * a.heads *
               a.branches * (a.qk_nope_head_dim + a.v_head_dim);
  if (a.time_stride > 1) up += int64_t{a.kv_lora_rank} / 4 * a.kv_lora_rank * 2;
  if (a.gate_embedding_dim > 0) {
    up += int64_t{a.gate_embedding_dim} *
          (a.gate_tokens + a.heads * (a.qk_nope_head_dim + a.v_head_dim));
  }
  return up;
}

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const Names names = weights.Has("wkv_b.weight") ? kMtlaNames : Names();
  const int hidden = weights.hidden_size();
  const int head = QueryHeadDim(a);
  const int rank = a.kv_lora_rank;
  const int rope = a.qk_rope_head_dim;
  layer.q_rotations.push_back({{a.qk_nope_head_dim, a.heads, head, rope}});
  const bool q_latent = a.q_lora_rank > 0;
  ASSIGN_OR_RETURN(OutputBlock q,
                   weights.Read(q_latent ? names.q_a : names.q,
                                q_latent ? a.q_lora_rank : a.heads * head,
                                hidden, q_latent ? Part() : a.head_part));
  if (a.rope_interleaved && !q_latent) q = Deinterleave(q, head, rope);
  OutputBlock row, more;
  std::optional<LatentMix> mix;
  if (a.cache_layer < 0) {
    const int latents = rank * a.group_part.count + (a.constant_lane ? 1 : 0);
    const int rows = latents + rope;
    ASSIGN_OR_RETURN(row, weights.Read(names.kv_a, rows, hidden));
    if (a.rope_interleaved) row = Deinterleave(row, rows, rope);
    if (a.constant_lane) {
      ASSIGN_OR_RETURN(row, WithoutLane(weights, a, row));
    }
    if (a.split_latent) {
      const OutputBlock latent = Outputs(row, 0, latents);
      mix = MixOf(a, latent);
      row = Concatenate({Compose(mix->u, latent), Outputs(row, latents, rope)});
      RETURN_IF_ERROR(LoadSplitNorms(weights, names, a, *mix, layer));
    } else {
      RETURN_IF_ERROR(LoadLatentNorms(weights, names, a, layer));
    }
    if (a.group_part.count > 1) {
      row = Concatenate({OutputPart(Outputs(row, 0, latents), a.group_part),
                         Outputs(row, latents, rope)});
    }
    layer.row_rotations.push_back({{rank, 1, 0, rope}});
    if (a.index_topk > 0) {
      RETURN_IF_ERROR(LoadIndexer(weights, a, row, more, layer));
    }
    if (a.time_stride > 1) RETURN_IF_ERROR(LoadTimeGate(weights, a, layer));
  }
  SetInput(weights, q, row, more, layer);
  if (q_latent) RETURN_IF_ERROR(LoadQueryLatent(weights, names, a, layer));
  RETURN_IF_ERROR(
      a.gate_embedding_dim > 0
          ? LoadGated(weights, names, a, layer)
          : LoadUpProjection(weights, names, a, mix ? &*mix : nullptr, layer));
  ASSIGN_OR_RETURN(const OutputBlock out, ReadOutput(weights, a, a.v_head_dim));
  layer.out = weights.Upload(out);
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kMlaForm = {"mla",         Validate, QueryHeadDim,
                                OutputHeadDim, Layout,   UpParameters,
                                Shard,         Load};

}  // namespace mla::runtime
