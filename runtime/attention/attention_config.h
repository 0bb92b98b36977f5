// AttentionConfig: one layer's attention in numbers, whatever system it is.
// Threads: immutable once read; any.
#ifndef MLA_RUNTIME_ATTENTION_ATTENTION_CONFIG_H_
#define MLA_RUNTIME_ATTENTION_ATTENTION_CONFIG_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/attn_layout.h"
#include "runtime/part.h"

namespace mla::runtime {

// How a checkpoint writes attention down; attention_form.h has one entry for
// each. docs/SYSTEMS.md says which systems each one carries.
enum class AttentionKind {
  kGqa,      // keys and values per group
  kMla,      // one latent, whole or in slices, and a shared rope key
  kMha2Mla,  // one latent and a rope key per KV head
  kGta,      // values whose first half are keys, and a shared rope key
  kMfa,      // one wide key, and a value of its own or the same
  kLowRank,  // low-rank keys that are rotated when they are rebuilt
  kMoas,     // MHA, GQA and MQA side by side, weighed by gates
};

struct AttentionConfig {
  AttentionKind kind = AttentionKind::kGqa;
  int heads = 0;
  int q_lora_rank = 0;  // 0: queries are projected at once

  // Where keys and values are heads.
  int kv_heads = 0;
  int head_dim = 0;
  bool qk_norm = false;
  std::vector<int> kv_head_of;  // QCQA: a query head's; empty: evenly
  int knocking_value_dim = 0;   // KHA: the value MLP's; 0: none
  bool single_latent = false;   // TransMLA's other exact form: see gqa.cc

  // Where they are latents.
  int kv_lora_rank = 0;
  int qk_nope_head_dim = 0;
  int qk_rope_head_dim = 0;
  int v_head_dim = 0;
  bool latent_norms = true;
  bool constant_lane =
      false;  // the file's latent has one more: constant_lane.h
  float q_latent_scale = 1.0f;  // factors of the normed latents
  float kv_latent_scale = 1.0f;
  int latent_slices = 1;       // GLA-2: 2; MLRA: 4. Each is normed alone
  int branches = 1;            // MLRA: softmaxes per head, which...
  float branch_scale = 1.0f;   // ...are summed, each times this
  bool split_latent = false;   // which the file has whole: split_latent.h
  int time_stride = 1;         // MTLA: tokens that share a row
  int gate_embedding_dim = 0;  // EG-MLA: of a token's gate; 0: none...
  int gate_tokens = 0;         // ...one for each of the vocabulary
  // DeepSeek-V3.2's indexer; index_topk 0: none, attention is dense
  int index_n_heads = 0;
  int index_head_dim = 0;
  int index_topk = 0;

  // Where keys and values have latents of their own.
  int k_rank = 0;
  int v_rank = 0;
  bool residuals = false;  // LRKV: added to what all heads share

  int rope = 0;  // which of the model's
  // The file stores rotated rows as pairs (2i, 2i+1); they are brought to
  // (i, i + dim/2) when loaded.
  bool rope_interleaved = false;
  bool rotate_on_read = false;  // of MFA's: the row is the key and the value
  float scale = 0;              // of q . k
  // Queries grow with their position (Llama 4's rule, as in Mistral 4):
  // times 1 + beta * log(1 + floor(position / period)).
  float position_beta = 0;
  int position_period = 1;

  int cache_layer = -1;  // CLA: the layer whose rows are read; -1: its own

  // Of a rank among several (shard.h) the sizes above are its own, and these
  // say which part of the file's they are.
  Part rank;
  Part head_part;
  Part group_part;  // of the KV heads, or of the latent's slices
  // Among the ranks that share a group.
  Part PartInGroup() const {
    const int sharing = rank.count / group_part.count;
    return {rank.index % sharing, sharing};
  }

  // Elements of a head's query and output.
  int query_head_dim() const;
  int output_head_dim() const;
  // The row that one token caches in this layer, or in the one it reads.
  kernels::AttnLayout Layout() const;
};

// Ranges and divisibility, so that sizes multiply without overflow.
// INVALID_ARGUMENT names the field.
absl::Status ValidateAttention(const AttentionConfig& config);

// Makes the config that of one rank. INVALID_ARGUMENT where heads or groups
// cannot be divided, UNIMPLEMENTED where this attention cannot.
absl::Status ShardAttention(AttentionConfig& config, Part rank);

// `value` in [low, high], or an error that names `what`.
absl::Status CheckBetween(const char* what, int64_t value, int64_t low,
                          int64_t high);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_ATTENTION_CONFIG_H_
