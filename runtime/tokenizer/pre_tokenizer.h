// PreTokenizer splits normalized text into the words that BPE then merges in.
// Covers the tokenizer.json types Split, Digits, ByteLevel, Metaspace and
// Sequence, in the order in which they are added.
//
// Threads: any, once built.
// Units:   byte offsets.
// Errors:  those of Regex::FindAll.
#ifndef MLA_RUNTIME_TOKENIZER_PRE_TOKENIZER_H_
#define MLA_RUNTIME_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/text_range.h"
#include "runtime/tokenizer/regex.h"

namespace mla::runtime {

// The split of GPT-2, which ByteLevel uses when it splits at all.
inline constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
    R"(|\s+(?!\S)|\s+)";

// What becomes of the delimiters that a Split's pattern matches.
enum class SplitBehavior {
  kIsolated,  // words of their own
  kRemoved,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,  // adjacent delimiters form one word
};

// A text and the ranges of it that are words, in order. Starts as one word.
struct SplitText {
  std::string text;
  std::vector<TextRange> words;
};

class PreTokenizer {
 public:
  PreTokenizer();
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&);
  PreTokenizer& operator=(PreTokenizer&&);

  // `invert`: what lies between the matches is the delimiter.
  void AddSplit(Regex pattern, SplitBehavior behavior, bool invert);

  // Spells bytes in the byte-level alphabet.
  void AddByteLevel();
  // Begins every word with a space.
  void AddPrefixSpace();

  enum class Prepend { kNever, kFirst, kAlways };
  // Writes spaces as `replacement` (usually U+2581), and one at the beginning.
  void AddMetaspace(std::string replacement, Prepend prepend);

  // `at_text_start`: nothing precedes the text in what the caller encodes.
  absl::Status Run(bool at_text_start, SplitText* split) const;

 private:
  class Step;
  class Split;
  class ByteLevel;
  class PrefixSpace;
  class Metaspace;
  std::vector<std::unique_ptr<const Step>> steps_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_PRE_TOKENIZER_H_
