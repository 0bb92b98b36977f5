// Blocks of outputs against matrices written out: what a block says its rows
// and bias are is what the plain matrix product says.
#include "runtime/attention/layer_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/random.h"

namespace mla::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

// Row r, column c holds first + 10 * r + c.
OutputBlock Numbered(int outputs, int inputs, float first,
                     std::vector<float> bias = {}) {
  return {outputs, inputs,
          [=](int row, float* dst) {
            for (int c = 0; c < inputs; ++c) dst[c] = first + 10.0f * row + c;
          },
          std::move(bias)};
}

OutputBlock Random(int outputs, int inputs, int seed) {
  const std::vector<float> all =
      mla::testing::RandomFloats(size_t(outputs) * inputs, seed);
  return {outputs, inputs,
          [=](int row, float* dst) {
            std::copy_n(&all[size_t(row) * inputs], inputs, dst);
          },
          mla::testing::RandomFloats(outputs, seed + 1)};
}

std::vector<float> Row(const OutputBlock& block, int row) {
  std::vector<float> values(block.inputs);
  block.rows(row, values.data());
  return values;
}

TEST(LayerWeights, SelectTakesRowsAndTheirBiases) {
  const OutputBlock block = Select(Numbered(3, 2, 0, {7, 8, 9}), {2, 0, 2});
  EXPECT_EQ(block.outputs, 3);
  EXPECT_THAT(Row(block, 0), ElementsAre(20, 21));
  EXPECT_THAT(Row(block, 1), ElementsAre(0, 1));
  EXPECT_THAT(block.bias, ElementsAre(9, 7, 9));
  EXPECT_TRUE(Select(Numbered(3, 2, 0), {1}).bias.empty());
}

TEST(LayerWeights, ConcatenateFillsMissingBiasesWithZeros) {
  const OutputBlock block =
      Concatenate({Numbered(1, 2, 0), {}, Numbered(2, 2, 100, {5, 6})});
  EXPECT_EQ(block.outputs, 3);
  EXPECT_EQ(block.inputs, 2);
  EXPECT_THAT(Row(block, 0), ElementsAre(0, 1));
  EXPECT_THAT(Row(block, 2), ElementsAre(110, 111));
  EXPECT_THAT(block.bias, ElementsAre(0, 5, 6));
}

TEST(LayerWeights, InputsAreSelectedAndConcatenated) {
  EXPECT_THAT(Row(SelectInputs(Numbered(2, 3, 0), {2, 0}), 1),
              ElementsAre(12, 10));
  const OutputBlock both =
      ConcatenateInputs({Numbered(2, 2, 0), Numbered(2, 1, 100)});
  EXPECT_EQ(both.inputs, 3);
  EXPECT_THAT(Row(both, 1), ElementsAre(10, 11, 110));
}

TEST(LayerWeights, ScaleScalesBiasesToo) {
  const OutputBlock block = Scale(Numbered(1, 2, 3, {4}), 0.5f);
  EXPECT_THAT(Row(block, 0), ElementsAre(1.5, 2));
  EXPECT_THAT(block.bias, ElementsAre(2));
}

TEST(LayerWeights, DeinterleaveBringsPairsIntoHalves) {
  // Two heads of five rows, whose last four are pairs.
  const OutputBlock block = Deinterleave(Numbered(10, 1, 0), 5, 4);
  std::vector<float> order;
  for (int i = 0; i < 10; ++i) order.push_back(Row(block, i)[0] / 10);
  EXPECT_THAT(order, ElementsAre(0, 1, 3, 2, 4, 5, 6, 8, 7, 9));
}

TEST(LayerWeights, TransposeEachTransposesMatrixByMatrix) {
  const OutputBlock block = TransposeEach(Numbered(4, 3, 0), 2);
  EXPECT_EQ(block.outputs, 6);
  EXPECT_EQ(block.inputs, 2);
  EXPECT_THAT(Row(block, 1), ElementsAre(1, 11));
  EXPECT_THAT(Row(block, 5), ElementsAre(22, 32));
}

TEST(LayerWeights, ComposeIsOneMapAfterTheOther) {
  const OutputBlock outer = Random(4, 3, 1), inner = Random(3, 5, 2);
  const OutputBlock both = Compose(outer, inner);
  ASSERT_EQ(both.outputs, 4);
  ASSERT_EQ(both.inputs, 5);
  const std::vector<float> x = mla::testing::RandomFloats(5, 9);
  EXPECT_THAT(ApplyTo(both, x),
              Pointwise(FloatNear(1e-5), ApplyTo(outer, ApplyTo(inner, x))));
}

TEST(LayerWeights, ApplyToIsTheMatrixProduct) {
  EXPECT_THAT(ApplyTo(Numbered(2, 2, 1, {0.5, 0}), {1, 2}),
              ElementsAre(1 + 4 + 0.5, 11 + 24));
}

}  // namespace
}  // namespace mla::runtime
