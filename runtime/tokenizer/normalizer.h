// Normalizer rewrites text before it is split into words.
// Covers the tokenizer.json types NFC, NFD, NFKC, NFKD, Prepend, Replace and
// Sequence, in the order in which they are added.
//
// Threads: any, once built.
// Errors:  those of Regex::FindAll; ResourceExhausted if a text grows absurdly.
#ifndef MLA_RUNTIME_TOKENIZER_NORMALIZER_H_
#define MLA_RUNTIME_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/regex.h"

namespace mla::runtime {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

// Linear in the text but for the sorting of combining marks (n log n), however
// many of them a hostile text stacks on one letter.
std::string NormalizeUnicode(std::string_view valid_text, UnicodeForm form);

class Normalizer {
 public:
  Normalizer();
  ~Normalizer();
  Normalizer(Normalizer&&);
  Normalizer& operator=(Normalizer&&);

  void AddUnicode(UnicodeForm form);
  // Puts `prefix` before every non-empty text.
  void AddPrepend(std::string prefix);
  // Replaces what `pattern` matches by `content`, taken literally.
  void AddReplace(Regex pattern, std::string content);

  absl::StatusOr<std::string> Run(std::string_view valid_text) const;

 private:
  class Step;
  class Unicode;
  class Prepend;
  class Replace;
  std::vector<std::unique_ptr<const Step>> steps_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_NORMALIZER_H_
