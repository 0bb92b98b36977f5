// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/verify/golden_file.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "kernels/dequantize.h"
#include "runtime/json.h"
#include "runtime/json_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using kernels::DType;
using nlohmann::json;

absl::StatusOr<json> ReadJsonFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return ParseJson(text);
}

absl::StatusOr<std::vector<int32_t>> ReadIds(const json& prompt,
                                             const char* field,
                                             int vocab_size) {
  ASSIGN_OR_RETURN(std::vector<int> ids, ReadInts(prompt, field));
  for (const int id : ids) {
    if (id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("golden.json: ", field, ": ", id, " is no token"));
    }
  }
  return ids;
}

// The top lists' fields are named after their length: last_top20_ids.
absl::Status ReadTop(const json& prompt, int vocab_size, GoldenPrompt& p) {
  for (const char* count : {"20", "50"}) {
    const std::string field = absl::StrCat("last_top", count, "_");
    if (!prompt.contains(field + "ids")) continue;
    ASSIGN_OR_RETURN(p.top_ids,
                     ReadIds(prompt, (field + "ids").c_str(), vocab_size));
    ASSIGN_OR_RETURN(p.top_logits,
                     ReadNumbers(prompt, (field + "logits").c_str()));
  }
  if (p.top_ids.size() == p.top_logits.size()) return absl::OkStatus();
  return absl::InvalidArgumentError("golden.json: a top list is incomplete");
}

absl::StatusOr<GoldenPrompt> ReadPrompt(const json& prompt, int vocab_size) {
  GoldenPrompt p;
  ASSIGN_OR_RETURN(p.name, ReadString(prompt, "name", ""));
  ASSIGN_OR_RETURN(p.ids, ReadIds(prompt, "input_ids", vocab_size));
  ASSIGN_OR_RETURN(p.greedy_ids, ReadIds(prompt, "greedy_ids", vocab_size));
  ASSIGN_OR_RETURN(p.greedy_margins, ReadNumbers(prompt, "greedy_margins"));
  RETURN_IF_ERROR(ReadTop(prompt, vocab_size, p));
  ASSIGN_OR_RETURN(p.rendered, ReadString(prompt, "rendered", ""));
  if (prompt.contains("messages")) p.messages = prompt["messages"];
  if (p.ids.empty() || p.greedy_ids.size() != p.greedy_margins.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("golden.json: prompt '", p.name, "' is incomplete"));
  }
  return p;
}

absl::StatusOr<GoldenPerplexity> ReadPerplexity(const json& object,
                                                const Checkpoint& tensors,
                                                int vocab_size) {
  GoldenPerplexity p;
  ASSIGN_OR_RETURN(p.mean_nll, ReadNumber(object, "mean_nll", 0));
  ASSIGN_OR_RETURN(p.text_file, ReadString(object, "text", ""));
  ASSIGN_OR_RETURN(const TensorView* ids, tensors.Get("ppl.window_ids"));
  if (ids->type != DType::kI32 || ids->shape.size() != 2) {
    return absl::InvalidArgumentError(
        "golden.safetensors: ppl.window_ids must be int32 [windows, tokens]");
  }
  const std::vector<int64_t> all = ReadIntegers(*ids);
  for (int64_t w = 0; w < ids->shape[0]; ++w) {
    std::vector<int32_t>& window = p.windows.emplace_back();
    for (int64_t i = 0; i < ids->shape[1]; ++i) {
      const int64_t id = all[w * ids->shape[1] + i];
      if (id < 0 || id >= vocab_size) {
        return absl::InvalidArgumentError(absl::StrCat(
            "golden.safetensors: ppl.window_ids: ", id, " is no token"));
      }
      window.push_back(static_cast<int32_t>(id));
    }
  }
  return p;
}

}  // namespace

absl::StatusOr<GoldenFile> GoldenFile::Open(const std::string& folder,
                                            int vocab_size) {
  GoldenFile golden;
  ASSIGN_OR_RETURN(const json object, ReadJsonFile(folder + "/golden.json"));
  ASSIGN_OR_RETURN(golden.tensors,
                   Checkpoint::Open(folder + "/golden.safetensors"));
  if (!object.contains("prompts") || !object["prompts"].is_array()) {
    return absl::InvalidArgumentError("golden.json: no list 'prompts'");
  }
  for (const json& prompt : object["prompts"]) {
    ASSIGN_OR_RETURN(GoldenPrompt p, ReadPrompt(prompt, vocab_size));
    golden.prompts.push_back(std::move(p));
  }
  if (object.contains("perplexity")) {
    ASSIGN_OR_RETURN(
        golden.perplexity,
        ReadPerplexity(object["perplexity"], *golden.tensors, vocab_size));
  }
  return golden;
}

const TensorView* GoldenFile::FindRows(const std::string& name) const {
  const TensorView* tensor = tensors->Find(name);
  if (tensor == nullptr || tensor->type != DType::kF32 ||
      tensor->shape.size() != 2) {
    return nullptr;
  }
  return tensor;
}

std::vector<float> ReadRow(const TensorView& tensor, int64_t row) {
  const int64_t cols = tensor.shape.back();
  std::vector<float> values(cols);
  kernels::Dequantize(
      tensor.type,
      tensor.bytes.data() + row * cols * kernels::SizeOf(tensor.type), cols,
      values.data());
  return values;
}

std::vector<int64_t> ReadIntegers(const TensorView& tensor) {
  std::vector<int64_t> values(tensor.Elements());
  const size_t size = kernels::SizeOf(tensor.type);
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* p = tensor.bytes.data() + i * size;
    if (tensor.type == DType::kI64) {
      std::memcpy(&values[i], p, 8);
    } else {
      int32_t value;
      std::memcpy(&value, p, 4);
      values[i] = value;
    }
  }
  return values;
}

}  // namespace mla::runtime
