// SafetensorsWriter writes one safetensors file (safetensors.h) from floats,
// the same bytes as the package safetensors: the header's keys and the data are
// sorted by type, the widest first, which keeps every tensor aligned to its
// type, then by name.
//
// The tensors' shapes are known before the first value, so that the header goes
// first and memory stays bounded by what the caller hands over at once.
// Owns:    the file, which gets its name only by Close (atomic_file.h).
// Threads: one at a time.
// Errors:  those of AtomicFile; INVALID_ARGUMENT or, for a type that cannot be
//          written, UNIMPLEMENTED, naming the tensor.
#ifndef MLA_RUNTIME_CHECKPOINT_SAFETENSORS_WRITER_H_
#define MLA_RUNTIME_CHECKPOINT_SAFETENSORS_WRITER_H_

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
#include "runtime/checkpoint/atomic_file.h"

namespace mla::runtime {

struct TensorSpec {
  std::string name;
  kernels::DType type;         // kF32 or kBF16
  std::vector<int64_t> shape;  // row-major, outermost first; {}: scalar
};

class SafetensorsWriter {
 public:
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::string& path, std::vector<TensorSpec> tensors);

  // The next values of a tensor, row-major, any number of them; rounded to the
  // tensor's type, ties to even. Tensors may come in any order and take turns.
  // Values that failed to be written may be given again.
  absl::Status Append(std::string_view tensor, absl::Span<const float> values);

  // FAILED_PRECONDITION if a tensor lacks values.
  absl::Status Close();

 private:
  struct Slot {
    kernels::DType type;
    uint64_t begin;     // bytes from the start of the file
    uint64_t elements;  // of the tensor
    uint64_t written = 0;
  };
  using Slots = std::map<std::string, Slot, std::less<>>;

  SafetensorsWriter(AtomicFile file, Slots slots);

  AtomicFile file_;
  Slots slots_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_SAFETENSORS_WRITER_H_
