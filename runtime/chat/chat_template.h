// ChatTemplate renders a conversation into the text that a model expects, as
// Hugging Face's apply_chat_template does: a restricted Jinja, without access
// to anything but its arguments, and with bounded steps, memory and nesting.
//
// The result says which of its bytes the template wrote. The rest came with the
// request; EncodePrompt spells markup in it out instead of obeying it.
//
// Owns:    the parsed template. Immutable.
// Threads: any.
// Errors:  Parse: InvalidArgument, Unimplemented, ResourceExhausted, with the
//          line. Render: InvalidArgument with exactly the template's words
//          where it calls raise_exception ("Conversation roles must alternate
//          ..."), and with "chat template, line N: ..." where an expression
//          fails; ResourceExhausted past a limit.
// Flow:    server -> [here] -> EncodePrompt -> Request
#ifndef MLA_RUNTIME_CHAT_CHAT_TEMPLATE_H_
#define MLA_RUNTIME_CHAT_CHAT_TEMPLATE_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/text_range.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

namespace jinja {
struct Block;
}

struct ChatOptions {
  bool add_generation_prompt = true;
  nlohmann::ordered_json tools;  // null or an array
  nlohmann::ordered_json extra;  // null or an object: further variables
  absl::Time now;                // what strftime_now() sees, in local time
};

struct RenderedPrompt {
  std::string text;
  std::vector<TextRange> trusted;  // what the template wrote; sorted, disjoint
};

class ChatTemplate {
 public:
  // `named_tokens`: "bos_token" -> its text, ...: Tokenizer::named_tokens().
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(
      std::string_view source,
      absl::flat_hash_map<std::string, std::string> named_tokens);
  ~ChatTemplate();

  // `messages`: a non-empty array of objects.
  absl::StatusOr<RenderedPrompt> Render(const nlohmann::ordered_json& messages,
                                        const ChatOptions& options) const;

 private:
  ChatTemplate(std::unique_ptr<jinja::Block> body,
               absl::flat_hash_map<std::string, std::string> named_tokens);

  std::unique_ptr<jinja::Block> body_;
  absl::flat_hash_map<std::string, std::string> named_tokens_;
};

// The ids of a rendered prompt; nothing is added around it.
enum class PromptMarkup {
  kTemplateOnly,  // markup that a client wrote stays text
  kEverywhere,    // as Hugging Face encodes
};
absl::StatusOr<std::vector<int32_t>> EncodePrompt(const Tokenizer& tokenizer,
                                                  const RenderedPrompt& prompt,
                                                  PromptMarkup markup);

// The template in a tokenizer_config.json: its "chat_template", or the one
// named "default" if there are several. NotFound if there is none.
absl::StatusOr<std::string> FindChatTemplate(std::string_view tokenizer_config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHAT_CHAT_TEMPLATE_H_
