// Tested by tests/runtime/gguf_tokenizer_test.cc.
#include "runtime/tokenizer/gguf_vocab.h"

#include <string_view>

#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Absent keys leave their field as it is; present ones must have the type.
class Reader {
 public:
  explicit Reader(const GgufMetadata& metadata) : metadata_(metadata) {}

  absl::Status Read(std::string_view key, std::string* out) const {
    if (!metadata_.Has(key)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::string_view value, metadata_.GetString(key));
    *out = std::string(value);
    return absl::OkStatus();
  }
  absl::Status Read(std::string_view key, std::vector<std::string>* out) const {
    if (!metadata_.Has(key)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const auto values, metadata_.GetStringArray(key));
    out->assign(values.begin(), values.end());
    return absl::OkStatus();
  }
  absl::Status Read(std::string_view key, std::vector<float>* out) const {
    if (!metadata_.Has(key)) return absl::OkStatus();
    ASSIGN_OR_RETURN(*out, metadata_.GetF32Array(key));
    return absl::OkStatus();
  }
  absl::Status Read(std::string_view key, std::vector<int32_t>* out) const {
    if (!metadata_.Has(key)) return absl::OkStatus();
    ASSIGN_OR_RETURN(*out, metadata_.GetI32Array(key));
    return absl::OkStatus();
  }
  absl::Status Read(std::string_view key, std::optional<uint32_t>* out) const {
    if (!metadata_.Has(key)) return absl::OkStatus();
    ASSIGN_OR_RETURN(*out, metadata_.GetU32(key));
    return absl::OkStatus();
  }
  absl::Status Read(std::string_view key, std::optional<bool>* out) const {
    if (!metadata_.Has(key)) return absl::OkStatus();
    ASSIGN_OR_RETURN(*out, metadata_.GetBool(key));
    return absl::OkStatus();
  }

 private:
  const GgufMetadata& metadata_;
};

}  // namespace

absl::StatusOr<GgufVocab> ReadGgufVocab(const GgufMetadata& metadata) {
  const Reader reader(metadata);
  GgufVocab vocab;
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.model", &vocab.model));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.pre", &vocab.pre));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.tokens", &vocab.tokens));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.scores", &vocab.scores));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.token_type", &vocab.types));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.merges", &vocab.merges));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.bos_token_id", &vocab.bos_id));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.eos_token_id", &vocab.eos_id));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.eot_token_id", &vocab.eot_id));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.eom_token_id", &vocab.eom_id));
  RETURN_IF_ERROR(
      reader.Read("tokenizer.ggml.unknown_token_id", &vocab.unk_id));
  RETURN_IF_ERROR(
      reader.Read("tokenizer.ggml.padding_token_id", &vocab.pad_id));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.add_bos_token", &vocab.add_bos));
  RETURN_IF_ERROR(reader.Read("tokenizer.ggml.add_eos_token", &vocab.add_eos));
  RETURN_IF_ERROR(
      reader.Read("tokenizer.ggml.add_space_prefix", &vocab.add_space_prefix));
  return vocab;
}

}  // namespace mla::runtime
