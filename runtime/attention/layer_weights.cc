// Tested by tests/runtime/layer_weights_test.cc.
#include "runtime/attention/layer_weights.h"

#include <memory>
#include <numeric>
#include <utility>

#include "runtime/status_macros.h"

namespace mla::runtime {

OutputBlock Select(OutputBlock source, std::vector<int> map) {
  OutputBlock block;
  block.outputs = static_cast<int>(map.size());
  block.inputs = source.inputs;
  if (!source.bias.empty()) {
    for (const int from : map) block.bias.push_back(source.bias[from]);
  }
  block.rows = [rows = std::move(source.rows), map = std::move(map)](
                   int row, float* dst) { rows(map[row], dst); };
  return block;
}

OutputBlock Concatenate(std::vector<OutputBlock> blocks) {
  OutputBlock all;
  bool biased = false;
  for (const OutputBlock& block : blocks) {
    if (block.outputs > 0) all.inputs = block.inputs;
    all.outputs += block.outputs;
    biased = biased || !block.bias.empty();
  }
  for (const OutputBlock& block : blocks) {
    for (int i = 0; biased && i < block.outputs; ++i) {
      all.bias.push_back(block.Bias(i));
    }
  }
  all.rows = [blocks = std::move(blocks)](int row, float* dst) {
    size_t i = 0;
    while (row >= blocks[i].outputs) row -= blocks[i++].outputs;
    blocks[i].rows(row, dst);
  };
  return all;
}

OutputBlock SelectInputs(OutputBlock source, std::vector<int> map) {
  OutputBlock block = source;
  block.inputs = static_cast<int>(map.size());
  block.rows = [rows = std::move(source.rows), map = std::move(map),
                inputs = source.inputs](int row, float* dst) {
    std::vector<float> all(inputs);
    rows(row, all.data());
    for (size_t i = 0; i < map.size(); ++i) dst[i] = all[map[i]];
  };
  return block;
}

OutputBlock Scale(OutputBlock source, float factor) {
  if (factor == 1.0f) return source;
  for (float& b : source.bias) b *= factor;
  source.rows = [rows = std::move(source.rows), inputs = source.inputs, factor](
                    int row, float* dst) {
    rows(row, dst);
    for (int i = 0; i < inputs; ++i) dst[i] *= factor;
  };
  return source;
}

OutputBlock ScaleEach(OutputBlock source, std::vector<float> factors) {
  for (size_t i = 0; i < source.bias.size(); ++i) source.bias[i] *= factors[i];
  source.rows = [rows = std::move(source.rows), inputs = source.inputs,
                 factors = std::move(factors)](int row, float* dst) {
    rows(row, dst);
    for (int i = 0; i < inputs; ++i) dst[i] *= factors[row];
  };
  return source;
}

OutputBlock ConcatenateInputs(std::vector<OutputBlock> blocks) {
  OutputBlock all;
  all.outputs = blocks[0].outputs;
  for (const OutputBlock& block : blocks) all.inputs += block.inputs;
  all.rows = [blocks = std::move(blocks)](int row, float* dst) {
    for (const OutputBlock& block : blocks) {
      block.rows(row, dst);
      dst += block.inputs;
    }
  };
  return all;
}

std::vector<float> ApplyTo(const OutputBlock& block,
                           const std::vector<float>& x) {
  std::vector<float> y(block.outputs), weights(block.inputs);
  for (int i = 0; i < block.outputs; ++i) {
    block.rows(i, weights.data());
    double sum = block.Bias(i);
    for (int j = 0; j < block.inputs; ++j) sum += double{weights[j]} * x[j];
    y[i] = static_cast<float>(sum);
  }
  return y;
}

OutputBlock Compose(const OutputBlock& outer, const OutputBlock& inner) {
  auto all = std::make_shared<std::vector<float>>(size_t(inner.outputs) *
                                                  inner.inputs);
  for (int i = 0; i < inner.outputs; ++i) {
    inner.rows(i, &(*all)[size_t(i) * inner.inputs]);
  }
  OutputBlock block;
  block.outputs = outer.outputs;
  block.inputs = inner.inputs;
  block.bias = inner.bias.empty() ? outer.bias : ApplyTo(outer, inner.bias);
  block.rows = [rows = outer.rows, middle = outer.inputs, n = inner.inputs,
                all](int row, float* dst) {
    std::vector<float> weights(middle);
    std::vector<double> sums(n);
    rows(row, weights.data());
    for (int j = 0; j < middle; ++j) {
      const float* from = &(*all)[size_t(j) * n];
      for (int i = 0; i < n; ++i) sums[i] += double{weights[j]} * from[i];
    }
    for (int i = 0; i < n; ++i) dst[i] = static_cast<float>(sums[i]);
  };
  return block;
}

OutputBlock Deinterleave(OutputBlock source, int head_rows, int rotated) {
  const int half = rotated / 2;
  std::vector<int> map(source.outputs);
  for (int i = 0; i < source.outputs; ++i) {
    const int turned = i % head_rows - (head_rows - rotated);
    map[i] = turned < 0 ? i : i - turned + turned % half * 2 + turned / half;
  }
  return Select(std::move(source), std::move(map));
}

OutputBlock TransposeEach(const OutputBlock& source, int count) {
  const int rows = source.outputs / count;
  auto all = std::make_shared<std::vector<float>>(size_t(source.outputs) *
                                                  source.inputs);
  for (int i = 0; i < source.outputs; ++i) {
    source.rows(i, &(*all)[size_t(i) * source.inputs]);
  }
  OutputBlock block;
  block.outputs = count * source.inputs;
  block.inputs = rows;
  block.rows = [all, rows, columns = source.inputs](int row, float* dst) {
    const float* matrix = &(*all)[size_t(row / columns) * rows * columns];
    for (int i = 0; i < rows; ++i) {
      dst[i] = matrix[size_t(i) * columns + row % columns];
    }
  };
  return block;
}

OutputBlock Outputs(const OutputBlock& block, int first, int count) {
  std::vector<int> map(count);
  for (int i = 0; i < count; ++i) map[i] = first + i;
  return Select(block, std::move(map));
}

OutputBlock OutputPart(const OutputBlock& block, Part part) {
  if (part.count == 1) return block;
  const int size = block.outputs / part.count;
  return Outputs(block, part.First(size), size);
}

OutputBlock InputPart(const OutputBlock& block, Part part) {
  if (part.count == 1) return block;
  std::vector<int> map(block.inputs / part.count);
  std::iota(map.begin(), map.end(), part.First(static_cast<int>(map.size())));
  return SelectInputs(block, std::move(map));
}

OutputBlock BlockOf(const WeightMatrix& matrix) {
  OutputBlock block;
  block.outputs = matrix.rows();
  block.inputs = matrix.cols();
  block.rows = [matrix](int row, float* dst) { matrix.ReadRow(row, dst); };
  return block;
}

absl::StatusOr<OutputBlock> LayerWeights::Read(const std::string& name,
                                               int outputs, int inputs,
                                               Part part) const {
  const int all = outputs * part.count;
  ASSIGN_OR_RETURN(const WeightMatrix matrix,
                   reader_.Matrix(prefix_ + name + ".weight", all, inputs));
  OutputBlock block = BlockOf(matrix);
  if (Has(name + ".bias")) {
    ASSIGN_OR_RETURN(block.bias, reader_.Vector(prefix_ + name + ".bias", all));
  }
  return OutputPart(block, part);
}

absl::StatusOr<OutputBlock> LayerWeights::ReadStacked(const std::string& name,
                                                      int count, int rows,
                                                      int columns,
                                                      Part part) const {
  std::vector<OutputBlock> blocks;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const WeightMatrix matrix,
                     reader_.Expert(prefix_ + name, part.First(count) + i,
                                    count * part.count, rows, columns));
    blocks.push_back(BlockOf(matrix));
  }
  return Concatenate(std::move(blocks));
}

absl::StatusOr<std::vector<float>> LayerWeights::ReadVector(
    const std::string& name, int size) const {
  return reader_.Vector(prefix_ + name, size);
}

const Matrix* LayerWeights::UploadWide(const OutputBlock& block) const {
  return backend_.NewMatrix(WideType(dtype_), block.outputs, block.inputs,
                            block.rows);
}

LinearWeights LayerWeights::Upload(const OutputBlock& block) const {
  LinearWeights weights;
  weights.w =
      backend_.NewMatrix(dtype_, block.outputs, block.inputs, block.rows);
  if (!block.bias.empty()) weights.bias = backend_.NewVector(block.bias);
  return weights;
}

absl::StatusOr<const float*> LayerWeights::UploadNorm(const std::string& name,
                                                      int size,
                                                      float scale) const {
  ASSIGN_OR_RETURN(std::vector<float> values, ReadVector(name, size));
  for (float& v : values) v *= scale;
  return backend_.NewVector(values);
}

const UpProjection* LayerWeights::UploadUp(const OutputBlock& k, int k_count,
                                           bool absorb, const OutputBlock& v,
                                           int v_count) const {
  const auto stacked = [](const OutputBlock& block, int count) {
    StackedWeights weights;
    if (block.outputs == 0) return weights;
    weights.count = count;
    weights.outputs = block.outputs / count;
    weights.inputs = block.inputs;
    weights.rows = block.rows;
    return weights;
  };
  return backend_.NewUpProjection(dtype_, stacked(k, k_count), absorb,
                                  stacked(v, v_count));
}

}  // namespace mla::runtime
