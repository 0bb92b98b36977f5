#include "runtime/checkpoint/safetensors.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/byte_cursor.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/checkpoint/safetensors_header.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using kernels::DType;

// The limit of the reference implementation.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::optional<DType> DTypeFromName(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  if (name == "F8_E4M3") return DType::kF8E4M3;
  if (name == "I32") return DType::kI32;
  if (name == "I64") return DType::kI64;
  return std::nullopt;
}

absl::StatusOr<std::string_view> TakeHeader(ByteCursor& cursor) {
  ASSIGN_OR_RETURN(const uint64_t size,
                   cursor.TakeNumber<uint64_t>("the header's length field"));
  if (size > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header claims ", size, " bytes; at most ",
                     kMaxHeaderBytes, " are allowed"));
  }
  ASSIGN_OR_RETURN(const auto bytes, cursor.Take(size, "the header"));
  const std::string_view json = AsText(bytes);
  if (!json.starts_with('{')) {
    return absl::InvalidArgumentError("the header does not begin with '{'");
  }
  return json;
}

absl::StatusOr<TensorExtent> CheckExtent(const std::string& name,
                                         const SafetensorsEntry& entry,
                                         uint64_t data_bytes) {
  const uint64_t begin = static_cast<uint64_t>(entry.data_offsets[0]);
  const uint64_t end = static_cast<uint64_t>(entry.data_offsets[1]);
  if (begin > end || end > data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quote(name), ": bytes ", begin, " to ", end,
                     " are not within the ", data_bytes, " bytes of data"));
  }
  return TensorExtent{name, begin, end};
}

absl::StatusOr<TensorView> MakeView(const std::string& name, DType type,
                                    const SafetensorsEntry& entry,
                                    absl::Span<const std::byte> bytes) {
  const absl::StatusOr<uint64_t> expected = TensorBytes(type, entry.shape);
  if (!expected.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", Quote(name), ": ", expected.status().message()));
  }
  if (*expected != bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quote(name), " of type ", entry.dtype,
                     " and shape ", ShapeToString(entry.shape), " needs ",
                     *expected, " bytes, but its offsets span ", bytes.size()));
  }
  return TensorView{type, entry.shape, bytes};
}

// No byte of the data may belong to two tensors or to none.
absl::Status CheckCoverage(std::vector<TensorExtent> extents,
                           uint64_t data_bytes) {
  uint64_t covered = 0;
  RETURN_IF_ERROR(CheckDisjoint(extents));
  for (const TensorExtent& extent : extents) {
    covered += extent.end - extent.begin;
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tensors cover ", covered, " of the ", data_bytes,
                     " bytes of data"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsFile> ParseSafetensors(
    absl::Span<const std::byte> file) {
  ByteCursor cursor(file);
  ASSIGN_OR_RETURN(const std::string_view json, TakeHeader(cursor));
  ASSIGN_OR_RETURN(const auto entries, ParseSafetensorsHeader(json));
  const auto data = file.subspan(cursor.position());

  SafetensorsFile result;
  std::vector<TensorExtent> extents;
  for (const auto& [name, entry] : entries) {
    ASSIGN_OR_RETURN(const TensorExtent extent,
                     CheckExtent(name, entry, data.size()));
    extents.push_back(extent);
    const std::optional<DType> type = DTypeFromName(entry.dtype);
    if (!type.has_value()) {
      result.unsupported.emplace(name, entry.dtype);
      continue;
    }
    const auto bytes = data.subspan(extent.begin, extent.end - extent.begin);
    ASSIGN_OR_RETURN(TensorView view, MakeView(name, *type, entry, bytes));
    result.tensors.emplace(name, std::move(view));
  }
  RETURN_IF_ERROR(CheckCoverage(std::move(extents), data.size()));
  return result;
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_test.cc.
