// The attention kernel against a naive double loop, over lengths, batches and
// schedules: what attention_mutants_test.py makes mistakes in. Bounds:
// tests/support/cuda_host/attention_case.h.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
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
using cuda_host::Way;

// Lengths at which something begins or ends: one, a tile, a page, a piece.
const std::vector<int> kLengths = {1, 2, 20, 31, 32, 33, 63, 64, 65, 140};

using Latent16 = AttentionShape<128, 64, 16, true, RowLoad::kAsync>;

TEST(AttentionKernel, LatentsOfEveryLengthAndNumberOfHeads) {
  for (int heads : {1, 3, 9, 16, 17}) {
    const AttnLayout layout = MlaLayout(heads, 64, 24);
    for (int queries : {1, 2, 4}) {
      Tokens tokens;
      for (int length : kLengths) {
        if (length >= queries) tokens.push_back({queries, length - queries});
      }
      Check<Latent16>(Case(layout, tokens, heads * 10 + queries));
      if (HasFailure()) FAIL() << heads << " heads, " << queries << " queries";
    }
  }
}

TEST(AttentionKernel, LongSequencesInPieces) {
  const AttnLayout layout = MlaLayout(5, 64, 24);
  for (int blocks : {1, 2, 7}) {
    Check<Latent16>(Case(layout, {{1, 256}, {1, 255}, {2, 700}, {1, 3}}),
                    {.thread_blocks = blocks});
    if (HasFailure()) FAIL() << blocks;
  }
  Check<Latent16>(Case(layout, {{1, 600}}), {.bf16_out = true});
}

TEST(AttentionKernel, RowsOfAnyWidthAndType) {
  using Gather = AttentionShape<64, 64, 16, true, RowLoad::kGather>;
  for (bool f32 : {false, true}) {
    for (const auto& [rank, rope] : std::vector<std::pair<int, int>>{
             {1, 2}, {33, 6}, {47, 10}, {48, 16}}) {
      AttentionCase c;
      c.layout = MlaLayout(3, rank, rope, /*index_head_dim=*/5);
      c.type = f32 ? DType::kF32 : DType::kBF16;
      c.block_rows = 4;
      c.Fill({{1, 0}, {1, 8}, {3, 40}}, rank);
      Check<Gather>(c, {.bf16_out = f32});
      if (HasFailure()) FAIL() << rank << " " << rope << " " << f32;
    }
  }
}

TEST(AttentionKernel, Fp8RowsWithAnyScales) {
  using Codes16 = AttentionShape<256, 256, 16, true, RowLoad::kCodes>;
  using Codes64 = AttentionShape<256, 256, 64, true, RowLoad::kCodes>;
  using Heads = AttentionShape<64, 64, 16, false, RowLoad::kCodes>;
  using Gather = AttentionShape<256, 256, 16, true, RowLoad::kGather>;
  const auto fp8 = [](const AttnLayout& layout, uint64_t seed) {
    AttentionCase c;
    c.layout = layout;
    c.type = DType::kF8E4M3;
    c.Fill({{1, 0}, {1, 63}, {2, 139}}, seed);
    return c;
  };
  Check<Codes16>(fp8(MlaLayout(5, 160, 24), 1));
  Check<Codes64>(fp8(MlaLayout(40, 160, 24), 2), {.bf16_out = true});
  Check<Heads>(fp8(GqaLayout(6, 3, 40), 3));
  Check<Gather>(fp8(MlaLayout(3, 141, 6, /*index_head_dim=*/5), 4));
}

TEST(AttentionKernel, RowsThatStandForSeveralTokens) {
  using Gather = AttentionShape<64, 64, 16, true, RowLoad::kGather>;
  AttentionCase c;
  c.layout = MlaLayout(3, 40, 8);
  c.layout.time_stride = 3;
  c.block_rows = 16;
  c.Fill({{1, 0}, {1, 1}, {1, 2}, {5, 95}, {1, 190}}, 1);
  Check<Gather>(c);
}

TEST(AttentionKernel, QueriesThatChooseTheirRows) {
  using Gather = AttentionShape<64, 64, 16, true, RowLoad::kGather>;
  AttentionCase c;
  c.layout = MlaLayout(18, 40, 8, /*index_head_dim=*/8);
  c.top_k = 37;
  c.Fill({{1, 0}, {4, 35}, {1, 150}}, 1);
  Check<Gather>(c);
}

TEST(AttentionKernel, KeysThatComeInParts) {
  using Heads = AttentionShape<64, 64, 64, false, RowLoad::kAsync>;
  const AttentionCase c = Case(GqaLayout(3, 3, 48), {{70, 65}});
  for (int parts : {1, 2, 3, 5}) {
    Check<Heads>(c, {.cut_long = false, .parts = parts});
    if (HasFailure()) FAIL() << parts;
  }
}

// A page's number times its bytes need not fit 32 bits.
TEST(AttentionKernel, FarPages) {
  AttentionCase c = Case(MlaLayout(2, 64, 24), {{1, 70}});
  const size_t block = static_cast<size_t>(c.block_rows) * c.row_bytes();
  const auto first = static_cast<int>((size_t{1} << 32) / block) + 5;
  const size_t bytes = block * (first + c.cache.size() / block);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* cache = static_cast<unsigned char*>(memory);
  std::copy(c.cache.begin(), c.cache.end(), cache + first * block);
  const std::vector<float> near = Compute<Latent16>(c, {});
  for (int32_t& b : c.block_tables) b += b < 1000 ? first : 0;
  EXPECT_EQ(Compute<Latent16>(c, {.cache = cache}), near);
  munmap(memory, bytes);
}

// The same bits alone, in a batch, and however a prompt is cut into chunks.
TEST(AttentionKernel, ARowsBitsAreItsOwn) {
  Engine::Get().set_schedule({Order::kRoundRobin, 1});
  const AttnLayout layout = GqaLayout(6, 2, 32);
  using Shape = AttentionShape<64, 64, 64, false, RowLoad::kAsync>;
  const Way prefill{.cut_long = false};
  const AttentionCase whole = Case(layout, {{50, 20}, {30, 0}});
  const std::vector<float> all = Compute<Shape>(whole, prefill);
  const size_t row = all.size() / whole.rows;
  for (int first : {0, 7, 49}) {
    AttentionCase part = whole;
    const int rows = 50 - first;
    part.spans = {{first, rows, 20 + first, whole.spans[0].block_table}};
    const std::vector<float> found =
        Compute<Shape>(part, {.thread_blocks = 1, .cut_long = false});
    EXPECT_TRUE(std::equal(found.begin() + first * row,
                           found.begin() + 50 * row, all.begin() + first * row))
        << first;
  }

  const AttentionCase batch = Case(MlaLayout(5, 64, 24), {{1, 700}, {1, 90}});
  const std::vector<float> both = Compute<Latent16>(batch, {});
  AttentionCase alone = batch;
  alone.spans.resize(1);
  const std::vector<float> one =
      Compute<Latent16>(alone, {.thread_blocks = 11});
  EXPECT_TRUE(
      std::equal(one.begin(), one.begin() + both.size() / 2, both.begin()));
}

}  // namespace
}  // namespace mla::kernels::cuda
