// Oniguruma (Ruby syntax) and PCRE2 agree on what pre-tokenizers use, with four
// exceptions: there `$` is multi-line, `\s` does not match U+180E, `\h` is a
// hexadecimal digit, and `[a&&b]` and `[a[b]]` are set operations. The first two
// are translated, the others refused.
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

absl::Status RejectSetOperations(std::string_view pattern) {
  bool in_class = false;
  size_t class_begin = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view rest = pattern.substr(i);
    if (rest[0] == '\\') {
      if (rest.substr(0, 2) == "\\h" || rest.substr(0, 2) == "\\H") {
        return absl::UnimplementedError("\\h in a pattern is not supported");
      }
      ++i;
    } else if (!in_class) {
      in_class = rest[0] == '[';
      class_begin = rest.substr(0, 2) == "[^" ? i + 2 : i + 1;
    } else if (rest.substr(0, 2) == "&&" ||
               (rest[0] == '[' && rest.substr(0, 2) != "[:")) {
      return absl::UnimplementedError(
          "set operations inside [] in a pattern are not supported");
    } else if (rest.substr(0, 2) == "[:") {
      i = std::min(pattern.find(":]", i), pattern.size() - 2) + 1;
    } else {
      in_class = rest[0] != ']' || i == class_begin;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Translate(std::string_view pattern) {
  RETURN_IF_ERROR(RejectSetOperations(pattern));
  std::string translated;
  // DeepSeek LLM splits off `\s+$`. Searching it takes quadratic time on a long
  // run of spaces that ends in a letter: each start in the run is tried up to
  // the letter. A match takes the run up to its last line end, so none can
  // begin later in the same run, and trying its first character is enough.
  if (pattern == R"(\s+$)") translated = R"((?<!\p{White_Space}))";
  for (size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view escape = pattern.substr(i, 2);
    if (escape == "\\s") {
      translated += "\\p{White_Space}";
    } else if (escape == "\\S") {
      translated += "\\P{White_Space}";
    } else if (escape[0] == '\\') {
      translated += escape;
    } else {
      translated += escape[0];
      continue;
    }
    ++i;
  }
  return translated;
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;
};

void Regex::Deleter::operator()(Compiled* compiled) const {
  pcre2_code_free(compiled->code);
  pcre2_match_context_free(compiled->limits);
  delete compiled;
}

Regex::Regex(std::unique_ptr<Compiled, Deleter> compiled)
    : compiled_(std::move(compiled)) {}

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  ASSIGN_OR_RETURN(const std::string translated, Translate(pattern));
  std::unique_ptr<Compiled, Deleter> compiled(new Compiled);
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  compiled->code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
      &error_offset, nullptr);
  if (compiled->code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern is malformed at byte ", error_offset, ": ",
                     Pcre2Message(error)));
  }
  compiled->limits = pcre2_match_context_create(nullptr);
  if (compiled->limits == nullptr) {
    return absl::ResourceExhaustedError("out of memory for a pattern");
  }
  pcre2_set_match_limit(compiled->limits, kMatchLimit);
  pcre2_set_depth_limit(compiled->limits, kDepthLimit);
  pcre2_set_heap_limit(compiled->limits, kHeapLimitKib);
  // Without just-in-time code pcre2_match interprets: slower, same answers.
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);
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
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>
      data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (data == nullptr) {
    return absl::ResourceExhaustedError("out of memory for a match");
  }
  size_t pos = 0;
  size_t last_end = std::string_view::npos;
  while (pos <= text.size()) {
    int rc = pcre2_match(compiled_->code, subject, text.size(), pos,
                         PCRE2_NO_UTF_CHECK, data.get(), compiled_->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = pcre2_match(compiled_->code, subject, text.size(), pos,
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
