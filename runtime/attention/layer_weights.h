// LayerWeights reads one layer's attention tensors and puts them into the
// backend, several projections of one input as one matrix.
// Threads: the loader's. Errors: WeightReader's.
#ifndef MLA_RUNTIME_ATTENTION_LAYER_WEIGHTS_H_
#define MLA_RUNTIME_ATTENTION_LAYER_WEIGHTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/backend.h"
#include "runtime/part.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

// Some outputs of a projection: where their weights come from. Blocks can be
// taken apart and put together before anything is uploaded.
struct OutputBlock {
  int outputs = 0;
  int inputs = 0;
  RowSource rows;
  std::vector<float> bias;  // [outputs], or empty: none

  float Bias(int output) const { return bias.empty() ? 0.0f : bias[output]; }
};

// Output i is source's output map[i].
OutputBlock Select(OutputBlock source, std::vector<int> map);
// Outputs of one after those of the other; inputs must agree.
OutputBlock Concatenate(std::vector<OutputBlock> blocks);
// Input i is source's input map[i].
OutputBlock SelectInputs(OutputBlock source, std::vector<int> map);
OutputBlock Scale(OutputBlock source, float factor);
// Output i times factors[i].
OutputBlock ScaleEach(OutputBlock source, std::vector<float> factors);
// `outer` after `inner`: outer's outputs as a function of inner's inputs. Reads
// all of inner at once.
OutputBlock Compose(const OutputBlock& outer, const OutputBlock& inner);
// Blocks of `head_rows` whose last `rotated` come as pairs (2i, 2i+1) are
// brought to (i, i + rotated / 2).
OutputBlock Deinterleave(OutputBlock source, int head_rows, int rotated);

// One projection of the inputs of all, one after the other; outputs must agree.
OutputBlock ConcatenateInputs(std::vector<OutputBlock> blocks);
// What the block makes of `x` [inputs].
std::vector<float> ApplyTo(const OutputBlock& block,
                           const std::vector<float>& x);
// `count` matrices one after the other, each transposed.
OutputBlock TransposeEach(const OutputBlock& source, int count);
// Outputs [first, first + count).
OutputBlock Outputs(const OutputBlock& block, int first, int count);
// One part of the outputs, or of the inputs, whose number it must divide.
OutputBlock OutputPart(const OutputBlock& block, Part part);
OutputBlock InputPart(const OutputBlock& block, Part part);
// A checkpoint's matrix.
OutputBlock BlockOf(const WeightMatrix& matrix);

class LayerWeights {
 public:
  LayerWeights(const WeightReader& reader, std::string prefix,
               kernels::DType dtype, int hidden_size, float norm_eps,
               Backend& backend)
      : reader_(reader),
        prefix_(std::move(prefix)),
        dtype_(dtype),
        hidden_size_(hidden_size),
        norm_eps_(norm_eps),
        backend_(backend) {}

  int hidden_size() const { return hidden_size_; }
  float norm_eps() const { return norm_eps_; }

  bool Has(const std::string& name) const {
    return reader_.Has(prefix_ + name);
  }
  // `name`.weight [outputs, inputs] and, if there is one, `name`.bias; or a
  // part of as many outputs.
  absl::StatusOr<OutputBlock> Read(const std::string& name, int outputs,
                                   int inputs, Part part = {}) const;
  // The parameter `name` itself, [count, rows, columns], or a part of as many
  // matrices.
  absl::StatusOr<OutputBlock> ReadStacked(const std::string& name, int count,
                                          int rows, int columns,
                                          Part part = {}) const;
  absl::StatusOr<std::vector<float>> ReadVector(const std::string& name,
                                                int size) const;

  LinearWeights Upload(const OutputBlock& block) const;
  // Of what is no layer of its own: bf16 where others are codes.
  const Matrix* UploadWide(const OutputBlock& block) const;
  const float* UploadVector(absl::Span<const float> values) const {
    return backend_.NewVector(values);
  }
  // A norm's weight times `scale`.
  absl::StatusOr<const float*> UploadNorm(const std::string& name, int size,
                                          float scale = 1.0f) const;
  // Blocks of `count` matrices; empty blocks mean none.
  const UpProjection* UploadUp(const OutputBlock& k, int k_count, bool absorb,
                               const OutputBlock& v, int v_count) const;

 private:
  const WeightReader& reader_;
  const std::string prefix_;
  const kernels::DType dtype_;
  const int hidden_size_;
  const float norm_eps_;
  Backend& backend_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_LAYER_WEIGHTS_H_
