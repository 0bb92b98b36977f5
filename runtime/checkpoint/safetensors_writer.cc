#include "runtime/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/checkpoint/tensor.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

using kernels::DType;

constexpr uint64_t kHeaderAlignment = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // of the format's readers
constexpr size_t kRoundedAtOnce = 64 * 1024;       // values

absl::Status CheckSpec(const TensorSpec& tensor) {
  if (tensor.type != DType::kF32 && tensor.type != DType::kBF16) {
    return absl::UnimplementedError(
        absl::StrCat("tensor ", Quote(tensor.name), ": type ",
                     kernels::Name(tensor.type), " cannot be written"));
  }
  if (tensor.name == "__metadata__" ||
      FindInvalidUtf8(tensor.name) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor cannot be called ", Quote(tensor.name)));
  }
  return absl::OkStatus();
}

bool ComesBefore(const TensorSpec& a, const TensorSpec& b) {
  if (a.type != b.type) return a.type == DType::kF32;
  return a.name < b.name;
}

// As JSON writes it. The name is valid UTF-8: dump() throws otherwise.
std::string JsonString(const std::string& text) {
  return nlohmann::json(text).dump();
}

std::string HeaderEntry(const TensorSpec& tensor, uint64_t begin,
                        uint64_t end) {
  return absl::StrCat(",", JsonString(tensor.name), ":{\"dtype\":\"",
                      tensor.type == DType::kF32 ? "F32" : "BF16",
                      "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                      "],\"data_offsets\":[", begin, ",", end, "]}");
}

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, std::vector<TensorSpec> tensors) {
  for (const TensorSpec& tensor : tensors) RETURN_IF_ERROR(CheckSpec(tensor));
  std::sort(tensors.begin(), tensors.end(), ComesBefore);

  std::string header = R"({"__metadata__":{"format":"pt"})";
  Slots slots;
  uint64_t begin = 0;
  for (const TensorSpec& tensor : tensors) {
    const absl::StatusOr<uint64_t> bytes =
        TensorBytes(tensor.type, tensor.shape);
    uint64_t end = 0;
    if (!bytes.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", Quote(tensor.name), ": ", bytes.status().message()));
    }
    if (__builtin_add_overflow(begin, *bytes, &end) ||
        end > std::numeric_limits<int64_t>::max() - kMaxHeaderBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quote(tensor.name), " ends past 2^63 bytes"));
    }
    const Slot slot{tensor.type, begin, *bytes / kernels::SizeOf(tensor.type)};
    if (!slots.emplace(tensor.name, slot).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quote(tensor.name), " is there twice"));
    }
    absl::StrAppend(&header, HeaderEntry(tensor, begin, end));
    begin = end;
  }
  header += "}";
  header.append(-header.size() % kHeaderAlignment, ' ');
  if (header.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header has ", header.size(), " bytes; at most ",
                     kMaxHeaderBytes, " are allowed"));
  }

  const uint64_t size = header.size();  // the format's length field
  for (auto& [name, slot] : slots) slot.begin += sizeof(size) + size;
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(file.WriteAt(
      0, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&size),
                             sizeof(size))));
  RETURN_IF_ERROR(file.WriteAt(
      sizeof(size),
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(header.data()),
                          header.size())));
  return SafetensorsWriter(std::move(file), std::move(slots));
}

SafetensorsWriter::SafetensorsWriter(AtomicFile file, Slots slots)
    : file_(std::move(file)), slots_(std::move(slots)) {}

absl::Status SafetensorsWriter::Append(std::string_view tensor,
                                       absl::Span<const float> values) {
  const auto it = slots_.find(tensor);
  if (it == slots_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quote(tensor), " is not one of this file's"));
  }
  Slot& slot = it->second;
  if (values.size() > slot.elements - slot.written) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", Quote(tensor), " has ", slot.elements, " values; ",
        values.size(), " more after ", slot.written, " are too many"));
  }
  std::vector<kernels::bf16_t> rounded;
  while (!values.empty()) {
    absl::Span<const float> piece = values;
    const void* data = piece.data();
    if (slot.type == DType::kBF16) {
      piece = values.first(std::min(values.size(), kRoundedAtOnce));
      rounded.resize(piece.size());
      std::transform(piece.begin(), piece.end(), rounded.begin(),
                     kernels::ToBF16);
      data = rounded.data();
    }
    const size_t width = kernels::SizeOf(slot.type);
    RETURN_IF_ERROR(
        file_.WriteAt(slot.begin + slot.written * width,
                      absl::MakeConstSpan(static_cast<const std::byte*>(data),
                                          piece.size() * width)));
    slot.written += piece.size();
    values.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Close() {
  for (const auto& [name, slot] : slots_) {
    if (slot.written == slot.elements) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("tensor ", Quote(name), " has ", slot.elements,
                     " values, of which ", slot.written, " were given"));
  }
  return file_.Commit();
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_writer_test.cc.
