// TensorView is one tensor as it lies in a mapped file, and the checks that
// both file formats make before they hand one out.
// Threads: plain values; any.
// Units:   shapes count elements, outermost first (GGUF's order reversed).
#ifndef MLA_RUNTIME_CHECKPOINT_TENSOR_H_
#define MLA_RUNTIME_CHECKPOINT_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/dtype.h"

namespace mla::runtime {

struct TensorView {
  kernels::DType type;
  std::vector<int64_t> shape;         // row-major, outermost first; {}: scalar
  absl::Span<const std::byte> bytes;  // exactly the tensor; any alignment

  int64_t Elements() const;
};

// Sorted by name; pointers to its values stay valid while it lives.
using TensorMap = std::map<std::string, TensorView, std::less<>>;

// "[49152, 576]"
std::string ShapeToString(absl::Span<const int64_t> shape);

// Size of a tensor in the file. INVALID_ARGUMENT, without the tensor's name, if
// a dimension is negative, rows do not divide into the type's blocks, or the
// size does not fit in 63 bits.
absl::StatusOr<uint64_t> TensorBytes(kernels::DType type,
                                     absl::Span<const int64_t> shape);

// Where a tensor lies in the data section of its file.
struct TensorExtent {
  std::string_view name;
  uint64_t begin;  // bytes; begin <= end
  uint64_t end;
};

// INVALID_ARGUMENT, naming both, if two tensors share a byte.
absl::Status CheckDisjoint(std::vector<TensorExtent> extents);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_TENSOR_H_
