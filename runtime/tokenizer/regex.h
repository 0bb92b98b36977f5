// Regex is one compiled pre-tokenizer pattern: PCRE2 with Unicode properties.
// It takes the Oniguruma dialect in which tokenizer.json patterns are written.
//
// Owns:    the compiled pattern (just-in-time compiled where the CPU allows).
// Threads: any, once compiled.
// Units:   byte offsets into the subject.
// Errors:  InvalidArgument for a malformed pattern; Unimplemented for a
//          construct that the two dialects read differently; FindAll returns
//          ResourceExhausted when the text drives the pattern past its limits.
#ifndef MLA_RUNTIME_TOKENIZER_REGEX_H_
#define MLA_RUNTIME_TOKENIZER_REGEX_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text_range.h"

namespace mla::runtime {

class Regex {
 public:
  static absl::StatusOr<Regex> Compile(std::string_view pattern);
  // The pattern that matches exactly `text`.
  static absl::StatusOr<Regex> Literal(std::string_view text);

  Regex(Regex&&) = default;
  Regex& operator=(Regex&&) = default;

  // Appends the matches in `text`, valid UTF-8, from left to right; they do not
  // overlap and may be empty. Lookarounds see nothing outside `text`.
  absl::Status FindAll(std::string_view text,
                       std::vector<TextRange>* matches) const;

 private:
  struct Compiled;
  struct Deleter {
    void operator()(Compiled* compiled) const;
  };
  explicit Regex(std::unique_ptr<Compiled, Deleter> compiled);

  std::unique_ptr<Compiled, Deleter> compiled_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_REGEX_H_
