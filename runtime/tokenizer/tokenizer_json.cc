// Tokenizer::FromJson: tokenizer.json and tokenizer_config.json -> Parts.
//
// Tested by tests/runtime/json_tokenizer_test.cc.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/json.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/fields.h"
#include "runtime/tokenizer/json_components.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

absl::Status ReadVocabulary(const json& model, Vocabulary* out) {
  const json& vocab = Field(model, "vocab");
  if (!vocab.is_object()) {
    return absl::InvalidArgumentError("field 'vocab' must be an object");
  }
  for (const auto& [text, id] : vocab.items()) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the id of token ", Quote(text), " is not an integer"));
    }
    // As a double, an unsigned number beyond int64 stays out of range.
    const double value = id.get<double>();
    const bool huge = value >= static_cast<double>(Vocabulary::kMaxTokens);
    RETURN_IF_ERROR(out->Add(
        text, huge ? Vocabulary::kMaxTokens : static_cast<int64_t>(value)));
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const json& entry) {
  AddedToken token;
  ASSIGN_OR_RETURN(const int64_t id, IntegerField(entry, "id"));
  if (id < 0 || id >= Vocabulary::kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("an added token has the id ", id));
  }
  token.id = static_cast<int32_t>(id);
  ASSIGN_OR_RETURN(token.text, StringField(entry, "content"));
  ASSIGN_OR_RETURN(token.special, BoolField(entry, "special", false));
  ASSIGN_OR_RETURN(token.normalized,
                   BoolField(entry, "normalized", !token.special));
  ASSIGN_OR_RETURN(token.single_word, BoolField(entry, "single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, BoolField(entry, "lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, BoolField(entry, "rstrip", false));
  return token;
}

// An added token is either one of the model's, under the same id, or new.
absl::Status AddToVocabulary(const AddedToken& token, Vocabulary* vocabulary) {
  if (vocabulary->Find(token.text) == token.id) return absl::OkStatus();
  return vocabulary->Add(token.text, token.id);
}

// Text that is looked for after normalization was itself normalized.
absl::Status AddToMatchers(AddedToken token, Tokenizer::Parts* parts) {
  if (!token.normalized) {
    parts->raw_added.Add(std::move(token));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(token.text, parts->normalizer.Run(token.text));
  parts->normalized_added.Add(std::move(token));
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& list,
                             absl::flat_hash_set<int32_t>* markup,
                             Tokenizer::Parts* parts) {
  if (list.is_null()) return absl::OkStatus();
  if (!list.is_array()) {
    return absl::InvalidArgumentError("field 'added_tokens' must be an array");
  }
  for (const json& entry : list) {
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(entry));
    RETURN_IF_ERROR(AddToVocabulary(token, &parts->vocabulary));
    if (token.special) parts->special_ids.insert(token.id);
    if (IsMarkup(token)) markup->insert(token.id);
    RETURN_IF_ERROR(AddToMatchers(std::move(token), parts));
  }
  return absl::OkStatus();
}

absl::Status CheckModelOptions(const json& model) {
  ASSIGN_OR_RETURN(const std::string type, StringField(model, "type", "BPE"));
  if (type != "BPE") {
    return absl::UnimplementedError(
        absl::StrCat("model ", type, " is not supported"));
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string value, StringField(model, name, ""));
    if (!value.empty()) {
      return absl::UnimplementedError(
          absl::StrCat("model option ", name, " is not supported"));
    }
  }
  const json& dropout = Field(model, "dropout");
  if (!dropout.is_null() && dropout != 0) {
    return absl::UnimplementedError("model option dropout is not supported");
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeModel::Fallback> ReadFallback(const json& model,
                                                const Vocabulary& vocabulary) {
  BpeModel::Fallback fallback;
  const json& unknown = Field(model, "unk_token");
  if (!unknown.is_null()) {
    ASSIGN_OR_RETURN(const std::string text, StringField(model, "unk_token"));
    fallback.unknown = vocabulary.Find(text);
    if (!fallback.unknown.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("unk_token ", Quote(text), " is not in the vocabulary"));
    }
  }
  ASSIGN_OR_RETURN(fallback.fuse_unknown, BoolField(model, "fuse_unk", false));
  ASSIGN_OR_RETURN(const bool bytes, BoolField(model, "byte_fallback", false));
  for (int32_t id = 0; bytes && id < vocabulary.size(); ++id) {
    const auto byte = ParseByteToken(vocabulary.Text(id));
    if (byte.has_value()) fallback.byte_ids[*byte] = id;
  }
  return fallback;
}

// "left right" or ["left", "right"].
absl::StatusOr<std::pair<std::string, std::string>> ReadMerge(const json& merge,
                                                              size_t rank) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
      merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (merge.is_string()) {
    const std::vector<std::string> sides =
        absl::StrSplit(merge.get_ref<const std::string&>(), ' ');
    if (sides.size() == 2) return std::pair(sides[0], sides[1]);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("merge ", rank, " is not two tokens"));
}

absl::Status ReadMerges(const json& model, const Vocabulary& vocabulary,
                        const absl::flat_hash_set<int32_t>& markup,
                        BpeModel* out) {
  const json& merges = Field(model, "merges");
  if (!merges.is_array()) {
    return absl::InvalidArgumentError("field 'merges' must be an array");
  }
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    ASSIGN_OR_RETURN(const auto sides, ReadMerge(merges[rank], rank));
    const auto& [left_text, right_text] = sides;
    const auto left = vocabulary.Find(left_text);
    const auto right = vocabulary.Find(right_text);
    const auto merged = vocabulary.Find(left_text + right_text);
    if (!left || !right || !merged) {
      return absl::InvalidArgumentError(absl::StrCat(
          "merge ", rank, ", ", Quote(left_text), " and ", Quote(right_text),
          ", names or makes a token that does not exist"));
    }
    if (markup.contains(*merged)) continue;
    out->AddMerge(*left, *right, static_cast<int32_t>(rank), *merged);
  }
  return absl::OkStatus();
}

// The model spells words; `markup` is not for spelling, so that no client's
// text can be merged into it.
absl::Status ReadModel(const json& model,
                       const absl::flat_hash_set<int32_t>& markup,
                       Tokenizer::Parts* parts) {
  const Vocabulary& vocabulary = parts->vocabulary;
  RETURN_IF_ERROR(CheckModelOptions(model));
  ASSIGN_OR_RETURN(const BpeModel::Fallback fallback,
                   ReadFallback(model, vocabulary));
  BpeModel& bpe = parts->model.emplace(fallback);
  ASSIGN_OR_RETURN(const bool ignore_merges,
                   BoolField(model, "ignore_merges", false));
  bpe.set_ignore_merges(ignore_merges);
  for (const auto& [text, unused] : Field(model, "vocab").items()) {
    const int32_t id = *vocabulary.Find(text);
    const auto byte = ParseByteToken(text);
    const bool spells_byte = byte.has_value() && fallback.byte_ids[*byte] == id;
    if (!markup.contains(id) && !spells_byte) {
      bpe.AddToken(vocabulary.Text(id), id);
    }
  }
  return ReadMerges(model, vocabulary, markup, &bpe);
}

// In tokenizer_config.json a token is its text or an object with its content.
std::string ReadNamedToken(const json& config, const char* name) {
  const json& field = Field(config, name);
  const json& text = field.is_object() ? Field(field, "content") : field;
  return text.is_string() ? text.get<std::string>() : "";
}

absl::Status ReadConfig(const json& config, Tokenizer::Parts* parts) {
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token",
                           "pad_token", "cls_token", "mask_token"}) {
    const std::string text = ReadNamedToken(config, name);
    if (!text.empty()) parts->named_tokens[name] = text;
  }
  const auto id_of = [&](const char* name) -> std::optional<int32_t> {
    const auto it = parts->named_tokens.find(name);
    if (it == parts->named_tokens.end()) return std::nullopt;
    return parts->vocabulary.Find(it->second);
  };
  parts->bos_id = id_of("bos_token");
  const auto eos_id = id_of("eos_token");
  if (eos_id.has_value()) parts->eos_ids.push_back(*eos_id);

  // Said here, it overrides the post-processor, as in transformers 5.
  if (Field(config, "add_bos_token").is_null() &&
      Field(config, "add_eos_token").is_null()) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const bool bos, BoolField(config, "add_bos_token", false));
  ASSIGN_OR_RETURN(const bool eos, BoolField(config, "add_eos_token", false));
  parts->prefix.clear();
  parts->suffix.clear();
  if (bos && parts->bos_id.has_value()) parts->prefix = {*parts->bos_id};
  if (eos && eos_id.has_value()) parts->suffix = {*eos_id};
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(
    std::string_view tokenizer_json, std::string_view config) {
  ASSIGN_OR_RETURN(const json root, ParseJson(tokenizer_json));
  const json& model = Field(root, "model");
  Parts parts;
  absl::flat_hash_set<int32_t> markup;
  RETURN_IF_ERROR(ReadNormalizer(Field(root, "normalizer"), &parts.normalizer));
  RETURN_IF_ERROR(
      ReadPreTokenizer(Field(root, "pre_tokenizer"), &parts.pre_tokenizer));
  RETURN_IF_ERROR(ReadDecoder(Field(root, "decoder"), &parts.decoder));
  RETURN_IF_ERROR(ReadVocabulary(model, &parts.vocabulary));
  RETURN_IF_ERROR(
      ReadAddedTokens(Field(root, "added_tokens"), &markup, &parts));
  RETURN_IF_ERROR(ReadModel(model, markup, &parts));
  AroundText around;
  RETURN_IF_ERROR(ReadPostProcessor(Field(root, "post_processor"), &around));
  for (const auto* ids : {&around.prefix, &around.suffix}) {
    for (const int32_t id : *ids) {
      if (parts.vocabulary.Has(id)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("the post-processor adds the unknown token ", id));
    }
  }
  parts.prefix = around.prefix;
  parts.suffix = around.suffix;
  if (!config.empty()) {
    ASSIGN_OR_RETURN(const json parsed, ParseJson(config));
    RETURN_IF_ERROR(ReadConfig(parsed, &parts));
  }
  return std::make_unique<Tokenizer>(std::move(parts));
}

}  // namespace mla::runtime
