// The attention kernel's wide shapes, and layouts that read rows in groups.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda_host/attention_runner.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::AttentionCase;
using cuda_host::Case;
using cuda_host::Check;
using cuda_host::Compute;
using cuda_host::Engine;
using cuda_host::Order;
using cuda_host::Tokens;

TEST(AttentionShapes, ManyHeadsOfOneLatent) {
  using Latent64 = AttentionShape<128, 64, 64, true, RowLoad::kAsync>;
  Check<Latent64>(Case(MlaLayout(128, 64, 24), {{1, 0}, {2, 31}, {1, 96}}));
}

TEST(AttentionShapes, DeepSeeksLatent) {
  using Shape16 = AttentionShape<576, 512, 16, true, RowLoad::kAsync>;
  using Shape64 = AttentionShape<576, 512, 64, true, RowLoad::kAsync>;
  AttentionCase c = Case(MlaLayout(16, 512, 64), {{1, 40}, {1, 264}});
  c.scale = 1 / std::sqrt(192.0);
  Check<Shape16>(c);
  AttentionCase wide = Case(MlaLayout(128, 512, 64), {{1, 70}});
  wide.scale = c.scale;
  Check<Shape64>(wide, {.bf16_out = true});
}

TEST(AttentionShapes, GroupsOfKeysAndValues) {
  using Async = AttentionShape<64, 64, 16, false, RowLoad::kAsync>;
  using Wide = AttentionShape<64, 64, 64, false, RowLoad::kAsync>;
  using Gather = AttentionShape<64, 64, 16, false, RowLoad::kGather>;
  const Tokens tokens = {{1, 0}, {1, 63}, {7, 30}, {40, 30}};
  Check<Async>(Case(GqaLayout(6, 2, 32), tokens));
  Check<Wide>(Case(GqaLayout(9, 3, 64), tokens));
  Check<Gather>(Case(GqaLayout(4, 4, 20), tokens));
  AttnLayout uneven = GqaLayout(7, 3, 16);
  uneven.first_head = {0, 1, 1, 7};  // the second is read by none
  Check<Async>(Case(uneven, tokens));
  // GTA's: half of each value are keys, which share a rope key.
  AttnLayout tied;
  tied.row_width = 3 * 32 + 16;
  tied.groups = 3;
  tied.heads = 6;
  tied.key[0] = {0, 32, 16};
  tied.key[1] = {96, 0, 16};
  tied.value[0] = {0, 32, 32};
  Check<Async>(Case(tied, tokens));
  Check<Async>(Case(MlaLayout(4, 128, 16, 0, 4, 2), tokens));  // MLRA's slices
}

// The work of one launch, by arithmetic that roofline.py goes by: every row is
// read once for all heads of a tile, every product is a tensor core's, no
// shared address waits for another.
template <class Shape>
void CountsAre(const AttentionCase& c, int tiles_of_queries, int tokens) {
  Engine& engine = Engine::Get();
  engine.set_schedule({Order::kRoundRobin, 1});
  engine.ResetCounters();
  Compute<Shape>(c, {.thread_blocks = 1, .cut_long = false});
  const Engine::Counters& found = engine.counters();
  const uint64_t tiles = uint64_t(tokens + Shape::kTokens - 1) / Shape::kTokens;
  const uint64_t pieces = uint64_t(tiles_of_queries) * c.layout.groups;
  const uint64_t products =
      Shape::kRowWarps * ((Shape::kKeyDim / 16) * (Shape::kTokens / 8) +
                          (Shape::kTokens / 16) * (Shape::kValueDim / 8));
  EXPECT_EQ(found.mma, pieces * tiles * products);
  const uint64_t row =
      2 * (c.layout.key_length() +
           (Shape::kValuesAreKeys ? 0 : c.layout.value_length()));
  const uint64_t queries =
      uint64_t(c.rows) * c.layout.virtual_heads() * c.layout.key_length() * 2;
  EXPECT_EQ(found.copy_async_bytes, pieces * tokens * row + queries);
  EXPECT_EQ(found.load_matrix_extra_wavefronts, 0u);
  EXPECT_EQ(found.block_barriers, pieces * (3 + 3 * tiles));
}

TEST(AttentionShapes, MoveEveryByteOnce) {
  using Latent16 = AttentionShape<576, 512, 16, true, RowLoad::kAsync>;
  using Heads64 = AttentionShape<64, 64, 64, false, RowLoad::kAsync>;
  CountsAre<Latent16>(Case(MlaLayout(16, 512, 64), {{1, 255}}), 1, 256);
  CountsAre<Latent16>(Case(MlaLayout(17, 512, 64), {{1, 99}}), 2, 100);
  CountsAre<Heads64>(Case(GqaLayout(6, 2, 64), {{1, 69}}), 1, 70);
}

}  // namespace
}  // namespace mla::kernels::cuda
