#include "runtime/checkpoint/tensor.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/checkpoint/quote.h"

namespace mla::runtime {

int64_t TensorView::Elements() const {
  int64_t elements = 1;
  for (int64_t dimension : shape) elements *= dimension;
  return elements;
}

std::string ShapeToString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<uint64_t> TensorBytes(kernels::DType type,
                                     absl::Span<const int64_t> shape) {
  const kernels::DTypeTraits traits = kernels::Traits(type);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % traits.block_elements != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows of ", row, " elements do not divide into ",
                     traits.name, " blocks of ", traits.block_elements));
  }
  int64_t elements = 1;
  int64_t bytes = 0;
  bool overflow = false;
  for (int64_t dimension : shape) {
    if (dimension < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeToString(shape), " is negative"));
    }
    overflow |= __builtin_mul_overflow(elements, dimension, &elements);
  }
  overflow |= __builtin_mul_overflow(elements / traits.block_elements,
                                     traits.block_bytes, &bytes);
  if (overflow) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape ", ShapeToString(shape), " is too large"));
  }
  return static_cast<uint64_t>(bytes);
}

absl::Status CheckDisjoint(std::vector<TensorExtent> extents) {
  const auto is_empty = [](const TensorExtent& e) { return e.begin == e.end; };
  std::erase_if(extents, is_empty);
  std::sort(extents.begin(), extents.end(),
            [](const TensorExtent& a, const TensorExtent& b) {
              return a.begin < b.begin;
            });
  for (size_t i = 1; i < extents.size(); ++i) {
    const TensorExtent& before = extents[i - 1];
    const TensorExtent& after = extents[i];
    if (before.end > after.begin) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensors ", Quote(before.name), " and ", Quote(after.name),
          " overlap at byte ", after.begin, " of the data section"));
    }
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_test.cc and gguf_test.cc.
