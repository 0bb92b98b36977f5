// AttnLayout describes the row one token caches in one layer, and which slices
// of it each latent group reads as keys and values.
//
// Group g's key is the concatenation of the key slices, each starting at
// `offset + g * group_stride`; values likewise, and they may alias keys. A
// virtual head then is multi-query attention over its group's slices:
//   p = softmax(scale * K_g q_h),   o_h = p V_g,
// and a head's output is the sum over its branches. Virtual head
// branch * heads + head is sorted by the group it reads.
//   MLA (2405.04434): one group, key = [latent r | rope p], value = [latent r].
//   GQA in TransMLA's exact form (2502.07864): a group per KV head, row
//   [k_0 v_0 k_1 v_1 ...], so nothing is up-projected.
//   MLRA-4 (2603.02188): the latent in four slices, each a group and a branch.
// Units: elements. C++17-clean: .cu files include it.
#ifndef MLA_KERNELS_ATTN_LAYOUT_H_
#define MLA_KERNELS_ATTN_LAYOUT_H_

#include <vector>

namespace mla::kernels {

struct Slice {
  int offset = 0;
  int group_stride = 0;  // 0: shared by all groups
  int length = 0;        // 0: unused
};

struct AttnLayout {
  int row_width = 0;
  int groups = 1;
  int heads = 1;     // of queries and of outputs
  int branches = 1;  // softmaxes per head
  // [groups + 1]: group g is read by virtual heads [first_head[g],
  // first_head[g + 1]). Empty: by equally many each.
  std::vector<int> first_head;
  Slice key[2];
  Slice value[2];
  Slice index;  // the indexer's key, of all heads; length 0: none
  // Keys are up-projected, if there is something to, and rotated when they are
  // read: what is rotated afterwards cannot be absorbed.
  bool rotate_on_read = false;
  // Tokens that a row stands for. The newest row is not final until it stands
  // for that many.
  int time_stride = 1;

  int key_length() const { return key[0].length + key[1].length; }
  int value_length() const { return value[0].length + value[1].length; }
  int virtual_heads() const { return heads * branches; }
  int FirstHead(int group) const {
    return first_head.empty() ? group * (virtual_heads() / groups)
                              : first_head[group];
  }
  int GroupHeads(int group) const {
    return FirstHead(group + 1) - FirstHead(group);
  }
  int GroupOf(int virtual_head) const {
    int group = 0;
    while (virtual_head >= FirstHead(group + 1)) ++group;
    return group;
  }
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
// cpu/sparse_attention.h. A latent in `slices` is read a slice at a time.
inline AttnLayout MlaLayout(int heads, int kv_lora_rank, int qk_rope_head_dim,
                            int index_head_dim = 0, int slices = 1,
                            int branches = 1) {
  const int slice = kv_lora_rank / slices;
  AttnLayout l;
  l.row_width = kv_lora_rank + qk_rope_head_dim + index_head_dim;
  l.groups = slices;
  l.heads = heads;
  l.branches = branches;
  l.key[0] = {0, slice, slice};
  l.key[1] = {kv_lora_rank, 0, qk_rope_head_dim};
  l.value[0] = {0, slice, slice};
  l.index = {kv_lora_rank + qk_rope_head_dim, 0, index_head_dim};
  return l;
}

}  // namespace mla::kernels

#endif  // MLA_KERNELS_ATTN_LAYOUT_H_
