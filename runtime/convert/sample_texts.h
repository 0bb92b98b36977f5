// SampleTexts: what a model and its conversion say to the same few prompts,
// as a person would look at them before serving it.
// Memory:  one model at a time, as a server would load it.
// Threads: blocking; call from one.
// Errors:  those of loading a model; FAILED_PRECONDITION if it has no
//          tokenizer.
#ifndef MLA_RUNTIME_CONVERT_SAMPLE_TEXTS_H_
#define MLA_RUNTIME_CONVERT_SAMPLE_TEXTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/loaded_model.h"

namespace mla::runtime {

struct SampleText {
  std::string prompt;
  std::string source;
  std::string converted;
};

struct SampleTexts {
  bool chat = false;  // the prompts are a user's messages; else texts to go on
  int max_tokens = 0;
  std::vector<SampleText> texts;
};

// Greedy, with cache rows of the weights' type. They are chats if the source
// has a chat template that renders them.
absl::StatusOr<SampleTexts> SampleBoth(const std::string& source,
                                       const std::string& converted,
                                       const LoadOptions& options);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_SAMPLE_TEXTS_H_
