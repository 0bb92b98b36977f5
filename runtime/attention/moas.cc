// MoAS (2512.20650): MHA, GQA and MQA of the same input, each with its own
// projections, weighed by a softmax gate per token: y = sum_a g_a out_a. The
// three are one layout: a group per KV head of each, row [k v | k v | ...].
// Names are our own.
#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr int kParts = 3;

int KvHeads(const AttentionConfig& a, int part) {
  return part == 0 ? a.heads : part == 1 ? a.kv_heads : 1;
}

absl::Status Validate(const AttentionConfig& a) { return CheckHeads(a); }

int HeadDim(const AttentionConfig& a) { return a.head_dim; }

kernels::AttnLayout Layout(const AttentionConfig& a) {
  kernels::AttnLayout l = kernels::GqaLayout(
      kParts * a.heads, a.heads + a.kv_heads + 1, a.head_dim);
  l.first_head = {0};
  for (int part = 0; part < kParts; ++part) {
    const int kv_heads = KvHeads(a, part);
    for (int i = 0; i < kv_heads; ++i) {
      l.first_head.push_back(l.first_head.back() + a.heads / kv_heads);
    }
  }
  return l;
}

int64_t UpParameters(const AttentionConfig&) { return 0; }

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const int hidden = weights.hidden_size();
  const int d = a.head_dim;
  std::vector<OutputBlock> queries, row, outs;
  for (int part = 0; part < kParts; ++part) {
    constexpr const char* kNames[kParts] = {"mha", "gqa", "mqa"};
    const std::string prefix = absl::StrCat(kNames[part], ".");
    ASSIGN_OR_RETURN(
        queries.emplace_back(),
        weights.Read(prefix + "q_proj", a.heads * d, hidden, a.head_part));
    const int kv_heads = KvHeads(a, part);
    const Part kv_part = part == 0   ? a.head_part
                         : part == 1 ? a.group_part
                                     : Part();
    ASSIGN_OR_RETURN(
        const OutputBlock k,
        weights.Read(prefix + "k_proj", kv_heads * d, hidden, kv_part));
    ASSIGN_OR_RETURN(
        const OutputBlock v,
        weights.Read(prefix + "v_proj", kv_heads * d, hidden, kv_part));
    for (int i = 0; i < kv_heads; ++i) {
      row.push_back(Outputs(k, i * d, d));
      row.push_back(Outputs(v, i * d, d));
    }
    ASSIGN_OR_RETURN(outs.emplace_back(),
                     ReadOutput(weights, a, d, prefix + "o_proj"));
  }
  ASSIGN_OR_RETURN(const OutputBlock gates,
                   weights.Read("gate", kParts, hidden));
  const int groups = static_cast<int>(row.size()) / 2;
  SetInput(weights, Concatenate(std::move(queries)),
           Concatenate(std::move(row)), gates, layer);
  layer.gates = kParts;
  layer.q_rotations.push_back({{0, kParts * a.heads, d, d}});
  layer.row_rotations.push_back({{0, groups, 2 * d, d}});
  layer.out = weights.Upload(ConcatenateInputs(std::move(outs)));
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kMoasForm = {"moas", Validate,     HeadDim,      HeadDim,
                                 Layout, UpParameters, ShardKvHeads, Load};

}  // namespace mla::runtime
