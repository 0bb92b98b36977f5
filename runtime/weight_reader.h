// WeightReader reads a checkpoint's weights as floats, under the names that
// Hugging Face gives them, whatever the file's own names and types.
// Threads: any; it only reads the mapping.
// Errors:  NOT_FOUND or INVALID_ARGUMENT, naming the tensor and both shapes.
#ifndef MLA_RUNTIME_WEIGHT_READER_H_
#define MLA_RUNTIME_WEIGHT_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/checkpoint.h"

namespace mla::runtime {

// What GGUF calls the tensor that Hugging Face calls `name`, with "%d" for an
// expert's number.
std::string GgufTensorName(const std::string& name);

// A checked matrix [rows, cols] whose rows are converted when they are read.
class WeightMatrix {
 public:
  int rows() const { return rows_; }
  int cols() const { return cols_; }

  // Row `row` as floats, [cols].
  void ReadRow(int row, float* dst) const;

 private:
  friend class WeightReader;

  kernels::DType type_;
  const std::byte* data_ = nullptr;
  int rows_ = 0;
  int cols_ = 0;
  size_t row_bytes_ = 0;
  // FP8: a factor for each block of 128 x 128, [ceil(rows/128), scale_cols_].
  std::shared_ptr<const std::vector<float>> scales_;
  int scale_cols_ = 0;
};

class WeightReader {
 public:
  explicit WeightReader(const Checkpoint& checkpoint)
      : checkpoint_(checkpoint) {}
  // Names that begin with `prefix` are those in `tensors` and no others: a
  // layer's attention that conversion has just made.
  WeightReader(const Checkpoint& checkpoint, std::string prefix,
               const TensorMap& tensors)
      : checkpoint_(checkpoint),
        prefix_(std::move(prefix)),
        tensors_(&tensors) {}

  bool Has(const std::string& name) const;
  absl::StatusOr<WeightMatrix> Matrix(const std::string& name, int rows,
                                      int cols) const;
  absl::StatusOr<std::vector<float>> Vector(const std::string& name,
                                            int size) const;
  // Expert `expert` of a matrix that exists once per expert. `name` has "%d"
  // where the expert's number stands; without it, and in GGUF, they are stacked
  // in one tensor.
  absl::StatusOr<WeightMatrix> Expert(const std::string& name, int expert,
                                      int experts, int rows, int cols) const;

 private:
  absl::Status ReadScales(const std::string& name, WeightMatrix& matrix) const;
  absl::StatusOr<const TensorView*> Find(const std::string& name) const;

  const Checkpoint& checkpoint_;
  const std::string prefix_;
  const TensorMap* const tensors_ = nullptr;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_WEIGHT_READER_H_
