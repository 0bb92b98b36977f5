#include "runtime/checkpoint/gguf_metadata.h"

#include <iterator>
#include <limits>
#include <optional>
#include <string>

#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Deeper nesting has no use in a model file and would cost stack.
constexpr int kMaxArrayDepth = 4;

struct TypeInfo {
  const char* name;
  uint64_t bytes;  // 0: the size stands before each value
};

// By GgufType.
constexpr TypeInfo kTypes[] = {
    {"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
    {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
    {"u64", 8}, {"i64", 8}, {"f64", 8},
};

const TypeInfo& Info(GgufType type) {
  return kTypes[static_cast<uint32_t>(type)];
}

absl::StatusOr<GgufType> TakeType(ByteCursor& cursor) {
  ASSIGN_OR_RETURN(const uint32_t number,
                   cursor.TakeNumber<uint32_t>("a value type"));
  if (number >= std::size(kTypes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no value type ", number));
  }
  return static_cast<GgufType>(number);
}

absl::StatusOr<std::string_view> TakeString(ByteCursor& cursor,
                                            const char* what) {
  ASSIGN_OR_RETURN(const uint64_t size, cursor.TakeNumber<uint64_t>(what));
  ASSIGN_OR_RETURN(const auto bytes, cursor.Take(size, what));
  return AsText(bytes);
}

struct ArrayHeader {
  GgufType element_type;
  uint64_t count;
};

absl::StatusOr<ArrayHeader> TakeArrayHeader(ByteCursor& cursor) {
  ASSIGN_OR_RETURN(const GgufType type, TakeType(cursor));
  ASSIGN_OR_RETURN(const uint64_t count,
                   cursor.TakeNumber<uint64_t>("an array's length"));
  return ArrayHeader{type, count};
}

// Walks over `count` values of one type. Each takes at least one byte, so a
// false count runs into the end of the file.
absl::Status SkipValues(ByteCursor& cursor, GgufType type, uint64_t count,
                        int depth) {
  const uint64_t size = Info(type).bytes;
  if (size != 0) {
    if (count > cursor.remaining() / size) {
      return absl::OutOfRangeError(absl::StrCat(
          count, " values of type ", GgufTypeName(type), " do not fit in the ",
          cursor.remaining(), " bytes left"));
    }
    return cursor.Take(count * size, "a value").status();
  }
  if (type == GgufType::kString) {
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(TakeString(cursor, "a string").status());
    }
    return absl::OkStatus();
  }
  if (depth == kMaxArrayDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("arrays are nested more than ", kMaxArrayDepth, " deep"));
  }
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const ArrayHeader array, TakeArrayHeader(cursor));
    RETURN_IF_ERROR(
        SkipValues(cursor, array.element_type, array.count, depth + 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufValue> TakeValue(ByteCursor& cursor) {
  GgufValue value = {};
  ASSIGN_OR_RETURN(value.type, TakeType(cursor));
  if (value.type == GgufType::kString) {
    ASSIGN_OR_RETURN(const std::string_view text,
                     TakeString(cursor, "a string"));
    value.bytes = {reinterpret_cast<const std::byte*>(text.data()),
                   text.size()};
    return value;
  }
  value.element_type = value.type;
  value.count = 1;
  if (value.type == GgufType::kArray) {
    ASSIGN_OR_RETURN(const ArrayHeader array, TakeArrayHeader(cursor));
    value.element_type = array.element_type;
    value.count = array.count;
  }
  const uint64_t start = cursor.position();
  RETURN_IF_ERROR(SkipValues(cursor, value.element_type, value.count, 1));
  value.bytes = cursor.Since(start);
  return value;
}

absl::Status KeyError(absl::StatusCode code, std::string_view key,
                      absl::string_view message) {
  return absl::Status(code,
                      absl::StrCat("metadata key ", Quote(key), " ", message));
}

absl::Status TypeError(std::string_view key, const GgufValue& value,
                       const std::string& wanted) {
  std::string found = GgufTypeName(value.type);
  if (value.type == GgufType::kArray) {
    absl::StrAppend(&found, " of ", GgufTypeName(value.element_type));
  }
  return KeyError(absl::StatusCode::kInvalidArgument, key,
                  absl::StrCat("is ", found, ", not ", wanted));
}

// Wide enough for every integer type; nothing if `type` is not one.
std::optional<absl::int128> LoadInteger(GgufType type,
                                        absl::Span<const std::byte> bytes) {
  switch (type) {
    case GgufType::kU8:
      return LoadNumber<uint8_t>(bytes);
    case GgufType::kI8:
      return LoadNumber<int8_t>(bytes);
    case GgufType::kU16:
      return LoadNumber<uint16_t>(bytes);
    case GgufType::kI16:
      return LoadNumber<int16_t>(bytes);
    case GgufType::kU32:
      return LoadNumber<uint32_t>(bytes);
    case GgufType::kI32:
      return LoadNumber<int32_t>(bytes);
    case GgufType::kU64:
      return LoadNumber<uint64_t>(bytes);
    case GgufType::kI64:
      return LoadNumber<int64_t>(bytes);
    default:
      return std::nullopt;
  }
}

template <typename T>
absl::StatusOr<T> GetInteger(std::string_view key, const GgufValue& value,
                             GgufType type, absl::Span<const std::byte> bytes) {
  const std::optional<absl::int128> integer = LoadInteger(type, bytes);
  if (!integer.has_value()) return TypeError(key, value, "an integer");
  if (*integer < std::numeric_limits<T>::min() ||
      *integer > std::numeric_limits<T>::max()) {
    return KeyError(
        absl::StatusCode::kInvalidArgument, key,
        absl::StrCat("does not fit in ", std::numeric_limits<T>::min(), " to ",
                     std::numeric_limits<T>::max()));
  }
  return static_cast<T>(*integer);
}

absl::Status CheckType(std::string_view key, const GgufValue& value,
                       GgufType type) {
  if (value.type == type) return absl::OkStatus();
  return TypeError(key, value, GgufTypeName(type));
}

absl::Status CheckArrayOf(std::string_view key, const GgufValue& value,
                          GgufType element_type) {
  if (value.type == GgufType::kArray && value.element_type == element_type) {
    return absl::OkStatus();
  }
  return TypeError(key, value,
                   absl::StrCat("array of ", GgufTypeName(element_type)));
}

}  // namespace

const char* GgufTypeName(GgufType type) { return Info(type).name; }

absl::StatusOr<GgufMetadata> GgufMetadata::Parse(ByteCursor& cursor,
                                                 uint64_t count) {
  GgufMetadata metadata;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string_view key,
                     TakeString(cursor, "a metadata key"));
    const absl::StatusOr<GgufValue> value = TakeValue(cursor);
    if (!value.ok()) {
      return KeyError(
          value.status().code(), key,
          absl::StrCat("cannot be read: ", value.status().message()));
    }
    if (!metadata.values_.emplace(key, *value).second) {
      return KeyError(absl::StatusCode::kInvalidArgument, key,
                      "is there twice");
    }
  }
  return metadata;
}

absl::StatusOr<const GgufValue*> GgufMetadata::Find(
    std::string_view key) const {
  const auto it = values_.find(key);
  if (it != values_.end()) return &it->second;
  return KeyError(absl::StatusCode::kNotFound, key, "is missing");
}

absl::StatusOr<uint32_t> GgufMetadata::GetU32(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  return GetInteger<uint32_t>(key, *value, value->type, value->bytes);
}

absl::StatusOr<uint64_t> GgufMetadata::GetU64(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  return GetInteger<uint64_t>(key, *value, value->type, value->bytes);
}

absl::StatusOr<float> GgufMetadata::GetF32(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  RETURN_IF_ERROR(CheckType(key, *value, GgufType::kF32));
  return LoadNumber<float>(value->bytes);
}

absl::StatusOr<bool> GgufMetadata::GetBool(std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  RETURN_IF_ERROR(CheckType(key, *value, GgufType::kBool));
  return LoadNumber<uint8_t>(value->bytes) != 0;
}

absl::StatusOr<std::string_view> GgufMetadata::GetString(
    std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  RETURN_IF_ERROR(CheckType(key, *value, GgufType::kString));
  return AsText(value->bytes);
}

absl::StatusOr<std::vector<std::string_view>> GgufMetadata::GetStringArray(
    std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  RETURN_IF_ERROR(CheckArrayOf(key, *value, GgufType::kString));
  std::vector<std::string_view> strings;
  strings.reserve(value->count);
  for (ByteCursor cursor(value->bytes); strings.size() < value->count;) {
    ASSIGN_OR_RETURN(const std::string_view text,
                     TakeString(cursor, "a string"));
    strings.push_back(text);
  }
  return strings;
}

absl::StatusOr<std::vector<float>> GgufMetadata::GetF32Array(
    std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  RETURN_IF_ERROR(CheckArrayOf(key, *value, GgufType::kF32));
  std::vector<float> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    numbers.push_back(
        LoadNumber<float>(value->bytes.subspan(i * sizeof(float))));
  }
  return numbers;
}

absl::StatusOr<std::vector<int32_t>> GgufMetadata::GetI32Array(
    std::string_view key) const {
  ASSIGN_OR_RETURN(const GgufValue* value, Find(key));
  if (value->type != GgufType::kArray) {
    return TypeError(key, *value, "array of an integer type");
  }
  const uint64_t size = Info(value->element_type).bytes;
  std::vector<int32_t> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    ASSIGN_OR_RETURN(const int32_t number,
                     GetInteger<int32_t>(key, *value, value->element_type,
                                         value->bytes.subspan(i * size)));
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace mla::runtime

// Tested by tests/runtime/gguf_test.cc.
