// Holds a tokenizer and a chat template against what Hugging Face's libraries
// recorded: files of a folder whose names end in encode.jsonl, decode.jsonl and
// chat.jsonl, one case a line.
// Threads: any.
// Errors:  a file that cannot be read, or holds no cases.
#ifndef MLA_RUNTIME_VERIFY_TEXT_GOLDEN_H_
#define MLA_RUNTIME_VERIFY_TEXT_GOLDEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/text_model.h"
#include "runtime/verify/report.h"

namespace mla::runtime {

// True if the folder holds such files.
bool HasTextGoldens(const std::string& folder);

// Appends a check per file: its error is the number of lines that differ, its
// bound 0, its detail the first that does.
absl::Status VerifyTextGoldens(const TextModel& model,
                               const std::string& folder, Report& report);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_VERIFY_TEXT_GOLDEN_H_
