// GoldenFile: a folder's golden.json and golden.safetensors, typed and checked.
// Threads: immutable after Open; any.
#ifndef MLA_RUNTIME_VERIFY_GOLDEN_FILE_H_
#define MLA_RUNTIME_VERIFY_GOLDEN_FILE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"

namespace mla::runtime {

struct GoldenPrompt {
  std::string name;
  std::vector<int32_t> ids;
  std::vector<int32_t> greedy_ids;
  std::vector<double> greedy_margins;  // of the best logit over the second
  std::vector<int32_t> top_ids;        // at the last position, with their...
  std::vector<double> top_logits;
  nlohmann::json messages;  // of a chat prompt, or null
  std::string rendered;
};

// Windows of a text, each scored alone.
struct GoldenPerplexity {
  std::vector<std::vector<int32_t>> windows;
  double mean_nll = 0;
  std::string text_file;  // what the windows were cut from
};

struct GoldenFile {
  static absl::StatusOr<GoldenFile> Open(const std::string& folder,
                                         int vocab_size);

  // A float tensor [rows, cols], or null.
  const TensorView* FindRows(const std::string& name) const;

  std::vector<GoldenPrompt> prompts;
  std::optional<GoldenPerplexity> perplexity;
  std::unique_ptr<Checkpoint> tensors;
};

// Row `row` of a float tensor [rows, cols].
std::vector<float> ReadRow(const TensorView& tensor, int64_t row);
// All elements of an integer tensor.
std::vector<int64_t> ReadIntegers(const TensorView& tensor);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_VERIFY_GOLDEN_FILE_H_
