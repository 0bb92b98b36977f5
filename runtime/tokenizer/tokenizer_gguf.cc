// Tokenizer::FromGguf: the tokenizer.ggml.* metadata -> Parts.
//
// Tested by tests/runtime/gguf_tokenizer_test.cc.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/gguf_pre_tokenizers.h"
#include "runtime/tokenizer/gguf_tokens.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Longer tokens would make it slow to look for the pairs that merge into them.
constexpr size_t kMaxTokenBytes = 1024;

absl::Status CheckArrays(const GgufVocab& gguf) {
  const size_t n = gguf.tokens.size();
  if (n == 0)
    return absl::InvalidArgumentError("tokenizer.ggml.tokens is empty");
  if (!gguf.types.empty() && gguf.types.size() != n) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.token_type has ", gguf.types.size(),
                     " elements for ", n, " tokens"));
  }
  if (gguf.model == "llama" && gguf.scores.size() != n) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.scores has ", gguf.scores.size(),
                     " elements for ", n, " tokens"));
  }
  return absl::OkStatus();
}

// Fills the vocabulary and the added tokens, and gives the model the tokens
// that words may be spelled with.
absl::Status AddTokens(const GgufVocab& gguf, Tokenizer::Parts* parts) {
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    const std::string& text = gguf.tokens[id];
    if (text.empty()) continue;  // a hole: some files have several
    if (FindInvalidUtf8(text) != std::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", id, " is not valid UTF-8"));
    }
    if (text.size() > kMaxTokenBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", id, " is ", text.size(),
                       " bytes long; at most ", kMaxTokenBytes));
    }
    RETURN_IF_ERROR(parts->vocabulary.Add(text, static_cast<int64_t>(id)));
    if (IsAdded(TypeOf(gguf, id))) {
      AddedToken token;
      token.id = static_cast<int32_t>(id);
      token.text = text;
      token.special = TypeOf(gguf, id) != GgufTokenType::kUserDefined;
      if (token.special) parts->special_ids.insert(token.id);
      parts->raw_added.Add(std::move(token));
    }
    if (CanSpell(gguf, id)) {
      parts->model->AddToken(parts->vocabulary.Text(id),
                             static_cast<int32_t>(id));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckId(const GgufVocab& gguf, const char* key,
                     std::optional<uint32_t> id) {
  if (!id.has_value() || *id < gguf.tokens.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.ggml.", key, " is ", *id, "; there are ",
                   gguf.tokens.size(), " tokens"));
}

absl::Status SetNamedTokens(const GgufVocab& gguf, Tokenizer::Parts* parts) {
  RETURN_IF_ERROR(CheckId(gguf, "bos_token_id", gguf.bos_id));
  RETURN_IF_ERROR(CheckId(gguf, "eos_token_id", gguf.eos_id));
  RETURN_IF_ERROR(CheckId(gguf, "eot_token_id", gguf.eot_id));
  RETURN_IF_ERROR(CheckId(gguf, "eom_token_id", gguf.eom_id));
  RETURN_IF_ERROR(CheckId(gguf, "unknown_token_id", gguf.unk_id));
  RETURN_IF_ERROR(CheckId(gguf, "padding_token_id", gguf.pad_id));
  const auto name = [&](const char* key, std::optional<uint32_t> id) {
    if (id.has_value()) parts->named_tokens[key] = gguf.tokens[*id];
  };
  name("bos_token", gguf.bos_id);
  name("eos_token", gguf.eos_id);
  name("unk_token", gguf.unk_id);
  name("pad_token", gguf.pad_id);
  parts->bos_id = gguf.bos_id;
  for (const auto id : {gguf.eos_id, gguf.eot_id, gguf.eom_id}) {
    const auto& ids = parts->eos_ids;
    if (id.has_value() && std::find(ids.begin(), ids.end(), *id) == ids.end()) {
      parts->eos_ids.push_back(*id);
    }
  }
  return absl::OkStatus();
}

void SetPrefixAndSuffix(const GgufVocab& gguf, bool add_bos_by_default,
                        Tokenizer::Parts* parts) {
  if (gguf.add_bos.value_or(add_bos_by_default) && gguf.bos_id.has_value()) {
    parts->prefix.push_back(*gguf.bos_id);
  }
  if (gguf.add_eos.value_or(false) && gguf.eos_id.has_value()) {
    parts->suffix.push_back(*gguf.eos_id);
  }
}

absl::Status AddMerges(const GgufVocab& gguf, Tokenizer::Parts* parts) {
  ASSIGN_OR_RETURN(const auto merges, GgufMerges(gguf, parts->vocabulary));
  for (const GgufMerge& merge : merges) {
    parts->model->AddMerge(merge.left, merge.right, merge.rank, merge.merged);
  }
  return absl::OkStatus();
}

absl::StatusOr<Tokenizer::Parts> ByteLevelParts(const GgufVocab& gguf) {
  Tokenizer::Parts parts;
  ASSIGN_OR_RETURN(
      const GgufPreTokenizer* pre,
      FindGgufPreTokenizer(gguf.pre.empty() ? "default" : gguf.pre));
  for (const char* pattern : pre->patterns) {
    ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
    parts.pre_tokenizer.AddSplit(std::move(regex), SplitBehavior::kIsolated,
                                 /*invert=*/false);
  }
  parts.pre_tokenizer.AddByteLevel();
  if (pre->nfc) parts.normalizer.AddUnicode(UnicodeForm::kNfc);
  parts.decoder.byte_level = true;
  parts.model.emplace(BpeModel::Fallback());
  parts.model->set_ignore_merges(pre->ignore_merges);
  RETURN_IF_ERROR(AddTokens(gguf, &parts));
  RETURN_IF_ERROR(AddMerges(gguf, &parts));
  SetPrefixAndSuffix(gguf, pre->add_bos, &parts);
  return parts;
}

absl::StatusOr<Tokenizer::Parts> SentencePieceParts(const GgufVocab& gguf) {
  for (size_t id = 0; id < gguf.scores.size(); ++id) {
    if (std::isnan(gguf.scores[id])) {
      return absl::InvalidArgumentError(
          absl::StrCat("the score of token ", id, " is not a number"));
    }
  }
  Tokenizer::Parts parts;
  if (gguf.add_space_prefix.value_or(true)) {
    parts.normalizer.AddPrepend(std::string(kSpaceMark));
    parts.decoder.strip = std::string(" ");
    parts.decoder.strip_count = 1;
  }
  ASSIGN_OR_RETURN(Regex space, Regex::Literal(" "));
  parts.normalizer.AddReplace(std::move(space), std::string(kSpaceMark));
  parts.decoder.replacements = {{std::string(kSpaceMark), " "}};
  parts.decoder.byte_fallback = true;

  BpeModel::Fallback fallback;
  fallback.unknown = gguf.unk_id;
  fallback.fuse_unknown = true;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    const auto byte = ParseByteToken(gguf.tokens[id]);
    if (TypeOf(gguf, id) == GgufTokenType::kByte && byte.has_value()) {
      fallback.byte_ids[*byte] = static_cast<int32_t>(id);
    }
  }
  parts.model.emplace(fallback);
  RETURN_IF_ERROR(AddTokens(gguf, &parts));
  RETURN_IF_ERROR(AddMerges(gguf, &parts));
  SetPrefixAndSuffix(gguf, /*add_bos_by_default=*/true, &parts);
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromGguf(
    const GgufVocab& gguf) {
  RETURN_IF_ERROR(CheckArrays(gguf));
  if (gguf.model != "gpt2" && gguf.model != "llama") {
    return absl::UnimplementedError(absl::StrCat(
        "tokenizer.ggml.model ", Quote(gguf.model), " is not supported"));
  }
  ASSIGN_OR_RETURN(Parts parts, gguf.model == "gpt2"
                                    ? ByteLevelParts(gguf)
                                    : SentencePieceParts(gguf));
  RETURN_IF_ERROR(SetNamedTokens(gguf, &parts));
  return std::make_unique<Tokenizer>(std::move(parts));
}

}  // namespace mla::runtime
