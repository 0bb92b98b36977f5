// Attention against its definition (attention_case.h), for the layouts of real
// systems at real and odd sizes, and for random ones.
#include "kernels/cpu/attention.h"

#include "tests/kernels/attention_case.h"
#include "tests/support/isa.h"

namespace mla::kernels {
namespace {

std::vector<Case> Cases() {
  AttnLayout gta;  // [kv_0 | kv_1 | rope]
  gta.row_width = 2 * 24 + 12;
  gta.groups = 2;
  gta.heads = 6;
  gta.key[0] = {0, 24, 12};
  gta.key[1] = {48, 0, 12};
  gta.value[0] = {0, 24, 24};
  AttnLayout irregular = GqaLayout(7, 3, 16);
  irregular.first_head = {0, 4, 5, 7};
  AttnLayout reused;  // MFA-KR
  reused.row_width = 32;
  reused.heads = 5;
  reused.key[0] = reused.value[0] = {0, 0, 32};
  reused.rotate_on_read = true;
  AttnLayout merged = MlaLayout(3, 40, 8);  // MTLA
  merged.time_stride = 3;
  return {
      {"smollm2", GqaLayout(9, 3, 64)},
      {"mha", GqaLayout(3, 3, 32)},
      {"mqa_odd", GqaLayout(5, 1, 24)},
      {"qcqa", irregular},
      LatentCase("v2_lite_small", MlaLayout(4, 64, 16), 32, 32),
      LatentCase("minicpm3_odd", MlaLayout(4, 40, 16), 16, 32),
      LatentCase("many_heads", MlaLayout(19, 96, 32), 24, 40),
      LatentCase("deepseek_v3", MlaLayout(2, 512, 64), 128, 128),
      LatentCase("gla_2", MlaLayout(6, 64, 16, 0, 2, 1), 20, 20),
      LatentCase("mlra_4", MlaLayout(3, 64, 16, 0, 4, 4), 20, 20),
      {"gta", gta},
      {"mfa_kr", reused, 0, 0, 32},
      LatentCase("mtla", merged, 16, 24),
  };
}

std::vector<DType> RowTypes(const Case& c) {
  if (c.layout.time_stride > 1) return {DType::kF32, DType::kBF16};
  return {DType::kF32, DType::kBF16, DType::kF8E4M3};
}

using AttentionTest = mla::testing::IsaTest;
MLA_FOR_EACH_ISA(AttentionTest);

TEST_P(AttentionTest, DecodeMatchesTheDefinition) {
  CpuContext cpu(GetParam(), 2);
  for (const Case& c : Cases()) {
    for (DType dtype : RowTypes(c)) {
      const int longest = c.nope > 0 ? 300 : 600;  // the oracle is slow
      Pool pool(c, dtype, {1, 63, 64, 65, longest});
      const Weights w(c, DType::kF32);
      const std::vector<Query> queries = {{0, 0, 1},   {1, 62, 1},
                                          {2, 63, 1},  {3, 60, 5},
                                          {4, 256, 1}, {4, longest - 1, 1}};
      Check(cpu, c, w, pool, queries, Attend(cpu, c, w, pool, queries, true));
    }
  }
}

TEST_P(AttentionTest, PrefillMatchesTheDefinition) {
  CpuContext cpu(GetParam(), 2);
  for (const Case& c : Cases()) {
    if (c.layout.time_stride > 1) continue;  // decode's
    for (DType dtype : RowTypes(c)) {
      Pool pool(c, dtype, {1, 70, 130, 200});
      const Weights w(c, DType::kF32);
      const std::vector<Query> queries = {
          {0, 0, 1}, {1, 0, 70}, {2, 100, 30}, {3, 199, 1}};
      Check(cpu, c, w, pool, queries, Attend(cpu, c, w, pool, queries, false));
    }
  }
}

// Absorbed and materialised, token by token and at once, in blocks of any size:
// all are what the definition says, for any layout.
TEST_P(AttentionTest, RandomLayoutsMatchTheDefinitionBothWays) {
  CpuContext cpu(GetParam(), 2);
  for (unsigned seed = 1; seed <= 40; ++seed) {
    const Case c = RandomCase(seed);
    const int block_rows = seed % 3 == 0 ? 64 : seed % 3 == 1 ? 1 : 7;
    const std::vector<DType> types = RowTypes(c);
    Pool pool(c, types[seed % types.size()], {33, 90}, block_rows);
    const Weights w(c, DType::kF32);
    const std::vector<Query> queries = {{0, 0, 33}, {1, 60, 30}};
    Check(cpu, c, w, pool, queries, Attend(cpu, c, w, pool, queries, true));
    if (c.layout.time_stride > 1) continue;
    Check(cpu, c, w, pool, queries, Attend(cpu, c, w, pool, queries, false));
  }
}

TEST_P(AttentionTest, PagesDoNotChangeABit) {
  CpuContext cpu(GetParam(), 2);
  for (unsigned seed = 1; seed <= 20; ++seed) {
    const Case c = RandomCase(seed);
    const Weights w(c, DType::kBF16);
    const std::vector<Query> queries = {{0, 80, 10}};
    Pool whole(c, DType::kBF16, {90}, 128);
    const std::vector<float> contiguous =
        Attend(cpu, c, w, whole, queries, true);
    for (int block_rows : {1, 16, 23}) {
      Pool paged(c, DType::kBF16, {90}, block_rows);
      EXPECT_EQ(Attend(cpu, c, w, paged, queries, true), contiguous) << c.name;
    }
  }
}

TEST_P(AttentionTest, PromptBitsDoNotDependOnItsChunks) {
  CpuContext cpu(GetParam(), 2);
  std::vector<Case> cases = Cases();
  for (unsigned seed = 1; seed <= 10; ++seed) cases.push_back(RandomCase(seed));
  for (const Case& c : cases) {
    if (c.layout.time_stride > 1) continue;
    Pool pool(c, RowTypes(c).back(), {150});
    const Weights w(c, DType::kBF16);
    const std::vector<float> whole =
        Attend(cpu, c, w, pool, {{0, 0, 150}}, false);
    for (int chunk : {1, 7, 64, 100}) {
      std::vector<float> pieces;
      for (int first = 0; first < 150; first += chunk) {
        const std::vector<float> piece = Attend(
            cpu, c, w, pool, {{0, first, std::min(chunk, 150 - first)}}, false);
        pieces.insert(pieces.end(), piece.begin(), piece.end());
      }
      EXPECT_EQ(pieces, whole) << c.name << " in chunks of " << chunk;
    }
  }
}

TEST_P(AttentionTest, GeneratedBitsDoNotDependOnTheBatchOrThreads) {
  std::vector<Case> cases = Cases();
  for (unsigned seed = 1; seed <= 10; ++seed) cases.push_back(RandomCase(seed));
  for (const Case& c : cases) {
    Pool pool(c, DType::kBF16, {40, 300, 700});
    const Weights w(c, DType::kBF16);
    CpuContext one(GetParam(), 1);
    CpuContext three(GetParam(), 3);
    const std::vector<Query> queries = {{0, 39, 1}, {1, 290, 10}, {2, 699, 1}};
    const std::vector<float> together = Attend(one, c, w, pool, queries, true);
    EXPECT_EQ(Attend(three, c, w, pool, queries, true), together);
    std::vector<float> alone;
    for (const Query& query : queries) {
      for (int i = 0; i < query.count; ++i) {
        const std::vector<float> row = Attend(
            one, c, w, pool, {{query.sequence, query.first + i, 1}}, true);
        alone.insert(alone.end(), row.begin(), row.end());
      }
    }
    EXPECT_EQ(alone, together) << c.name;
  }
}

TEST_P(AttentionTest, ALongContextIsSplitAndMergedRight) {
  CpuContext cpu(GetParam(), 2);
  const Case c = Cases()[0];
  Pool pool(c, DType::kF32, {5000});
  const Weights w(c, DType::kF32);
  const std::vector<Query> queries = {{0, 4096, 1}, {0, 4999, 1}};
  Check(cpu, c, w, pool, queries, Attend(cpu, c, w, pool, queries, true));
}

// The third way to execute MLA (2506.02523): W_UK^T is multiplied into the
// queries' own projection beforehand, and the output taken back afterwards. So
// decode sees rows only, and must give what the definition says.
TEST_P(AttentionTest, QueriesMayComeAbsorbed) {
  CpuContext cpu(GetParam(), 2);
  const Case c = LatentCase("mla", MlaLayout(3, 40, 8), 16, 24);
  const Weights w(c, DType::kF32);
  Pool pool(c, DType::kF32, {80});
  const std::vector<float> two_step =
      Attend(cpu, c, w, pool, {{0, 79, 1}}, true);
  const std::vector<float> q = QueryRow(c, 0, 79);
  std::vector<float> absorbed;
  for (int h = 0; h < 3; ++h) {
    const float* head = &q[h * c.query_dim()];
    for (int j = 0; j < 40; ++j) {
      double sum = 0;
      for (int i = 0; i < c.nope; ++i) sum += double{w.K(h, i)[j]} * head[i];
      absorbed.push_back(static_cast<float>(sum));
    }
    absorbed.insert(absorbed.end(), head + c.nope, head + c.query_dim());
  }
  std::vector<float> latents(3 * 40);
  const SequenceSpan span{0, 1, 79, pool.tables[0].data()};
  const int width = static_cast<int>(absorbed.size());
  AttendDecode(cpu, {c.layout, c.scale()}, pool.View(), &span, 1,
               {absorbed.data(), 1, width, size_t(width)},
               {latents.data(), 1, 120, 120});
  const std::vector<std::vector<double>> seen = pool.Seen(0, 79);
  for (int h = 0; h < 3; ++h) {
    const Expected e = Oracle(c, BuildBranches(c, w, seen, h), 80,
                              &q[h * c.query_dim()], false);
    for (int i = 0; i < c.v_dim; ++i) {
      double out = 0;
      for (int j = 0; j < 40; ++j)
        out += double{w.V(h, i)[j]} * latents[h * 40 + j];
      EXPECT_NEAR(out, e.out[i], e.bound);
      EXPECT_NEAR(two_step[h * c.v_dim + i], e.out[i], e.bound);
    }
  }
}

// The published sizes, every head computed and some of them checked.
TEST_P(AttentionTest, RealSizesMatchTheDefinition) {
  const Case sizes[] = {
      LatentCase("deepseek_v2_lite", MlaLayout(16, 512, 64), 128, 128),
      LatentCase("deepseek_v3", MlaLayout(128, 512, 64), 128, 128),
      LatentCase("kimi_k2", MlaLayout(64, 512, 64), 128, 128),
      LatentCase("minicpm3", MlaLayout(40, 256, 32), 64, 64),
      LatentCase("glm4_moe_lite", MlaLayout(20, 512, 64), 192, 256),
      {"llama3_8b", GqaLayout(32, 8, 128)},
  };
  CpuContext cpu(GetParam(), 2);
  for (const Case& c : sizes) {
    Pool pool(c, DType::kBF16, {100});
    const Weights w(c, DType::kF32);
    const std::vector<int> heads = {0, c.layout.heads / 2, c.layout.heads - 1};
    const std::vector<Query> last = {{0, 99, 1}};
    Check(cpu, c, w, pool, last, Attend(cpu, c, w, pool, last, true), heads);
    const std::vector<Query> prompt = {{0, 92, 8}};
    Check(cpu, c, w, pool, prompt, Attend(cpu, c, w, pool, prompt, false),
          heads);
  }
}

// Rows that meet a matrix, counted under a real table of kernels.
std::atomic<int64_t> matrix_rows;
const InnerKernels* counted;

InnerKernels Counting(Isa isa) {
  counted = &GetInnerKernels(isa);
  InnerKernels counting = *counted;
  counting.gemm = [](const GemmArgs& args) {
    if (args.outputs > 0) matrix_rows += args.rows;
    counted->gemm(args);
  };
  return counting;
}

int64_t DecodeMatrixRows(Isa isa, const Case& c, int tokens) {
  const InnerKernels counting = Counting(isa);
  CpuContext cpu(isa, counting, 2);
  Pool pool(c, DType::kBF16, {tokens});
  const Weights w(c, DType::kBF16);
  matrix_rows = 0;
  Attend(cpu, c, w, pool, {{0, tokens - 1, 1}}, true);
  return matrix_rows;
}

// A key or a value of one head, built from a cached row, is a row that meets
// W_UK or W_UV. Decode meets them with queries and outputs only, whatever the
// context, unless keys are rotated on read: then each group's keys are built
// once, and still no value is.
TEST_P(AttentionTest, DecodeBuildsNoKeyOrValueOfAHead) {
  std::vector<Case> cases = Cases();
  for (unsigned seed = 1; seed <= 60; ++seed) cases.push_back(RandomCase(seed));
  for (const Case& c : cases) {
    const int64_t near = DecodeMatrixRows(GetParam(), c, 30);
    const int64_t far = DecodeMatrixRows(GetParam(), c, 270);
    const auto panels = [](int outputs) {
      return (outputs + kPanel - 1) / kPanel;
    };
    const bool builds = c.nope > 0 && c.layout.rotate_on_read;
    const int64_t built =
        builds ? int64_t{240} * c.layout.groups * panels(c.nope) : 0;
    EXPECT_GE(far - near, builds ? 1 : 0) << c.name;
    EXPECT_LE(far - near, built) << c.name;
  }
}

}  // namespace
}  // namespace mla::kernels
