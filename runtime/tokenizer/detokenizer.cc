// Tested by tests/runtime/detokenizer_test.cc.
#include "runtime/tokenizer/detokenizer.h"

#include "runtime/utf8.h"

namespace mla::runtime {

Detokenizer::Detokenizer(const Tokenizer* tokenizer, bool skip_special)
    : tokenizer_(tokenizer),
      skip_special_(skip_special),
      strips_left_(tokenizer->decoder().rules().strip_count) {}

std::string Detokenizer::Append(int32_t id) {
  std::string out;
  if (skip_special_ && tokenizer_->IsSpecial(id)) return out;
  const Decoder::Token& token = tokenizer_->decoder().Get(id);
  if (tokenizer_->decoder().rules().byte_level) {
    held_.append(token.bytes);
    held_.erase(0, AppendLossyUtf8(held_, &out));
  } else if (token.is_byte) {
    held_.append(token.bytes);
  } else if (tokenizer_->Has(id)) {
    EmitByteRow(&out);
    Emit(token.bytes, &out);
  }
  return out;
}

std::string Detokenizer::Finish() {
  std::string out;
  if (tokenizer_->decoder().rules().byte_level) {
    if (!held_.empty()) out.append(kReplacementCharacter);
    held_.clear();
  } else {
    EmitByteRow(&out);
  }
  return out;
}

void Detokenizer::EmitByteRow(std::string* out) {
  if (FindInvalidUtf8(held_) == std::string_view::npos) {
    Emit(held_, out);
  } else {
    for (size_t i = 0; i < held_.size(); ++i) Emit(kReplacementCharacter, out);
  }
  held_.clear();
}

void Detokenizer::Emit(std::string_view text, std::string* out) {
  const std::string_view strip = tokenizer_->decoder().rules().strip;
  while (strips_left_ > 0 && !text.empty()) {
    const bool stripped = text.starts_with(strip);
    if (stripped) text.remove_prefix(strip.size());
    strips_left_ = stripped ? strips_left_ - 1 : 0;
  }
  out->append(text);
}

}  // namespace mla::runtime
