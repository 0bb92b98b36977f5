// Fields and their order: the serialization of Hugging Face tokenizers 0.23.
//
// Tested by tests/runtime/tokenizer_files_test.cc and
// tests/e2e/hf_writer_test.py.
#include "runtime/tokenizer/tokenizer_json_writer.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/gguf_pre_tokenizers.h"

namespace mla::runtime {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSpaceMark = "\xE2\x96\x81";  // U+2581

Json Sequence(const char* name, Json elements) {
  return {{"type", "Sequence"}, {name, std::move(elements)}};
}

Json AddedTokensJson(const GgufVocab& gguf, const Tokenizer& tokenizer) {
  Json list = Json::array();
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.Has(id) || !IsAdded(TypeOf(gguf, id))) continue;
    list.push_back({{"id", id},
                    {"content", tokenizer.TokenText(id)},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", tokenizer.IsSpecial(id)}});
  }
  return list;
}

// What stands around one text and around each of a pair.
Json PostProcessorJson(const Tokenizer& tokenizer) {
  if (tokenizer.prefix().empty() && tokenizer.suffix().empty()) return nullptr;
  const auto append = [&](const char* text, int type, Json* pieces) {
    const auto add = [&](const std::vector<int32_t>& ids) {
      for (const int32_t id : ids) {
        pieces->push_back(
            {{"SpecialToken",
              {{"id", tokenizer.TokenText(id)}, {"type_id", type}}}});
      }
    };
    add(tokenizer.prefix());
    pieces->push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    add(tokenizer.suffix());
  };
  Json single = Json::array();
  append("A", 0, &single);
  Json pair = single;
  append("B", 1, &pair);

  std::map<std::string, Json> tokens;  // the library sorts them
  for (const auto* ids : {&tokenizer.prefix(), &tokenizer.suffix()}) {
    for (const int32_t id : *ids) {
      const std::string text(tokenizer.TokenText(id));
      tokens[text] = {{"id", text},
                      {"ids", Json::array({id})},
                      {"tokens", Json::array({text})}};
    }
  }
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(tokens)}};
}

Json ByteLevelJson(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

// The fields that the two kinds of tokenizer have different.
struct Parts {
  Json normalizer;
  Json pre_tokenizer;
  Json decoder;
  Json unk_token;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

absl::StatusOr<Parts> ByteLevelParts(const GgufVocab& gguf) {
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    if (TypeOf(gguf, id) != GgufTokenType::kByte) continue;
    return absl::UnimplementedError(
        absl::StrCat("token ", id, ", ", Quote(gguf.tokens[id]),
                     ", is a byte in a vocabulary that spells bytes itself"));
  }
  ASSIGN_OR_RETURN(
      const GgufPreTokenizer* pre,
      FindGgufPreTokenizer(gguf.pre.empty() ? "default" : gguf.pre));
  Json steps = Json::array();
  for (const char* pattern : pre->patterns) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back(
      ByteLevelJson(/*add_prefix_space=*/false, /*use_regex=*/false));
  Parts parts;
  if (pre->nfc) parts.normalizer = {{"type", "NFC"}};
  parts.pre_tokenizer = Sequence("pretokenizers", std::move(steps));
  // A decoder has no use for the options; these are the library's defaults.
  parts.decoder = ByteLevelJson(/*add_prefix_space=*/true, /*use_regex=*/true);
  parts.ignore_merges = pre->ignore_merges;
  return parts;
}

// "<0x0A>", the one spelling of a byte that the library knows.
bool SpellsByte(std::string_view token) {
  return ParseByteToken(token).has_value() &&
         absl::c_none_of(token.substr(3, 2), absl::ascii_islower);
}

// The library takes all tokens that are spelled like bytes for bytes, or none.
absl::StatusOr<bool> HasByteTokens(const GgufVocab& gguf) {
  bool any = false;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    any |= TypeOf(gguf, id) == GgufTokenType::kByte;
  }
  for (size_t id = 0; any && id < gguf.tokens.size(); ++id) {
    const bool typed = TypeOf(gguf, id) == GgufTokenType::kByte;
    if (typed == SpellsByte(gguf.tokens[id])) continue;
    return absl::UnimplementedError(
        absl::StrCat("token ", id, ", ", Quote(gguf.tokens[id]),
                     typed ? ", is a byte but not spelled like one"
                           : ", is spelled like a byte but is none"));
  }
  return any;
}

absl::StatusOr<Parts> SentencePieceParts(const GgufVocab& gguf) {
  const bool prefix = gguf.add_space_prefix.value_or(true);
  Json normalizers = Json::array();
  if (prefix) {
    normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
  }
  normalizers.push_back({{"type", "Replace"},
                         {"pattern", {{"String", " "}}},
                         {"content", kSpaceMark}});
  Json decoders = Json::array();
  decoders.push_back({{"type", "Replace"},
                      {"pattern", {{"String", kSpaceMark}}},
                      {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prefix) {
    decoders.push_back(
        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  Parts parts;
  parts.normalizer = Sequence("normalizers", std::move(normalizers));
  parts.decoder = Sequence("decoders", std::move(decoders));
  if (gguf.unk_id.has_value()) parts.unk_token = gguf.tokens[*gguf.unk_id];
  parts.fuse_unk = true;
  ASSIGN_OR_RETURN(parts.byte_fallback, HasByteTokens(gguf));
  return parts;
}

Json VocabularyJson(const Tokenizer& tokenizer) {
  // As a vector: insertion into an ordered object looks for the key each time.
  Json::object_t vocabulary;
  vocabulary.reserve(tokenizer.vocab_size());
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.Has(id)) continue;
    vocabulary.push_back({std::string(tokenizer.TokenText(id)), id});
  }
  return vocabulary;
}

Json MergesJson(const Tokenizer& tokenizer,
                absl::Span<const GgufMerge> merges) {
  Json list = Json::array();
  // Of two merges of one pair the first counts here, the last in the library.
  absl::flat_hash_set<std::pair<int32_t, int32_t>> pairs;
  for (const GgufMerge& merge : merges) {
    if (!pairs.emplace(merge.left, merge.right).second) continue;
    list.push_back(Json::array(
        {tokenizer.TokenText(merge.left), tokenizer.TokenText(merge.right)}));
  }
  return list;
}

}  // namespace

absl::StatusOr<std::string> TokenizerJsonFromGguf(
    const GgufVocab& gguf, const Tokenizer& tokenizer,
    absl::Span<const GgufMerge> merges) {
  ASSIGN_OR_RETURN(Parts parts, gguf.model == "gpt2"
                                    ? ByteLevelParts(gguf)
                                    : SentencePieceParts(gguf));
  const Json model = {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", std::move(parts.unk_token)},
                      {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr},
                      {"fuse_unk", parts.fuse_unk},
                      {"byte_fallback", parts.byte_fallback},
                      {"ignore_merges", parts.ignore_merges},
                      {"vocab", VocabularyJson(tokenizer)},
                      {"merges", MergesJson(tokenizer, merges)}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", AddedTokensJson(gguf, tokenizer)},
                     {"normalizer", std::move(parts.normalizer)},
                     {"pre_tokenizer", std::move(parts.pre_tokenizer)},
                     {"post_processor", PostProcessorJson(tokenizer)},
                     {"decoder", std::move(parts.decoder)},
                     {"model", model}};
  return file.dump(2);  // cannot throw: FromGguf refuses ill-formed UTF-8
}

size_t CountTies(absl::Span<const GgufMerge> merges) {
  size_t ties = 0;
  for (size_t begin = 0, end = 0; begin < merges.size(); begin = end) {
    absl::flat_hash_set<int32_t> tokens;
    while (end < merges.size() && merges[end].rank == merges[begin].rank) {
      tokens.insert(merges[end++].merged);
    }
    if (tokens.size() > 1) ties += tokens.size();
  }
  return ties;
}

}  // namespace mla::runtime
