// AttnLayout describes the row one token caches in one layer, and which slices
// of it each latent group reads as keys and values.
//
// Group g's key is the concatenation of the key slices, each starting at
// `offset + g * group_stride`; values likewise, and they may alias keys. A
// query head then is multi-query attention over its group's slices:
//   p = softmax(scale * K_g q_h),   o_h = p V_g.
// MLA (2405.04434): one group, key = [latent r | rope p], value = [latent r].
// GQA in TransMLA's exact form (2502.07864): a group per KV head, row
// [k_0 v_0 k_1 v_1 ...], so nothing is up-projected.
// Units: elements. C++17-clean: .cu files include it.
#ifndef MLA_KERNELS_ATTN_LAYOUT_H_
#define MLA_KERNELS_ATTN_LAYOUT_H_

namespace mla::kernels {

struct Slice {
  int offset = 0;
  int group_stride = 0;  // 0: shared by all groups
  int length = 0;        // 0: unused
};

struct AttnLayout {
  int row_width = 0;
  int groups = 1;
  int heads = 1;  // query heads; head h reads group h * groups / heads
  Slice key[2];
  Slice value[2];
  Slice index;  // the indexer's key, of all heads; length 0: none

  int key_length() const { return key[0].length + key[1].length; }
  int value_length() const { return value[0].length + value[1].length; }
  int heads_per_group() const { return heads / groups; }
};

inline AttnLayout GqaLayout(int heads, int kv_heads, int head_dim) {
  AttnLayout l;
  l.row_width = 2 * kv_heads * head_dim;
  l.groups = kv_heads;
  l.heads = heads;
  l.key[0] = {0, 2 * head_dim, head_dim};
  l.value[0] = {head_dim, 2 * head_dim, head_dim};
  return l;
}

// With an indexer (2512.02556) its key stands behind: see
// cpu/sparse_attention.h.
inline AttnLayout MlaLayout(int heads, int kv_lora_rank, int qk_rope_head_dim,
                            int index_head_dim = 0) {
  AttnLayout l;
  l.row_width = kv_lora_rank + qk_rope_head_dim + index_head_dim;
  l.groups = 1;
  l.heads = heads;
  l.key[0] = {0, 0, kv_lora_rank};
  l.key[1] = {kv_lora_rank, 0, qk_rope_head_dim};
  l.value[0] = {0, 0, kv_lora_rank};
  l.index = {kv_lora_rank + qk_rope_head_dim, 0, index_head_dim};
  return l;
}

}  // namespace mla::kernels

#endif  // MLA_KERNELS_ATTN_LAYOUT_H_
