// Oniguruma (Ruby syntax) and PCRE2 agree on what pre-tokenizers use, with four
// exceptions: there `$` is multi-line, `\s` does not match U+180E, `\h` is a
// hexadecimal digit, and `[a&&b]` and `[a[b]]` are set operations. The first
// two are translated, the others refused.
//
// Tested by tests/runtime/regex_test.cc.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/tokenizer/regex.h"

#include <pcre2.h>

#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/newer_characters.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

// Bounds of one search: backtracking steps, and the memory and depth of the
// interpreter that takes over where the just-in-time code cannot.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kDepthLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

std::string Pcre2Message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

enum class Characters { kOfPcre2, kAndNewer };

// \p{L} with the newer letters added: part of a class, or a class of its own.
std::string ExtendProperty(std::string_view property, bool in_class) {
  const std::string_view category = property.substr(3, property.size() - 4);
  const std::string& newer = NewerMembers(category);
  if (newer.empty()) return std::string(property);
  if (in_class && property[1] == 'P') return std::string(property);
  if (in_class) return absl::StrCat(std::string(property), newer);
  const char* open = property[1] == 'P' ? "[^" : "[";
  return absl::StrCat(open, "\\p{", std::string(category), "}", newer, "]");
}

// Rewrites an Oniguruma pattern for PCRE2, element by element.
class Translator {
 public:
  Translator(std::string_view pattern, Characters characters)
      : pattern_(pattern), characters_(characters) {}

  absl::StatusOr<std::string> Run() {
    // DeepSeek LLM splits off `\s+$`. Searching it takes quadratic time on a
    // long run of spaces that ends in a letter: each start in the run is tried
    // up to the letter. A match takes the run up to its last line end, so none
    // can begin later in the same run, and trying its first character is
    // enough.
    if (pattern_ == R"(\s+$)") out_ = R"((?<!\p{White_Space}))";
    while (pos_ < pattern_.size()) {
      RETURN_IF_ERROR(pattern_[pos_] == '\\' ? TakeEscape() : TakeOther());
    }
    return std::move(out_);
  }

 private:
  void Copy(size_t length) {
    out_ += pattern_.substr(pos_, length);
    pos_ += std::min(length, pattern_.size() - pos_);
  }

  absl::Status TakeEscape() {
    const std::string_view rest = pattern_.substr(pos_);
    const char escape = rest.size() > 1 ? rest[1] : '\0';
    const size_t close = rest.find('}');
    if (escape == 'h' || escape == 'H') {
      return absl::UnimplementedError("\\h in a pattern is not supported");
    }
    if (escape == 's' || escape == 'S') {
      out_ += escape == 's' ? R"(\p{White_Space})" : R"(\P{White_Space})";
      pos_ += 2;
    } else if ((escape == 'p' || escape == 'P') && rest.substr(2, 1) == "{" &&
               close != std::string_view::npos &&
               characters_ == Characters::kAndNewer) {
      out_ += ExtendProperty(rest.substr(0, close + 1), in_class_);
      pos_ += close + 1;
    } else {
      Copy(2);
    }
    return absl::OkStatus();
  }

  absl::Status TakeOther() {
    const std::string_view rest = pattern_.substr(pos_);
    if (!in_class_) {
      in_class_ = rest[0] == '[';
      class_begin_ = rest.starts_with("[^") ? pos_ + 2 : pos_ + 1;
      Copy(in_class_ ? class_begin_ - pos_ : 1);
      return absl::OkStatus();
    }
    const size_t posix_end = rest.find(":]");
    if (rest.starts_with("[:") && posix_end != std::string_view::npos) {
      Copy(posix_end + 2);
      return absl::OkStatus();
    }
    if (rest.starts_with("&&") || rest[0] == '[') {
      return absl::UnimplementedError(
          "set operations inside [] in a pattern are not supported");
    }
    in_class_ = rest[0] != ']' || pos_ == class_begin_;
    Copy(1);
    return absl::OkStatus();
  }

  const std::string_view pattern_;
  const Characters characters_;
  size_t pos_ = 0;
  bool in_class_ = false;
  size_t class_begin_ = 0;
  std::string out_;
};

absl::StatusOr<pcre2_code*> CompileCode(std::string_view pattern,
                                        Characters characters) {
  ASSIGN_OR_RETURN(const std::string translated,
                   Translator(pattern, characters).Run());
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
      &error_offset, nullptr);
  if (code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern is malformed at byte ", error_offset, ": ",
                     Pcre2Message(error)));
  }
  // Without just-in-time code pcre2_match interprets: slower, same answers.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  // The same with the newer characters in its classes, which makes it slower.
  pcre2_code* with_newer = nullptr;
  pcre2_match_context* limits = nullptr;
};

void Regex::Deleter::operator()(Compiled* compiled) const {
  pcre2_code_free(compiled->code);
  pcre2_code_free(compiled->with_newer);
  pcre2_match_context_free(compiled->limits);
  delete compiled;
}

Regex::Regex(std::unique_ptr<Compiled, Deleter> compiled)
    : compiled_(std::move(compiled)) {}

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  std::unique_ptr<Compiled, Deleter> compiled(new Compiled);
  ASSIGN_OR_RETURN(compiled->code, CompileCode(pattern, Characters::kOfPcre2));
  ASSIGN_OR_RETURN(compiled->with_newer,
                   CompileCode(pattern, Characters::kAndNewer));
  compiled->limits = pcre2_match_context_create(nullptr);
  if (compiled->limits == nullptr) {
    return absl::ResourceExhaustedError("out of memory for a pattern");
  }
  pcre2_set_match_limit(compiled->limits, kMatchLimit);
  pcre2_set_depth_limit(compiled->limits, kDepthLimit);
  pcre2_set_heap_limit(compiled->limits, kHeapLimitKib);
  return Regex(std::move(compiled));
}

absl::StatusOr<Regex> Regex::Literal(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    if (absl::ascii_ispunct(c)) quoted.push_back('\\');
    quoted.push_back(c);
  }
  return Compile(quoted);
}

absl::Status Regex::FindAll(std::string_view text,
                            std::vector<TextRange>* matches) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const pcre2_code* code =
      HasNewerCharacter(text) ? compiled_->with_newer : compiled_->code;
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>
      data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (data == nullptr) {
    return absl::ResourceExhaustedError("out of memory for a match");
  }
  size_t pos = 0;
  size_t last_end = std::string_view::npos;
  while (pos <= text.size()) {
    int rc = pcre2_match(code, subject, text.size(), pos, PCRE2_NO_UTF_CHECK,
                         data.get(), compiled_->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = pcre2_match(code, subject, text.size(), pos,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(),
                       compiled_->limits);
    }
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("splitting the text into words stopped at byte ", pos,
                       " of ", text.size(), ": ", Pcre2Message(rc)));
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    const TextRange match{bounds[0], bounds[1]};
    const bool empty = match.begin == match.end;
    if (!empty || match.end != last_end) matches->push_back(match);
    pos = last_end = match.end;
    if (empty && pos < text.size()) {
      NextCharacter(text, &pos);
    } else if (empty) {
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime
