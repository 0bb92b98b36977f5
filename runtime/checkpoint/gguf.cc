#include "runtime/checkpoint/gguf.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using kernels::DType;

constexpr uint32_t kMaxDimensions = 4;
constexpr uint32_t kDefaultAlignment = 32;

// ggml_type, as far as its numbers have been given out.
struct GgmlType {
  uint32_t number;
  const char* name;
  std::optional<DType> type;
};

constexpr GgmlType kGgmlTypes[] = {
    {0, "F32", DType::kF32},       {1, "F16", DType::kF16},
    {2, "Q4_0", DType::kQ4_0},     {3, "Q4_1", DType::kQ4_1},
    {6, "Q5_0", DType::kQ5_0},     {7, "Q5_1", DType::kQ5_1},
    {8, "Q8_0", DType::kQ8_0},     {9, "Q8_1", std::nullopt},
    {10, "Q2_K", std::nullopt},    {11, "Q3_K", std::nullopt},
    {12, "Q4_K", DType::kQ4_K},    {13, "Q5_K", DType::kQ5_K},
    {14, "Q6_K", DType::kQ6_K},    {15, "Q8_K", std::nullopt},
    {16, "IQ2_XXS", std::nullopt}, {17, "IQ2_XS", std::nullopt},
    {18, "IQ3_XXS", std::nullopt}, {19, "IQ1_S", std::nullopt},
    {20, "IQ4_NL", std::nullopt},  {21, "IQ3_S", std::nullopt},
    {22, "IQ2_S", std::nullopt},   {23, "IQ4_XS", std::nullopt},
    {24, "I8", std::nullopt},      {25, "I16", std::nullopt},
    {26, "I32", DType::kI32},      {27, "I64", DType::kI64},
    {28, "F64", std::nullopt},     {29, "IQ1_M", std::nullopt},
    {30, "BF16", DType::kBF16},    {34, "TQ1_0", std::nullopt},
    {35, "TQ2_0", std::nullopt},   {39, "MXFP4", std::nullopt},
};

absl::StatusOr<DType> DTypeFromGgml(uint32_t number) {
  for (const GgmlType& entry : kGgmlTypes) {
    if (entry.number != number) continue;
    if (entry.type.has_value()) return *entry.type;
    return absl::UnimplementedError(
        absl::StrCat("type ", entry.name, " is not supported"));
  }
  return absl::UnimplementedError(
      absl::StrCat("type number ", number, " is not known"));
}

struct Counts {
  uint64_t tensors;
  uint64_t metadata;
};

absl::StatusOr<Counts> TakeHeader(ByteCursor& cursor) {
  ASSIGN_OR_RETURN(const auto magic, cursor.Take(4, "the magic number"));
  if (AsText(magic) != "GGUF") {
    return absl::InvalidArgumentError("the file does not begin with GGUF");
  }
  ASSIGN_OR_RETURN(const uint32_t version,
                   cursor.TakeNumber<uint32_t>("the version"));
  if (version != 2 && version != 3) {
    return absl::UnimplementedError(absl::StrCat(
        "GGUF version ", version, " is not supported, only 2 and 3",
        (version & 0xffff) == 0 ? "; the file seems to be big-endian" : ""));
  }
  Counts counts;
  ASSIGN_OR_RETURN(counts.tensors,
                   cursor.TakeNumber<uint64_t>("the tensor count"));
  ASSIGN_OR_RETURN(counts.metadata,
                   cursor.TakeNumber<uint64_t>("the metadata count"));
  return counts;
}

// A tensor's description; `offset` and `size` count bytes of the data section.
struct TensorInfo {
  DType type;
  std::vector<int64_t> shape;
  uint64_t offset;
  uint64_t size;
};

absl::StatusOr<TensorInfo> TakeTensorInfo(ByteCursor& cursor) {
  ASSIGN_OR_RETURN(const uint32_t dimensions,
                   cursor.TakeNumber<uint32_t>("the number of dimensions"));
  if (dimensions > kMaxDimensions) {
    return absl::InvalidArgumentError(absl::StrCat(
        dimensions, " dimensions; at most ", kMaxDimensions, " are allowed"));
  }
  TensorInfo info;
  info.shape.resize(dimensions);
  for (uint32_t i = dimensions; i > 0; --i) {
    ASSIGN_OR_RETURN(info.shape[i - 1],
                     cursor.TakeNumber<int64_t>("a dimension"));
  }
  ASSIGN_OR_RETURN(const uint32_t type,
                   cursor.TakeNumber<uint32_t>("the type"));
  ASSIGN_OR_RETURN(info.offset, cursor.TakeNumber<uint64_t>("the offset"));
  ASSIGN_OR_RETURN(info.type, DTypeFromGgml(type));
  ASSIGN_OR_RETURN(info.size, TensorBytes(info.type, info.shape));
  return info;
}

absl::Status TensorError(std::string_view name, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("tensor ", Quote(name), ": ",
                                                  status.message()));
}

using TensorInfos = std::map<std::string_view, TensorInfo>;

absl::StatusOr<TensorInfos> TakeTensorInfos(ByteCursor& cursor,
                                            uint64_t count) {
  TensorInfos infos;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const uint64_t name_size,
                     cursor.TakeNumber<uint64_t>("a tensor's name"));
    ASSIGN_OR_RETURN(const auto name_bytes,
                     cursor.Take(name_size, "a tensor's name"));
    const std::string_view name = AsText(name_bytes);
    absl::StatusOr<TensorInfo> info = TakeTensorInfo(cursor);
    if (!info.ok()) return TensorError(name, info.status());
    if (!infos.emplace(name, *std::move(info)).second) {
      return TensorError(name, absl::InvalidArgumentError("is there twice"));
    }
  }
  return infos;
}

absl::StatusOr<uint32_t> Alignment(const GgufMetadata& metadata) {
  constexpr std::string_view kKey = "general.alignment";
  if (!metadata.Has(kKey)) return kDefaultAlignment;
  ASSIGN_OR_RETURN(const uint32_t alignment, metadata.GetU32(kKey));
  if (!std::has_single_bit(alignment)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "general.alignment is ", alignment, ", not a power of two"));
  }
  return alignment;
}

// The bytes from the first multiple of `alignment` after the tensor infos on;
// none if the file ends before.
absl::Span<const std::byte> DataSection(absl::Span<const std::byte> file,
                                        uint64_t infos_end,
                                        uint64_t alignment) {
  const uint64_t begin = (infos_end + alignment - 1) / alignment * alignment;
  return file.subspan(std::min<uint64_t>(begin, file.size()));
}

absl::Status CheckOffset(const TensorInfo& info, uint64_t alignment,
                         uint64_t data_size) {
  if (info.offset % alignment != 0) {
    return absl::InvalidArgumentError(absl::StrCat("offset ", info.offset,
                                                   " is not a multiple of the ",
                                                   "alignment ", alignment));
  }
  if (info.offset > data_size || info.size > data_size - info.offset) {
    return absl::OutOfRangeError(absl::StrCat(
        "offset ", info.offset, " + ", info.size, " bytes ends past the ",
        data_size, " bytes of data in the file"));
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorMap> MakeViews(const TensorInfos& infos,
                                    uint64_t alignment,
                                    absl::Span<const std::byte> data) {
  TensorMap tensors;
  std::vector<TensorExtent> extents;
  for (const auto& [name, info] : infos) {
    const absl::Status status = CheckOffset(info, alignment, data.size());
    if (!status.ok()) return TensorError(name, status);
    tensors.emplace(name, TensorView{info.type, info.shape,
                                     data.subspan(info.offset, info.size)});
    extents.push_back({name, info.offset, info.offset + info.size});
  }
  RETURN_IF_ERROR(CheckDisjoint(std::move(extents)));
  return tensors;
}

}  // namespace

absl::StatusOr<GgufFile> ParseGguf(absl::Span<const std::byte> bytes) {
  ByteCursor cursor(bytes);
  GgufFile file;
  ASSIGN_OR_RETURN(const Counts counts, TakeHeader(cursor));
  ASSIGN_OR_RETURN(file.metadata, GgufMetadata::Parse(cursor, counts.metadata));
  ASSIGN_OR_RETURN(const TensorInfos infos,
                   TakeTensorInfos(cursor, counts.tensors));
  ASSIGN_OR_RETURN(const uint32_t alignment, Alignment(file.metadata));
  const auto data = DataSection(bytes, cursor.position(), alignment);
  ASSIGN_OR_RETURN(file.tensors, MakeViews(infos, alignment, data));
  return file;
}

}  // namespace mla::runtime

// Tested by tests/runtime/gguf_test.cc.
