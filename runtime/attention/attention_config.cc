// Tested by tests/runtime/model_config_test.cc.
#include "runtime/attention/attention_config.h"

#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr int kMaxRow = 1 << 20;
constexpr int kMaxProjection = 1 << 26;

}  // namespace

absl::Status CheckBetween(const char* what, int64_t value, int64_t low,
                          int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, " is ", value, ", must be in [", low, ", ", high, "]"));
}

int AttentionConfig::query_head_dim() const {
  return FormOf(kind).query_head_dim(*this);
}

int AttentionConfig::output_head_dim() const {
  return FormOf(kind).output_head_dim(*this);
}

kernels::AttnLayout AttentionConfig::Layout() const {
  return FormOf(kind).layout(*this);
}

absl::Status ShardAttention(AttentionConfig& a, Part rank) {
  a.rank = rank;
  return FormOf(a.kind).shard(a);
}

absl::Status ValidateAttention(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckBetween("num_attention_heads", a.heads, 1, 65536));
  RETURN_IF_ERROR(CheckBetween("q_lora_rank", a.q_lora_rank, 0, kMaxRow));
  RETURN_IF_ERROR(FormOf(a.kind).validate(a));
  // So that sizes of projections, counted in ints, do not overflow.
  for (const int64_t dim : {a.query_head_dim(), a.output_head_dim(),
                            a.qk_nope_head_dim + a.v_head_dim}) {
    RETURN_IF_ERROR(CheckBetween("heads * elements of a head",
                                 int64_t{a.heads} * a.branches * dim, 0,
                                 kMaxProjection));
  }
  RETURN_IF_ERROR(CheckBetween("index_n_heads * index_head_dim",
                               int64_t{a.index_n_heads} * a.index_head_dim, 0,
                               kMaxProjection));
  return CheckBetween("the cache row's width", a.Layout().row_width, 1,
                      kMaxRow);
}

}  // namespace mla::runtime
