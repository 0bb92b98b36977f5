// Sparse attention against its definition: every score in double, the largest
// ones sorted out, softmax over those.
//
// Tolerance: as in attention_test.cc. Where the last chosen and the first
// refused score are closer than float can tell apart, there is nothing to
// compare; the test's scores are not.
#include "kernels/cpu/sparse_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/row_codec.h"
#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

constexpr int kHeads = 3, kRank = 40, kRope = 8, kIndexHeads = 5;
constexpr int kIndexDim = 20, kTopK = 37, kBlockTokens = 16;
constexpr float kScale = 0.15f;
constexpr double kU = 0x1.0p-24;

class SparseAttentionTest : public mla::testing::IsaTest {
 protected:
  // One layer of two, so that a block is no multiple of its row.
  void Fill(int tokens, DType dtype) {
    tokens_ = tokens;
    rounds_ = dtype == DType::kBF16 && cpu_.inner().bf16_attention();
    const int blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
    cache_.format = RowFormatOf(layout_, dtype);
    const size_t other_layer =
        kBlockTokens * static_cast<size_t>(RowFormatOf(12, dtype).bytes);
    cache_.block_tokens = kBlockTokens;
    cache_.block_bytes = kBlockTokens * cache_.row_bytes() + other_layer;
    bytes_.assign((blocks + 1) * cache_.block_bytes, std::byte{0xff});  // NaN
    cache_.data = bytes_.data() + other_layer;
    table_.resize(blocks);
    std::iota(table_.rbegin(), table_.rend(), 0);
    rows_ = RandomFloats(size_t(tokens) * layout_.row_width, 7);
    for (int t = 0; t < tokens; ++t) {
      std::byte* slot = cache_.Row(table_.data(), t);
      float* values = &rows_[size_t(t) * layout_.row_width];
      const InnerKernels& inner = GetInnerKernels(Isa::kReference);
      StoreRow(inner, cache_.format, values, slot);
      LoadRow(inner, cache_.format, slot, 0, layout_.row_width, values);
    }
    const int key = layout_.key_length();
    q_ = RandomFloats(size_t(tokens) * kHeads * key, 8);
    index_q_ = RandomFloats(size_t(tokens) * kIndexHeads * kIndexDim, 9);
    weights_ = RandomFloats(size_t(tokens) * kIndexHeads, 10);
    out_.assign(size_t(tokens) * kHeads * kRank, NAN);
  }

  static Rows View(std::vector<float>& v, int rows) {
    const int cols = static_cast<int>(v.size()) / rows;
    return {v.data(), rows, cols, size_t(cols)};
  }

  Indexer Chooser() {
    return {kIndexHeads, kTopK, View(index_q_, tokens_),
            View(weights_, tokens_)};
  }

  // Selects, then attends, as one step does.
  void Attend(bool decode, const std::vector<SequenceSpan>& spans) {
    std::vector<int32_t> selected(size_t(tokens_) * kTopK, -1);
    const int count = static_cast<int>(spans.size());
    SelectTokens(cpu_, layout_, Chooser(), cache_, spans.data(), count,
                 selected.data());
    (decode ? AttendDecodeSparse : AttendPrefillSparse)(
        cpu_, op_, kTopK, selected.data(), cache_, spans.data(), count,
        View(q_, tokens_), View(out_, tokens_));
  }

  const float* Row(int t) const {
    return &rows_[size_t(t) * layout_.row_width];
  }

  // The tokens that the query at `position` attends to.
  std::vector<int> Chosen(int position) {
    std::vector<double> score(position + 1);
    for (int t = 0; t <= position; ++t) {
      for (int h = 0; h < kIndexHeads; ++h) {
        double product = 0;
        for (int j = 0; j < kIndexDim; ++j) {
          product +=
              double{index_q_[(size_t(position) * kIndexHeads + h) * kIndexDim +
                              j]} *
              Row(t)[layout_.index.offset + j];
        }
        score[t] += weights_[size_t(position) * kIndexHeads + h] *
                    std::max(product, 0.0);
      }
    }
    std::vector<int> order(position + 1);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      return score[a] != score[b] ? score[a] > score[b] : a < b;
    });
    if (position >= kTopK) {
      // Tokens that no head likes all score 0, exactly.
      const double last = score[order[kTopK - 1]];
      const double refused = score[order[kTopK]];
      EXPECT_TRUE((last == 0 && refused == 0) || last - refused > 1e-5);
      order.resize(kTopK);
    }
    return order;
  }

  void ExpectDefinition(int position) {
    const std::vector<int> chosen = Chosen(position);
    const int key = layout_.key_length();
    for (int h = 0; h < kHeads; ++h) {
      const float* q = &q_[(size_t(position) * kHeads + h) * key];
      double total = 0, largest = 0, magnitude = 0, norm = 0;
      std::vector<double> expected(kRank);
      for (const int t : chosen) {
        double product = 0, sum = 0, squares = 0;
        for (int j = 0; j < key; ++j) {
          product += double{q[j]} * Row(t)[j];
          sum += std::abs(double{q[j]} * Row(t)[j]);
          squares += std::pow(double{q[j]} * Row(t)[j], 2);
        }
        magnitude = std::max(magnitude, sum);
        norm = std::max(norm, std::sqrt(squares));
        const double weight = std::exp(product * kScale);
        total += weight;
        for (int i = 0; i < kRank; ++i) {
          expected[i] += weight * Row(t)[i];
          largest = std::max(largest, std::abs(double{Row(t)[i]}));
        }
      }
      // attention_case.h has the bound; the scale is part of the score here.
      const double b = rounds_ ? 0x1.0p-9 : 0;
      const double ds =
          (kU * (key + 8) * magnitude + 8 * b * norm) * kScale * 1.4427;
      const double bound =
          (2 * ds + (chosen.size() + 8) * kU + 2 * b) * largest;
      for (int i = 0; i < kRank; ++i) {
        EXPECT_NEAR(out_[(size_t(position) * kHeads + h) * kRank + i],
                    expected[i] / total, bound)
            << "position " << position << " head " << h;
      }
    }
  }

  const AttnLayout layout_ = MlaLayout(kHeads, kRank, kRope, kIndexDim);
  const AttentionOp op_{layout_, kScale, nullptr};
  CpuContext cpu_{GetParam(), 2};
  bool rounds_ = false;  // attention is computed in bf16
  int tokens_ = 0;
  CacheRows cache_;
  std::vector<std::byte> bytes_;
  std::vector<int32_t> table_;
  std::vector<float> rows_, q_, index_q_, weights_, out_;
};
MLA_FOR_EACH_ISA(SparseAttentionTest);

TEST_P(SparseAttentionTest, PromptsAndGeneratedTokensMatchTheDefinition) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    Fill(150, dtype);
    // The prompt in two chunks, the first of which crosses top_k.
    for (const auto& [first, rows] : {std::pair(0, 60), std::pair(60, 40)}) {
      Attend(/*decode=*/false, {{first, rows, first, table_.data()}});
    }
    // The rest one by one, but all in one step.
    std::vector<SequenceSpan> spans;
    for (int t = 100; t < tokens_; ++t)
      spans.push_back({t, 1, t, table_.data()});
    Attend(/*decode=*/true, spans);
    for (int t = 0; t < tokens_; ++t) ExpectDefinition(t);
  }
}

TEST_P(SparseAttentionTest, UpToTopKDecodeIsDenseToTheBit) {
  Fill(kTopK, DType::kF32);
  const SequenceSpan span{kTopK - 1, 1, kTopK - 1, table_.data()};
  const Rows q = View(q_, tokens_), out = View(out_, tokens_);
  AttendDecode(cpu_, op_, cache_, &span, 1, q, out);
  const std::vector<float> dense(out[kTopK - 1], out[kTopK - 1] + out.cols);
  std::fill_n(out[kTopK - 1], out.cols, NAN);
  Attend(/*decode=*/true, {span});
  EXPECT_EQ(dense,
            std::vector<float>(out[kTopK - 1], out[kTopK - 1] + out.cols));
}

TEST_P(SparseAttentionTest, TheBatchAndTheChunksDoNotMatter) {
  Fill(120, DType::kF32);
  Attend(/*decode=*/false, {{0, 120, 0, table_.data()}});
  const std::vector<float> expected = out_;
  std::fill(out_.begin(), out_.end(), NAN);
  for (int first = 0; first < 120; first += 7) {
    Attend(/*decode=*/false,
           {{first, std::min(7, 120 - first), first, table_.data()}});
  }
  EXPECT_EQ(out_, expected);
}

}  // namespace
}  // namespace mla::kernels
