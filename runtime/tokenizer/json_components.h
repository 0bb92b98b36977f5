// The parts of tokenizer.json that are nested components: normalizer,
// pre_tokenizer, decoder and post_processor. Each function reads one such field
// (null: nothing to do) into the tables that do the work.
// Threads: any; pure functions.
// Errors:  Unimplemented for a component type or an option that these tables
//          do not cover, InvalidArgument for malformed fields; both say which.
// Source:  the serialization of Hugging Face tokenizers 0.23.
#ifndef MLA_RUNTIME_TOKENIZER_JSON_COMPONENTS_H_
#define MLA_RUNTIME_TOKENIZER_JSON_COMPONENTS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/status/status.h"
#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"

namespace mla::runtime {

absl::Status ReadNormalizer(const nlohmann::json& field, Normalizer* out);
absl::Status ReadPreTokenizer(const nlohmann::json& field, PreTokenizer* out);
absl::Status ReadDecoder(const nlohmann::json& field, DecoderRules* out);

// What the post-processor puts around one text.
struct AroundText {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
};
absl::Status ReadPostProcessor(const nlohmann::json& field, AroundText* out);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_JSON_COMPONENTS_H_
