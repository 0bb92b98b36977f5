// Tokenizer turns text into token ids and back, exactly as Hugging Face's
// tokenizers library does for the same tokenizer.json, and as llama.cpp does
// for the same GGUF metadata (but Qwen 2 text is NFC-normalized here in both).
//
// Owns:    the vocabulary and all tables. Immutable after construction.
// Threads: any.
// Units:   ids are int32; offsets are bytes of UTF-8.
// Errors:  Encode: InvalidArgument for ill-formed UTF-8, ResourceExhausted for
//          text that drives a pattern past its limits or is absurdly long.
//          Factories: InvalidArgument or Unimplemented, naming the culprit.
// Flow:    server -> [here] -> Request;  Sampler -> Detokenizer -> [here]
#ifndef MLA_RUNTIME_TOKENIZER_TOKENIZER_H_
#define MLA_RUNTIME_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text_range.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/gguf_vocab.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/vocabulary.h"

namespace mla::runtime {

struct EncodeOptions {
  // Add what the model expects around a text, such as <s>.
  bool add_special = true;
  // Recognise markup (see added_tokens.h) written in the text. Off, so that
  // text from a client cannot forge a turn.
  bool parse_special = false;
};

class Tokenizer {
 public:
  // `config`: the text of tokenizer_config.json, or "".
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(
      std::string_view tokenizer_json, std::string_view config);
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromGguf(
      const GgufVocab& gguf);

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              EncodeOptions options) const;
  // As Encode, but markup is recognised only inside `trusted`: sorted disjoint
  // ranges of `text`, those that a chat template wrote.
  absl::StatusOr<std::vector<int32_t>> EncodeTrusting(
      std::string_view text, absl::Span<const TextRange> trusted,
      bool add_special) const;

  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const;

  int32_t vocab_size() const { return parts_.vocabulary.size(); }
  bool Has(int32_t id) const { return parts_.vocabulary.Has(id); }
  // As the vocabulary spells it; "" for an id that Has() not.
  std::string_view TokenText(int32_t id) const {
    return parts_.vocabulary.Text(id);
  }
  std::optional<int32_t> IdOf(std::string_view token) const {
    return parts_.vocabulary.Find(token);
  }
  bool IsSpecial(int32_t id) const { return parts_.special_ids.contains(id); }

  std::optional<int32_t> bos_id() const { return parts_.bos_id; }
  // The ids after which a model has finished; may be empty.
  const std::vector<int32_t>& eos_ids() const { return parts_.eos_ids; }
  // "bos_token", "eos_token", ...: what templates call them -> their texts.
  const absl::flat_hash_map<std::string, std::string>& named_tokens() const {
    return parts_.named_tokens;
  }
  // What add_special puts before a text and after it.
  const std::vector<int32_t>& prefix() const { return parts_.prefix; }
  const std::vector<int32_t>& suffix() const { return parts_.suffix; }
  const Vocabulary& vocabulary() const { return parts_.vocabulary; }
  const Decoder& decoder() const { return decoder_; }

  // What the factories assemble.
  struct Parts {
    Vocabulary vocabulary;
    AddedTokens raw_added;         // looked for in the text as given
    AddedTokens normalized_added;  // looked for in normalized text
    absl::flat_hash_set<int32_t> special_ids;
    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    std::optional<BpeModel> model;
    DecoderRules decoder;
    std::vector<int32_t> prefix;
    std::vector<int32_t> suffix;
    std::optional<int32_t> bos_id;
    std::vector<int32_t> eos_ids;
    absl::flat_hash_map<std::string, std::string> named_tokens;
  };
  explicit Tokenizer(Parts parts);
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

 private:
  absl::Status EncodeRaw(std::string_view text, bool at_text_start,
                         absl::Span<const TextRange> trusted,
                         std::vector<int32_t>* ids) const;
  absl::Status EncodeWords(std::string_view normalized, bool at_text_start,
                           std::vector<int32_t>* ids) const;

  Parts parts_;
  Decoder decoder_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_TOKENIZER_H_
