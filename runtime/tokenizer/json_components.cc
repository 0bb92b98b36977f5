// Every reader calls itself for the elements of a Sequence; how deep a file can
// nest them was bounded when it was parsed (runtime/json.h).
//
// Tested by tests/runtime/json_tokenizer_test.cc.
#include "runtime/tokenizer/json_components.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/fields.h"
#include "runtime/tokenizer/vocabulary.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

absl::Status Unsupported(const char* field, const std::string& what) {
  return absl::UnimplementedError(
      absl::StrCat(field, " ", what, " is not supported"));
}

// Calls read(element) for each element of the array `list`.
template <typename Read>
absl::Status ForEach(const json& list, const char* name, Read read) {
  if (!list.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat("field '", name, "' must be an array"));
  }
  for (const json& element : list) RETURN_IF_ERROR(read(element));
  return absl::OkStatus();
}

// {"String": literal} or {"Regex": pattern}.
absl::StatusOr<Regex> ReadPattern(const json& component) {
  const json& pattern = Field(component, "pattern");
  if (pattern.contains("Regex")) {
    ASSIGN_OR_RETURN(const std::string regex, StringField(pattern, "Regex"));
    return Regex::Compile(regex);
  }
  ASSIGN_OR_RETURN(const std::string literal, StringField(pattern, "String"));
  if (literal.empty()) {
    return absl::InvalidArgumentError("field 'pattern' is an empty string");
  }
  return Regex::Literal(literal);
}

absl::StatusOr<SplitBehavior> ReadBehavior(const json& split) {
  ASSIGN_OR_RETURN(const std::string name, StringField(split, "behavior"));
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return absl::InvalidArgumentError(
      absl::StrCat("split behavior '", name, "' does not exist"));
}

absl::Status ReadSplit(const json& field, PreTokenizer* out) {
  ASSIGN_OR_RETURN(Regex pattern, ReadPattern(field));
  ASSIGN_OR_RETURN(const SplitBehavior behavior, ReadBehavior(field));
  ASSIGN_OR_RETURN(const bool invert, BoolField(field, "invert", false));
  out->AddSplit(std::move(pattern), behavior, invert);
  return absl::OkStatus();
}

absl::Status ReadDigits(const json& field, PreTokenizer* out) {
  ASSIGN_OR_RETURN(const bool individual,
                   BoolField(field, "individual_digits", false));
  ASSIGN_OR_RETURN(Regex pattern,
                   Regex::Compile(individual ? R"(\p{N})" : R"(\p{N}+)"));
  out->AddSplit(std::move(pattern), SplitBehavior::kIsolated,
                /*invert=*/false);
  return absl::OkStatus();
}

absl::Status ReadByteLevel(const json& field, PreTokenizer* out) {
  ASSIGN_OR_RETURN(const bool add_prefix_space,
                   BoolField(field, "add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, BoolField(field, "use_regex", true));
  if (add_prefix_space) out->AddPrefixSpace();
  if (use_regex) {
    ASSIGN_OR_RETURN(Regex pattern, Regex::Compile(kGpt2Pattern));
    out->AddSplit(std::move(pattern), SplitBehavior::kIsolated,
                  /*invert=*/false);
  }
  out->AddByteLevel();
  return absl::OkStatus();
}

absl::Status ReadMetaspace(const json& field, PreTokenizer* out) {
  ASSIGN_OR_RETURN(const std::string replacement,
                   StringField(field, "replacement"));
  if (replacement.empty()) {
    return absl::InvalidArgumentError("field 'replacement' is empty");
  }
  ASSIGN_OR_RETURN(const std::string scheme,
                   StringField(field, "prepend_scheme", "always"));
  PreTokenizer::Prepend prepend;
  if (scheme == "always") {
    prepend = PreTokenizer::Prepend::kAlways;
  } else if (scheme == "first") {
    prepend = PreTokenizer::Prepend::kFirst;
  } else if (scheme == "never") {
    prepend = PreTokenizer::Prepend::kNever;
  } else {
    return Unsupported("prepend_scheme", scheme);
  }
  ASSIGN_OR_RETURN(const bool split, BoolField(field, "split", true));
  out->AddMetaspace(replacement, prepend);
  if (split) {
    ASSIGN_OR_RETURN(Regex pattern, Regex::Literal(replacement));
    out->AddSplit(std::move(pattern), SplitBehavior::kMergedWithNext,
                  /*invert=*/false);
  }
  return absl::OkStatus();
}

// A decoder of SentencePiece style is a chain of these, in this order; another
// order would mean something else.
enum class ChainLink { kReplace, kByteFallback, kFuse, kStrip };

absl::StatusOr<ChainLink> ReadChainLink(const json& field, DecoderRules* out) {
  ASSIGN_OR_RETURN(const std::string type, StringField(field, "type"));
  if (type == "Replace") {
    ASSIGN_OR_RETURN(const std::string from,
                     StringField(Field(field, "pattern"), "String"));
    ASSIGN_OR_RETURN(const std::string to, StringField(field, "content"));
    if (from.empty()) {
      return absl::InvalidArgumentError("field 'pattern' is an empty string");
    }
    out->replacements.emplace_back(from, to);
    return ChainLink::kReplace;
  }
  if (type == "ByteFallback") {
    out->byte_fallback = true;
    return ChainLink::kByteFallback;
  }
  if (type == "Fuse") return ChainLink::kFuse;
  if (type != "Strip") return Unsupported("decoder", type);

  ASSIGN_OR_RETURN(out->strip, StringField(field, "content"));
  ASSIGN_OR_RETURN(const int64_t start, IntegerField(field, "start"));
  ASSIGN_OR_RETURN(const int64_t stop, IntegerField(field, "stop"));
  if (out->strip.empty() || start < 0 || start > 1024 || stop != 0) {
    return Unsupported("decoder", "Strip with these options");
  }
  out->strip_count = static_cast<int>(start);
  return ChainLink::kStrip;
}

absl::Status ReadDecoderChain(const json& links, DecoderRules* out) {
  ChainLink last = ChainLink::kReplace;
  bool fused = false;
  return ForEach(links, "decoders", [&](const json& field) {
    const auto link = ReadChainLink(field, out);
    if (!link.ok()) return link.status();
    const bool repeated = *link == last && last != ChainLink::kReplace;
    if (*link < last || repeated || (*link == ChainLink::kStrip && !fused)) {
      return Unsupported("decoder", "Sequence in this order");
    }
    fused |= *link == ChainLink::kFuse;
    last = *link;
    return absl::OkStatus();
  });
}

absl::Status ReadTemplateIds(const json& special_tokens,
                             const std::string& name,
                             std::vector<int32_t>* out) {
  const json& ids = Field(Field(special_tokens, name.c_str()), "ids");
  return ForEach(ids, "ids", [&](const json& id) {
    if (!id.is_number_integer() || id.get<double>() < 0 ||
        id.get<double>() >= Vocabulary::kMaxTokens) {
      return absl::InvalidArgumentError(
          absl::StrCat("the ids of '", name, "' are not token ids"));
    }
    out->push_back(id.get<int32_t>());
    return absl::OkStatus();
  });
}

absl::Status ReadTemplate(const json& field, AroundText* out) {
  const json& special_tokens = Field(field, "special_tokens");
  AroundText around;
  bool after_text = false;
  RETURN_IF_ERROR(
      ForEach(Field(field, "single"), "single", [&](const json& piece) {
        if (piece.contains("Sequence")) {
          after_text = true;
          return absl::OkStatus();
        }
        const auto name = StringField(Field(piece, "SpecialToken"), "id");
        if (!name.ok()) return name.status();
        return ReadTemplateIds(special_tokens, *name,
                               after_text ? &around.suffix : &around.prefix);
      }));
  // A later processor wraps what an earlier one made.
  out->prefix.insert(out->prefix.begin(), around.prefix.begin(),
                     around.prefix.end());
  out->suffix.insert(out->suffix.end(), around.suffix.begin(),
                     around.suffix.end());
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadNormalizer(const json& field, Normalizer* out) {
  if (field.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string type, StringField(field, "type"));
  if (type == "Sequence") {
    return ForEach(
        Field(field, "normalizers"), "normalizers",
        [&](const json& element) { return ReadNormalizer(element, out); });
  }
  if (type == "NFC") {
    out->AddUnicode(UnicodeForm::kNfc);
  } else if (type == "NFD") {
    out->AddUnicode(UnicodeForm::kNfd);
  } else if (type == "NFKC") {
    out->AddUnicode(UnicodeForm::kNfkc);
  } else if (type == "NFKD") {
    out->AddUnicode(UnicodeForm::kNfkd);
  } else if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string prefix, StringField(field, "prepend"));
    out->AddPrepend(std::move(prefix));
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(Regex pattern, ReadPattern(field));
    ASSIGN_OR_RETURN(std::string content, StringField(field, "content"));
    out->AddReplace(std::move(pattern), std::move(content));
  } else {
    return Unsupported("normalizer", type);
  }
  return absl::OkStatus();
}

absl::Status ReadPreTokenizer(const json& field, PreTokenizer* out) {
  if (field.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string type, StringField(field, "type"));
  if (type == "Sequence") {
    return ForEach(
        Field(field, "pretokenizers"), "pretokenizers",
        [&](const json& element) { return ReadPreTokenizer(element, out); });
  }
  if (type == "Split") return ReadSplit(field, out);
  if (type == "Digits") return ReadDigits(field, out);
  if (type == "ByteLevel") return ReadByteLevel(field, out);
  if (type == "Metaspace") return ReadMetaspace(field, out);
  return Unsupported("pre_tokenizer", type);
}

absl::Status ReadDecoder(const json& field, DecoderRules* out) {
  if (field.is_null()) return Unsupported("decoder", "null");
  ASSIGN_OR_RETURN(const std::string type, StringField(field, "type"));
  if (type == "Sequence")
    return ReadDecoderChain(Field(field, "decoders"), out);
  if (type != "ByteLevel") return Unsupported("decoder", type);
  out->byte_level = true;
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const json& field, AroundText* out) {
  if (field.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string type, StringField(field, "type"));
  if (type == "Sequence") {
    return ForEach(
        Field(field, "processors"), "processors",
        [&](const json& element) { return ReadPostProcessor(element, out); });
  }
  if (type == "TemplateProcessing") return ReadTemplate(field, out);
  if (type == "ByteLevel") return absl::OkStatus();  // moves offsets only
  return Unsupported("post_processor", type);
}

}  // namespace mla::runtime
