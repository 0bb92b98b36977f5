// Tokenizer::FromGguf: the tokenizer.ggml.* metadata -> Parts.
//
// Tested by tests/runtime/gguf_tokenizer_test.cc.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/gguf_pre_tokenizers.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

enum GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kByte = 6,
};

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Longer tokens would make it slow to look for the pairs that merge into them.
constexpr size_t kMaxTokenBytes = 1024;

int32_t TypeOf(const GgufVocab& gguf, size_t id) {
  return gguf.types.empty() ? int32_t{kNormal} : gguf.types[id];
}

bool IsAdded(int32_t type) {
  return type == kUnknown || type == kControl || type == kUserDefined;
}

// Whether token `id` may come out of spelling or merging a client's text.
bool CanSpell(const GgufVocab& gguf, size_t id) {
  switch (TypeOf(gguf, id)) {
    case kUnknown:
    case kControl:
    case kByte:
      return false;
    case kUserDefined:
      return IsBlank(gguf.tokens[id]);
    default:
      return true;
  }
}

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

// Fills the vocabulary and the added tokens, and gives `model` the tokens that
// words may be spelled with: markup is never one of them, so that no merge can
// make a client's text into markup.
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
      token.special = TypeOf(gguf, id) != kUserDefined;
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

absl::Status AddListedMerges(const GgufVocab& gguf,
                             const Vocabulary& vocabulary, BpeModel* model) {
  for (size_t rank = 0; rank < gguf.merges.size(); ++rank) {
    const std::string& merge = gguf.merges[rank];
    const std::vector<std::string> sides = absl::StrSplit(merge, ' ');
    if (sides.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge ", rank, " is not two tokens: ", Quote(merge)));
    }
    const auto left = vocabulary.Find(sides[0]);
    const auto right = vocabulary.Find(sides[1]);
    const auto merged = vocabulary.Find(sides[0] + sides[1]);
    if (!left || !right || !merged) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge ", rank, ", ", Quote(merge),
                       ", names or makes a token that does not exist"));
    }
    if (!CanSpell(gguf, *merged)) continue;
    model->AddMerge(*left, *right, static_cast<int32_t>(rank), *merged);
  }
  return absl::OkStatus();
}

// SentencePiece lists no merges: two neighbours merge if together they are a
// token, the best score first. So each way to cut a token in two is a merge.
void AddMergesByScore(const GgufVocab& gguf, const Vocabulary& vocabulary,
                      BpeModel* model) {
  std::vector<int32_t> order;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    if (CanSpell(gguf, id)) order.push_back(static_cast<int32_t>(id));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return gguf.scores[a] > gguf.scores[b];
  });
  const auto find = [&](std::string_view text) {
    const auto id = vocabulary.Find(text);
    return id.has_value() && CanSpell(gguf, *id) ? id : std::nullopt;
  };
  int32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    // Equal scores are equal ranks: then the leftmost pair merges first.
    if (i > 0 && gguf.scores[order[i]] != gguf.scores[order[i - 1]]) ++rank;
    const std::string_view text = vocabulary.Text(order[i]);
    for (size_t cut = 0; cut < text.size();) {
      NextCharacter(text, &cut);
      if (cut == text.size()) break;
      const auto left = find(text.substr(0, cut));
      const auto right = find(text.substr(cut));
      if (left && right) model->AddMerge(*left, *right, rank, order[i]);
    }
  }
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
  RETURN_IF_ERROR(AddListedMerges(gguf, parts.vocabulary, &*parts.model));
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
    if (TypeOf(gguf, id) == kByte && byte.has_value()) {
      fallback.byte_ids[*byte] = static_cast<int32_t>(id);
    }
  }
  parts.model.emplace(fallback);
  RETURN_IF_ERROR(AddTokens(gguf, &parts));
  AddMergesByScore(gguf, parts.vocabulary, &*parts.model);
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
