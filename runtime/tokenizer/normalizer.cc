// Tested by tests/runtime/normalizer_test.cc.
#include "runtime/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

using CodePoint = utf8proc_int32_t;

// Replacements can multiply a text; the worst Unicode form makes 11 of a byte.
constexpr size_t kMaxGrowth = 64;

void AppendDecomposed(CodePoint c, bool compatibility,
                      std::vector<CodePoint>* out) {
  // No character decomposes into more than 18 (U+FDFA).
  constexpr int kMaxDecomposed = 32;
  CodePoint buffer[kMaxDecomposed];
  const int options =
      UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
  int boundary_class = 0;
  const auto n = utf8proc_decompose_char(
      c, buffer, kMaxDecomposed, static_cast<utf8proc_option_t>(options),
      &boundary_class);
  if (n < 0 || n > kMaxDecomposed) {
    out->push_back(c);
  } else {
    out->insert(out->end(), buffer, buffer + n);
  }
}

int CombiningClass(CodePoint c) {
  return utf8proc_get_property(c)->combining_class;
}

// The Canonical Ordering Algorithm (Unicode, section 3.11). utf8proc's own
// insertion sort is quadratic in the number of marks on one letter.
void SortCombiningMarks(std::vector<CodePoint>* text) {
  auto it = text->begin();
  while (it != text->end()) {
    if (CombiningClass(*it) == 0) {
      ++it;
      continue;
    }
    const auto end = std::find_if(
        it, text->end(), [](CodePoint c) { return CombiningClass(c) == 0; });
    std::stable_sort(it, end, [](CodePoint a, CodePoint b) {
      return CombiningClass(a) < CombiningClass(b);
    });
    it = end;
  }
}

void Compose(std::vector<CodePoint>* text) {
  const auto n = utf8proc_normalize_utf32(
      text->data(), text->size(),
      static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (n >= 0) text->resize(n);
}

}  // namespace

std::string NormalizeUnicode(std::string_view valid_text, UnicodeForm form) {
  const bool ascii = std::all_of(valid_text.begin(), valid_text.end(),
                                 [](char c) { return (c & 0x80) == 0; });
  if (ascii) return std::string(valid_text);

  const bool compatibility =
      form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd;
  std::vector<CodePoint> text;
  text.reserve(valid_text.size());
  for (size_t pos = 0; pos < valid_text.size();) {
    const char32_t c = NextCharacter(valid_text, &pos);
    AppendDecomposed(static_cast<CodePoint>(c), compatibility, &text);
  }
  SortCombiningMarks(&text);
  if (form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc) Compose(&text);

  std::string result;
  result.reserve(valid_text.size());
  for (const CodePoint c : text) AppendUtf8(c, &result);
  return result;
}

class Normalizer::Step {
 public:
  virtual ~Step() = default;
  virtual absl::StatusOr<std::string> Run(std::string text) const = 0;
};

class Normalizer::Unicode : public Step {
 public:
  explicit Unicode(UnicodeForm form) : form_(form) {}
  absl::StatusOr<std::string> Run(std::string text) const override {
    return NormalizeUnicode(text, form_);
  }

 private:
  UnicodeForm form_;
};

class Normalizer::Prepend : public Step {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  absl::StatusOr<std::string> Run(std::string text) const override {
    if (!text.empty()) text.insert(0, prefix_);
    return text;
  }

 private:
  std::string prefix_;
};

class Normalizer::Replace : public Step {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  absl::StatusOr<std::string> Run(std::string text) const override {
    std::vector<TextRange> matches;
    RETURN_IF_ERROR(pattern_.FindAll(text, &matches));
    std::string replaced;
    size_t copied = 0;
    for (const TextRange& match : matches) {
      replaced.append(text, copied, match.begin - copied);
      replaced.append(content_);
      copied = match.end;
    }
    replaced.append(text, copied);
    return replaced;
  }

 private:
  Regex pattern_;
  std::string content_;
};

Normalizer::Normalizer() = default;
Normalizer::~Normalizer() = default;
Normalizer::Normalizer(Normalizer&&) = default;
Normalizer& Normalizer::operator=(Normalizer&&) = default;

void Normalizer::AddUnicode(UnicodeForm form) {
  steps_.push_back(std::make_unique<Unicode>(form));
}

void Normalizer::AddPrepend(std::string prefix) {
  steps_.push_back(std::make_unique<Prepend>(std::move(prefix)));
}

void Normalizer::AddReplace(Regex pattern, std::string content) {
  steps_.push_back(
      std::make_unique<Replace>(std::move(pattern), std::move(content)));
}

absl::StatusOr<std::string> Normalizer::Run(std::string_view valid_text) const {
  const size_t max_size = valid_text.size() * kMaxGrowth + 1024;
  std::string text(valid_text);
  for (const auto& step : steps_) {
    ASSIGN_OR_RETURN(text, step->Run(std::move(text)));
    if (text.size() > max_size) {
      return absl::ResourceExhaustedError(
          absl::StrCat("normalizing makes ", valid_text.size(),
                       " bytes of text into ", text.size()));
    }
  }
  return text;
}

}  // namespace mla::runtime
