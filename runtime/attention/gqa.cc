// Keys and values per group, in TransMLA's exact forms (2502.07864): a latent
// group per KV head, row [k_0 v_0 | k_1 v_1 | ...]; or, if asked for, one
// latent of all, row [k_0 k_1 ... | v_0 v_1 ...], whose up-projections are
// zeros and ones. MHA, GQA, MQA; SQA (2510.01817) has fewer query heads, EffKV
// (2406.07056) fewer KV heads, QCQA (2406.10247) a map of its own, CLA
// (2405.12981) another layer's rows, KHA (2510.23052) a matrix that knocks
// every head's values, keys and queries.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status Validate(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckBetween("num_key_value_heads", a.kv_heads, 1, a.heads));
  RETURN_IF_ERROR(CheckBetween("head_dim", a.head_dim, 2, 4096));
  RETURN_IF_ERROR(CheckBetween("kv_heads * head_dim",
                               int64_t{a.kv_heads} * a.head_dim, 1, 1 << 19));
  RETURN_IF_ERROR(
      CheckBetween("knocking_value_dim", a.knocking_value_dim, 0, 65536));
  if (a.single_latent && (a.knocking_value_dim > 0 || !a.kv_head_of.empty())) {
    return absl::UnimplementedError(
        "a single latent with knocking heads or a map of query heads");
  }
  if (a.kv_head_of.empty()) return CheckHeads(a);
  RETURN_IF_ERROR(CheckBetween("length of kv_head_of_query_head",
                               static_cast<int64_t>(a.kv_head_of.size()),
                               a.heads, a.heads));
  for (int head = 0; head < a.kv_heads; ++head) {
    RETURN_IF_ERROR(CheckBetween(
        absl::StrCat("times that kv_head_of_query_head has ", head).c_str(),
        std::count(a.kv_head_of.begin(), a.kv_head_of.end(), head), 1,
        a.heads));
  }
  for (const int head : a.kv_head_of) {
    RETURN_IF_ERROR(
        CheckBetween("kv_head_of_query_head", head, 0, a.kv_heads - 1));
  }
  return absl::OkStatus();
}

int HeadDim(const AttentionConfig& a) { return a.head_dim; }

// From one key of a row to the next.
int KeyStride(const AttentionConfig& a) {
  return a.single_latent ? a.head_dim : 2 * a.head_dim;
}

kernels::AttnLayout Layout(const AttentionConfig& a) {
  if (a.single_latent) {
    const int all = a.kv_heads * a.head_dim;
    kernels::AttnLayout layout;
    layout.row_width = 2 * all;
    layout.heads = a.heads;
    layout.key[0] = {0, 0, all};
    layout.value[0] = {all, 0, all};
    return layout;
  }
  kernels::AttnLayout layout =
      kernels::GqaLayout(a.heads, a.kv_heads, a.head_dim);
  if (!a.kv_head_of.empty()) {
    layout.first_head.assign(a.kv_heads + 1, 0);
    for (const int head : a.kv_head_of) ++layout.first_head[head + 1];
    std::partial_sum(layout.first_head.begin(), layout.first_head.end(),
                     layout.first_head.begin());
  }
  return layout;
}

// The columns of the query heads, those that read one KV head together.
std::vector<int> SortedHeads(const AttentionConfig& a) {
  std::vector<int> order(a.heads);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int x, int y) {
    return a.kv_head_of[x] < a.kv_head_of[y];
  });
  std::vector<int> columns;
  for (const int head : order) {
    for (int i = 0; i < a.head_dim; ++i)
      columns.push_back(head * a.head_dim + i);
  }
  return columns;
}

// Applies `name` [d, d] to every head, if the checkpoint has it.
absl::Status Knock(const LayerWeights& weights, const std::string& name, int d,
                   OutputBlock& heads) {
  if (!weights.Has(name + ".weight")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const OutputBlock knock, weights.Read(name, d, d));
  std::vector<OutputBlock> knocked;
  for (int first = 0; first < heads.outputs; first += d) {
    knocked.push_back(Compose(knock, Outputs(heads, first, d)));
  }
  heads = Concatenate(std::move(knocked));
  return absl::OkStatus();
}

absl::StatusOr<OutputBlock> ReadQueries(const LayerWeights& weights,
                                        const AttentionConfig& a) {
  const int d = a.head_dim;
  ASSIGN_OR_RETURN(
      OutputBlock q,
      weights.Read("q_proj", a.heads * d, weights.hidden_size(), a.head_part));
  if (a.rope_interleaved) q = Deinterleave(q, d, d);
  RETURN_IF_ERROR(Knock(weights, "q_knock", d, q));
  if (!a.kv_head_of.empty()) q = Select(q, SortedHeads(a));
  return q;
}

absl::StatusOr<OutputBlock> ReadRow(const LayerWeights& weights,
                                    const AttentionConfig& a) {
  const int d = a.head_dim;
  const int outputs = a.kv_heads * d;
  ASSIGN_OR_RETURN(
      OutputBlock k,
      weights.Read("k_proj", outputs, weights.hidden_size(), a.group_part));
  ASSIGN_OR_RETURN(
      OutputBlock v,
      weights.Read("v_proj", outputs, weights.hidden_size(), a.group_part));
  if (a.rope_interleaved) k = Deinterleave(k, d, d);
  RETURN_IF_ERROR(Knock(weights, "k_knock", d, k));
  RETURN_IF_ERROR(Knock(weights, "v_knock", d, v));
  if (a.single_latent) return Concatenate({k, v});
  std::vector<int> map;
  for (int head = 0; head < a.kv_heads; ++head) {
    for (const int first : {head * d, outputs + head * d}) {
      for (int i = 0; i < d; ++i) map.push_back(first + i);
    }
  }
  return Select(Concatenate({k, v}), std::move(map));
}

// For every query head, the ones that pick its KV head out of all.
OutputBlock Pick(const AttentionConfig& a) {
  OutputBlock block;
  block.outputs = a.heads * a.head_dim;
  block.inputs = a.kv_heads * a.head_dim;
  block.rows = [d = a.head_dim, inputs = block.inputs,
                first = a.head_part.First(a.heads),
                share = a.heads * a.head_part.count / a.kv_heads](int row,
                                                                  float* dst) {
    std::fill_n(dst, inputs, 0.0f);
    dst[(first + row / d) / share * d + row % d] = 1.0f;
  };
  return block;
}

absl::Status LoadValueMlp(const LayerWeights& weights, const AttentionConfig& a,
                          AttentionLayer& layer) {
  const int d = a.head_dim;
  auto mlp = std::make_unique<ValueMlp>();
  mlp->width = a.knocking_value_dim;
  mlp->values = {d, a.kv_heads, 2 * d, d};
  ASSIGN_OR_RETURN(const OutputBlock gate,
                   weights.Read("v_knock_gate", mlp->width, d));
  ASSIGN_OR_RETURN(const OutputBlock up,
                   weights.Read("v_knock_up", mlp->width, d));
  ASSIGN_OR_RETURN(const OutputBlock down,
                   weights.Read("v_knock_down", d, mlp->width));
  mlp->gate_up = weights.Upload(Concatenate({gate, up}));
  mlp->down = weights.Upload(Scale(down, 2.0f));
  layer.value_mlp = std::move(mlp);
  return absl::OkStatus();
}

absl::Status Shard(AttentionConfig& a) {
  if (!a.kv_head_of.empty()) {
    return absl::UnimplementedError(
        "query heads that name their KV heads one by one (QCQA) are not "
        "divided among ranks: each KV head has another number of them");
  }
  return a.single_latent ? ShardHeads(a) : ShardKvHeads(a);
}

int64_t UpParameters(const AttentionConfig& a) {
  return int64_t{3} * a.knocking_value_dim * a.head_dim;
}

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const int d = a.head_dim;
  ASSIGN_OR_RETURN(const OutputBlock q, ReadQueries(weights, a));
  OutputBlock row;
  if (a.cache_layer < 0) {
    ASSIGN_OR_RETURN(row, ReadRow(weights, a));
    layer.row_rotations.push_back({{0, a.kv_heads, KeyStride(a), d}});
    if (a.knocking_value_dim > 0) {
      RETURN_IF_ERROR(LoadValueMlp(weights, a, layer));
    }
  }
  SetInput(weights, q, row, {}, layer);
  if (a.single_latent) {
    layer.attention.up =
        weights.UploadUp(Pick(a), a.heads, /*absorb=*/true, Pick(a), a.heads);
  }
  layer.q_rotations.push_back({{0, a.heads, d, d}});
  if (a.qk_norm) {
    ASSIGN_OR_RETURN(const float* q_norm,
                     weights.UploadNorm("q_norm.weight", d));
    layer.q_norms.push_back(
        {{0, a.heads, d, d}, q_norm, nullptr, weights.norm_eps()});
  }
  if (a.qk_norm && a.cache_layer < 0) {
    ASSIGN_OR_RETURN(const float* k_norm,
                     weights.UploadNorm("k_norm.weight", d));
    layer.row_norms.push_back({{0, a.kv_heads, KeyStride(a), d},
                               k_norm,
                               nullptr,
                               weights.norm_eps()});
  }
  ASSIGN_OR_RETURN(OutputBlock out, ReadOutput(weights, a, d));
  if (!a.kv_head_of.empty()) out = SelectInputs(out, SortedHeads(a));
  layer.out = weights.Upload(out);
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kGqaForm = {"gqa",  Validate,     HeadDim, HeadDim,
                                Layout, UpParameters, Shard,   Load};

}  // namespace mla::runtime
