#include "runtime/checkpoint/safetensors_index.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/atomic_file.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/checkpoint/tensor.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

bool IsText(std::string_view name) {
  return !name.empty() && FindInvalidUtf8(name) == std::string_view::npos;
}

}  // namespace

absl::Status WriteSafetensorsIndex(const std::string& path,
                                   absl::Span<const SafetensorsShard> shards) {
  json weight_map = json::object();
  uint64_t total_size = 0;
  for (const SafetensorsShard& shard : shards) {
    if (!IsText(shard.file_name) || shard.file_name[0] == '.' ||
        shard.file_name.find('/') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("a shard cannot be called ", Quote(shard.file_name)));
    }
    for (const TensorSpec& tensor : shard.tensors) {
      ASSIGN_OR_RETURN(const uint64_t bytes,
                       TensorBytes(tensor.type, tensor.shape));
      total_size += bytes;
      if (!IsText(tensor.name)) {
        return absl::InvalidArgumentError(
            absl::StrCat("a tensor cannot be called ", Quote(tensor.name)));
      }
      if (!weight_map.emplace(tensor.name, shard.file_name).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", Quote(tensor.name), " is in two shards"));
      }
    }
  }
  const json index = {{"metadata", {{"total_size", total_size}}},
                      {"weight_map", std::move(weight_map)}};
  return WriteFileAtomically(path, absl::StrCat(index.dump(2), "\n"));
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_writer_test.cc.
