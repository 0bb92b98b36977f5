// Any bytes as tokenizer.json: a status, or a tokenizer that encodes and
// decodes without harm.
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace {

constexpr std::string_view kTexts[] = {
    "", " ", "Hello, world! 123\n\n", "<s>it's</s> <|im_end|>",
    "\u00e9e\u0301 \u2581\u6f22\u5b57 \U0001F600\t  x   "};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = mla::runtime::Tokenizer::FromJson(json, "");
  if (!tokenizer.ok()) return 0;
  for (const std::string_view text : kTexts) {
    for (const bool parse_special : {false, true}) {
      const auto ids = (*tokenizer)
                           ->Encode(text, {.add_special = true,
                                           .parse_special = parse_special});
      if (ids.ok()) (*tokenizer)->Decode(*ids, /*skip_special=*/true);
    }
  }
  std::vector<int32_t> ids;
  for (int32_t id = -1; id < 300; ++id) ids.push_back(id);
  (*tokenizer)->Decode(ids, /*skip_special=*/false);
  return 0;
}
