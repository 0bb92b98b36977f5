// TextRange is a half-open range of byte offsets into some text.
// It is how a rendered prompt says which of its bytes the template wrote
// (runtime/chat/) and how the tokenizer is told where markup may be recognised
// (runtime/tokenizer/). A plain value; any thread.
#ifndef MLA_RUNTIME_TEXT_RANGE_H_
#define MLA_RUNTIME_TEXT_RANGE_H_

#include <cstddef>

namespace mla::runtime {

struct TextRange {
  size_t begin = 0;
  size_t end = 0;

  size_t size() const { return end - begin; }
  bool operator==(const TextRange&) const = default;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TEXT_RANGE_H_
