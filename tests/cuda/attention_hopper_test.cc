// The Hopper attention kernel against a naive double loop, over lengths,
// batches and schedules: what attention_hopper_mutants_test.py makes mistakes
// in. Bounds: tests/support/cuda_host/attention_case.h.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
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
using cuda_host::Schedule;
using cuda_host::Tokens;

using Small = HopperShape<192, 128>;
using Latent = HopperShape<576, 512>;

AttnLayout SmallLatent(int heads) { return MlaLayout(heads, 128, 64); }

// Lengths at which something begins or ends: one, a tile, a page.
const std::vector<int> kLengths = {1, 2, 31, 33, 63, 64, 65, 128, 140};

TEST(HopperAttention, LatentsOfEveryLength) {
  for (const int heads : {1, 16, 63, 64, 66}) {
    for (const int queries : {1, 2, 4}) {
      Tokens tokens;
      for (const int length : kLengths) {
        if (length >= queries) tokens.push_back({queries, length - queries});
      }
      Check<Small>(Case(SmallLatent(heads), tokens, heads * 10 + queries));
      if (HasFailure()) FAIL() << heads << " heads, " << queries << " queries";
    }
  }
}

TEST(HopperAttention, LongSequencesInPieces) {
  for (const int blocks : {1, 2, 7}) {
    Check<Small>(Case(SmallLatent(5), {{1, 256}, {2, 255}, {2, 700}, {1, 3}}),
                 {.thread_blocks = blocks});
    if (HasFailure()) FAIL() << blocks;
  }
  Check<Small>(Case(SmallLatent(70), {{1, 600}}), {.bf16_out = true});
}

TEST(HopperAttention, PagesOfEverySize) {
  for (const int rows : {8, 16, 32, 64, 128, 192}) {
    AttentionCase c;
    c.layout = SmallLatent(20);
    c.block_rows = rows;
    c.Fill({{1, 0}, {2, 62}, {1, 63}, {1, 150}, {1, 300}}, rows);
    Check<Small>(c);
    if (HasFailure()) FAIL() << rows;
  }
}

// Further than exponents of float32 reach, between the tokens of a tile too.
TEST(HopperAttention, ScoresFarApart) {
  AttentionCase c = Case(SmallLatent(20), {{1, 40}, {1, 200}});
  c.scale = 10;
  Check<Small>(c);
}

// Behind the key, rows may have more.
TEST(HopperAttention, RowsWiderThanTheKey) {
  Check<Small>(Case(MlaLayout(9, 128, 64, /*index_head_dim=*/24), {{1, 70}}));
}

TEST(HopperAttention, DeepSeeksLatent) {
  AttentionCase c = Case(MlaLayout(128, 512, 64), {{1, 70}});
  c.scale = 1 / std::sqrt(192.0);
  Check<Latent>(c, {.bf16_out = true});
  AttentionCase two = Case(MlaLayout(64, 512, 64), {{2, 127}, {1, 0}});
  two.scale = c.scale;
  Check<Latent>(two);
}

// Exponents of both kernels are the same; the order of sums is not.
TEST(HopperAttention, AgreesWithThePortableKernel) {
  using Portable = AttentionShape<576, 512, 64, true, RowLoad::kAsync>;
  AttentionCase c = Case(MlaLayout(64, 512, 64), {{1, 299}});
  c.scale = 1 / std::sqrt(192.0);
  Engine::Get().set_schedule({Order::kRandom, 5});
  const std::vector<float> hopper = Compute<Latent>(c, {});
  const std::vector<float> portable = Compute<Portable>(c, {});
  const AttentionCase::Answer answer = c.Solve(false);
  for (size_t i = 0; i < hopper.size(); ++i) {
    ASSERT_LE(std::fabs(hopper[i] - portable[i]), 2 * answer.bound[i]) << i;
  }
}

// Every piece sees nothing: zeros, and an lse of -inf that weighs nothing.
TEST(HopperAttention, PiecesWithoutRows) {
  const AttentionCase c = Case(SmallLatent(64), {{1, 9}});
  const std::vector<int32_t> first_head = {0, 64};
  const std::vector<AttentionWork> work = {{0, 0, 0, 64, 0, 0, -1},
                                           {0, 0, 0, 64, 5, 5, 0}};
  const std::vector<int32_t> work_begin = {0, 2};
  std::vector<float> out(64 * 128, 1.0f), partial(64 * 128, 1.0f), lse(64);
  AttentionArgs args;
  args.q = c.q.data();
  args.q_head_stride = c.q_head_stride();
  args.q_row_stride = int64_t{64} * args.q_head_stride;
  args.cache = c.cache.data();
  args.block_tables = c.block_tables.data();
  args.block_rows = c.block_rows;
  args.format = c.format();
  args.block_bytes = int64_t{c.block_rows} * args.format.bytes;
  std::copy_n(c.layout.key, 2, args.key);
  std::copy_n(c.layout.value, 2, args.value);
  args.first_head = first_head.data();
  args.spans = c.spans.data();
  args.work = work.data();
  args.work_begin = work_begin.data();
  args.virtual_heads = 64;
  args.out_f32 = out.data();
  args.out_head_stride = 128;
  args.out_row_stride = 64 * 128;
  args.partial = partial.data();
  args.partial_lse = lse.data();
  cuda_host::RunPieces(Small(), args, 1);
  EXPECT_EQ(out, std::vector<float>(64 * 128, 0.0f));
  EXPECT_EQ(partial, std::vector<float>(64 * 128, 0.0f));
  EXPECT_EQ(lse, std::vector<float>(64, -INFINITY));
}

// What hardware does beside the threads may also be done at once.
TEST(HopperAttention, CopiesThatComeEarly) {
  const AttentionCase c = Case(SmallLatent(66), {{1, 200}, {2, 90}, {1, 0}});
  Engine::Get().set_schedule({Order::kRandom, 3});
  const std::vector<float> late = Compute<Small>(c, {});
  for (const uint64_t seed : {1, 2, 3}) {
    Engine::Get().set_schedule({Order::kRandom, seed, /*eager_copies=*/true});
    EXPECT_EQ(Compute<Small>(c, {}), late);
  }
}

// Many orders of few rows: where a place is left too early, few of them show.
TEST(HopperAttention, EveryScheduleGivesTheSameBits) {
  const AttentionCase c = Case(SmallLatent(3), {{1, 255}, {1, 70}, {1, 320}});
  std::vector<float> first;
  for (uint64_t seed = 0; seed < 24; ++seed) {
    Engine::Get().set_schedule({static_cast<Order>(seed % 4), seed});
    const std::vector<float> found = Compute<Small>(c, {.thread_blocks = 1});
    if (first.empty()) first = found;
    ASSERT_EQ(found, first) << seed;
  }
}

// A page's number times its bytes need not fit 32 bits.
TEST(HopperAttention, FarPages) {
  AttentionCase c = Case(SmallLatent(2), {{1, 70}});
  const size_t block = static_cast<size_t>(c.block_rows) * c.row_bytes();
  const auto first = static_cast<int>((size_t{1} << 32) / block) + 5;
  const size_t bytes = block * (first + c.cache.size() / block);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* cache = static_cast<unsigned char*>(memory);
  std::copy(c.cache.begin(), c.cache.end(), cache + first * block);
  const std::vector<float> near = Compute<Small>(c, {});
  for (int32_t& b : c.block_tables) b += b < 1000 ? first : 0;
  EXPECT_EQ(Compute<Small>(c, {.cache = cache}), near);
  munmap(memory, bytes);
}

// The same bits alone, in a batch, and on any number of blocks.
TEST(HopperAttention, ARowsBitsAreItsOwn) {
  Engine::Get().set_schedule({Order::kRoundRobin, 1});
  const AttentionCase batch = Case(SmallLatent(64), {{1, 700}, {1, 90}});
  const std::vector<float> both = Compute<Small>(batch, {});
  AttentionCase alone = batch;
  alone.spans.resize(1);
  const std::vector<float> one = Compute<Small>(alone, {.thread_blocks = 11});
  EXPECT_TRUE(
      std::equal(one.begin(), one.begin() + both.size() / 2, both.begin()));
  // A prompt in pieces: rows of other tiles, among others.
  const AttentionCase whole = Case(SmallLatent(10), {{50, 20}});
  const std::vector<float> all = Compute<Small>(whole, {.cut_long = false});
  const size_t row = all.size() / whole.rows;
  for (const int first : {0, 7, 49}) {
    AttentionCase part = whole;
    part.spans = {{first, 50 - first, 20 + first, 0}};
    const std::vector<float> found =
        Compute<Small>(part, {.thread_blocks = 1, .cut_long = false});
    EXPECT_TRUE(std::equal(found.begin() + first * row, found.end(),
                           all.begin() + first * row))
        << first;
  }
}

// The work of one launch, by arithmetic that roofline.py goes by.
TEST(HopperAttention, MovesEveryByteOnce) {
  for (const int heads : {64, 128}) {
    AttentionCase c = Case(MlaLayout(heads, 512, 64), {{1, 127}});
    Engine& engine = Engine::Get();
    engine.set_schedule({Order::kRoundRobin, 1});
    engine.ResetCounters();
    Compute<Latent>(c, {.thread_blocks = 1, .cut_long = false});
    const Engine::Counters& found = engine.counters();
    const uint64_t pieces = heads / 64, tiles = pieces * 2;
    EXPECT_EQ(found.box_bytes, tiles * 64 * 576 * 2);
    EXPECT_EQ(found.warpgroup_products, tiles * 2 * (576 / 16 + 64 / 16));
    EXPECT_EQ(found.warpgroup_flops, tiles * 2 * 64 * 64 * (576 + 512));
    // Each of the two reads all queries and half of the keys, all
    // probabilities and half of the values' columns.
    EXPECT_EQ(found.warpgroup_shared_bytes,
              tiles * 2 * (2 * 64 * 576 + 64 * 576) +
                  tiles * 2 * (2 * 64 * 64 + 64 * 512));
    EXPECT_EQ(found.warpgroup_barriers, pieces * 2 + tiles * 2);
  }
  // Of small pages, none behind the end.
  AttentionCase c;
  c.layout = SmallLatent(3);
  c.block_rows = 16;
  c.Fill({{1, 69}}, 1);
  Engine::Get().ResetCounters();
  Compute<Small>(c, {});
  EXPECT_EQ(Engine::Get().counters().box_bytes, uint64_t{80} * 192 * 2);
}

}  // namespace
}  // namespace mla::kernels::cuda
