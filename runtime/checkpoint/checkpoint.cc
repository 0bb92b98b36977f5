#include "runtime/checkpoint/checkpoint.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/json.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr size_t kMaxTextBytes = size_t{256} << 20;

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(path, ": ", status.message()));
}

// Whether `name` can only mean a file inside the folder it is joined to.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name[0] != '.' &&
         name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

// Shard file -> tensors that the index says it holds.
using Shards = std::map<std::string, std::vector<std::string>>;

absl::StatusOr<Shards> ParseIndex(std::string_view text) {
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseJson(text));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object()) {
    return absl::InvalidArgumentError("has no object weight_map");
  }
  Shards shards;
  for (const auto& [tensor, shard] : weight_map->items()) {
    const auto* name = shard.get_ptr<const std::string*>();
    if (name == nullptr || !IsPlainFileName(*name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weight_map: tensor ", Quote(tensor),
          " must name a file of this folder, not ", Quote(shard.dump())));
    }
    shards[*name].push_back(tensor);
  }
  return shards;
}

// llama.cpp's name for part `number` (from 1) of `count`.
std::string PartSuffix(uint64_t number, uint64_t count) {
  return absl::StrCat("-", absl::Dec(number, absl::kZeroPad5), "-of-",
                      absl::Dec(count, absl::kZeroPad5), ".gguf");
}

// How many files the GGUF checkpoint is split into, 1 if it is not.
absl::StatusOr<uint32_t> PartCount(const GgufMetadata& metadata) {
  if (!metadata.Has("split.count")) return 1;
  return metadata.GetU32("split.count");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(
    const std::string& path) {
  auto checkpoint = absl::WrapUnique(new Checkpoint);
  std::error_code ignored;  // a path that cannot be examined fails to open
  if (std::filesystem::is_directory(path, ignored)) {
    checkpoint->format_ = CheckpointFormat::kHuggingFace;
    checkpoint->folder_ = path;
    RETURN_IF_ERROR(checkpoint->OpenFolder());
  } else {
    RETURN_IF_ERROR(checkpoint->OpenFile(path));
  }
  return checkpoint;
}

const TensorView* Checkpoint::Find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

absl::StatusOr<const TensorView*> Checkpoint::Get(std::string_view name) const {
  if (const TensorView* tensor = Find(name)) return tensor;
  const auto it = unsupported_.find(name);
  if (it != unsupported_.end()) {
    return absl::UnimplementedError(
        absl::StrCat("tensor ", Quote(name), " has type ", Quote(it->second),
                     ", which is not supported"));
  }
  return absl::NotFoundError(
      absl::StrCat("tensor ", Quote(name), " is not in the checkpoint"));
}

const GgufMetadata* Checkpoint::gguf() const {
  return gguf_.has_value() ? &*gguf_ : nullptr;
}

absl::StatusOr<std::string> Checkpoint::ReadText(
    const std::string& file_name) const {
  if (format_ != CheckpointFormat::kHuggingFace) {
    return absl::NotFoundError(
        absl::StrCat(file_name, " exists only in a Hugging Face folder"));
  }
  if (!IsPlainFileName(file_name)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quote(file_name), " is not a plain file name"));
  }
  const std::string path = absl::StrCat(folder_, "/", file_name);
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (file.bytes().size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", file.bytes().size(), " bytes; at most ",
                     kMaxTextBytes, " are allowed"));
  }
  return std::string(AsText(file.bytes()));
}

absl::Status Checkpoint::OpenFolder() {
  const std::string path = absl::StrCat(folder_, "/", kSingleFile);
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (file.ok()) return AddSafetensors(path, *std::move(file), {});
  if (!absl::IsNotFound(file.status())) return file.status();

  const absl::StatusOr<std::string> index = ReadText(kIndexFile);
  if (index.ok()) return OpenShards(*index);
  if (!absl::IsNotFound(index.status())) return index.status();
  return absl::NotFoundError(absl::StrCat("folder ", folder_, " has neither ",
                                          kSingleFile, " nor ", kIndexFile));
}

absl::Status Checkpoint::OpenShards(const std::string& index) {
  const absl::StatusOr<Shards> shards = ParseIndex(index);
  if (!shards.ok()) return InFile(kIndexFile, shards.status());
  for (const auto& [shard, tensors] : *shards) {
    const std::string path = absl::StrCat(folder_, "/", shard);
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
    RETURN_IF_ERROR(AddSafetensors(path, std::move(file), tensors));
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::OpenFile(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const std::string_view text = AsText(file.bytes());
  if (text.starts_with("GGUF")) {
    format_ = CheckpointFormat::kGguf;
    RETURN_IF_ERROR(AddGguf(path, std::move(file)));
    return AddGgufParts(path);
  }
  if (text.size() > sizeof(uint64_t) && text[sizeof(uint64_t)] == '{') {
    return AddSafetensors(path, std::move(file), {});
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, " is neither GGUF nor safetensors"));
}

absl::Status Checkpoint::AddSafetensors(
    const std::string& path, MappedFile file,
    const std::vector<std::string>& expected) {
  absl::StatusOr<SafetensorsFile> parsed = ParseSafetensors(file.bytes());
  if (!parsed.ok()) return InFile(path, parsed.status());
  for (const std::string& name : expected) {
    if (!parsed->tensors.contains(name) &&
        !parsed->unsupported.contains(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", Quote(name),
                       " is not in this file, which the index names for it"));
    }
  }
  files_.push_back(std::move(file));
  unsupported_.merge(parsed->unsupported);
  return AddTensors(path, std::move(parsed->tensors));
}

// Keeps the metadata of the first file only.
absl::Status Checkpoint::AddGguf(const std::string& path, MappedFile file) {
  absl::StatusOr<GgufFile> parsed = ParseGguf(file.bytes());
  if (!parsed.ok()) return InFile(path, parsed.status());
  files_.push_back(std::move(file));
  if (!gguf_.has_value()) gguf_ = std::move(parsed->metadata);
  return AddTensors(path, std::move(parsed->tensors));
}

// A split checkpoint tells its number of parts in the first one's metadata and
// all their names by the first one's name.
absl::Status Checkpoint::AddGgufParts(const std::string& first_path) {
  const absl::StatusOr<uint32_t> count = PartCount(*gguf_);
  if (!count.ok()) return InFile(first_path, count.status());
  if (*count <= 1) return absl::OkStatus();

  absl::string_view stem = first_path;
  if (!absl::ConsumeSuffix(&stem, PartSuffix(1, *count))) {
    return absl::InvalidArgumentError(absl::StrCat(
        first_path, " is one of ", *count,
        " parts: open the one that ends with ", PartSuffix(1, *count)));
  }
  for (uint32_t number = 2; number <= *count; ++number) {
    const std::string path = absl::StrCat(stem, PartSuffix(number, *count));
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
    RETURN_IF_ERROR(AddGguf(path, std::move(file)));
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::AddTensors(const std::string& path,
                                    TensorMap tensors) {
  tensors_.merge(tensors);  // leaves behind what is there already
  if (tensors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ",
                                                 Quote(tensors.begin()->first),
                                                 " is in another file, too"));
}

}  // namespace mla::runtime

// Tested by tests/runtime/checkpoint_test.cc.
