// ValueWriter is what printers of values have in common: the text they write,
// whether all of it may be trusted, and what writing costs.
// Threads: one. Errors: the budget's.
#ifndef MLA_RUNTIME_CHAT_VALUE_WRITER_H_
#define MLA_RUNTIME_CHAT_VALUE_WRITER_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/marked_text.h"
#include "runtime/chat/value.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {

class ValueWriter {
 public:
  explicit ValueWriter(Budget& budget) : budget_(budget) {}

  absl::StatusOr<MarkedText> Finish() {
    RETURN_IF_ERROR(budget_.Bytes(out_.size()));
    return MarkedText(std::move(out_), trusted_);
  }

 protected:
  // Before a value is written.
  absl::Status Pay(const Value& value) {
    RETURN_IF_ERROR(budget_.Steps(1));
    const MarkedText* text = value.AsText();
    if (text == nullptr) return absl::OkStatus();
    trusted_ = trusted_ && text->AllTrusted();
    return budget_.Bytes(text->size());
  }

  Budget& budget_;
  std::string out_;
  bool trusted_ = true;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_VALUE_WRITER_H_
