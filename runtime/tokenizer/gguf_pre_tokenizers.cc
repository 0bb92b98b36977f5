// Patterns: the tokenizer.json files that SmolLM2, Llama 3, Qwen 2, GLM 4,
// DeepSeek LLM and DeepSeek V3 publish; kDefault*: what llama.cpp applies where
// a file names "default".
//
// Tested by tests/runtime/gguf_tokenizer_test.cc.
#include "runtime/tokenizer/gguf_pre_tokenizers.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/tokenizer/pre_tokenizer.h"

namespace mla::runtime {
namespace {

constexpr char kDigit[] = R"(\p{N})";

constexpr char kLlama3[] =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)re"
    R"re(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|)re"
    R"re(\s+)re";

constexpr char kQwen2[] =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)re"
    R"re(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

constexpr char kDeepSeekV3Numbers[] = R"(\p{N}{1,3})";
constexpr char kDeepSeekV3Cjk[] = R"([一-龥\x{3040}-ゟ゠-ヿ]+)";
constexpr char kDeepSeekV3Words[] =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n)re"
    R"re(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[)re"
    R"re(\r\n]+|\s+(?!\S)|\s+)re";

constexpr char kDeepSeekLlmNewline[] = R"([\r\n])";
// A class of cased letters, as DeepSeek lists them.
constexpr char kDeepSeekLlmLetters[] =
    R"re(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ)re"
    R"re(Ⴀ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌ)re"
    R"re(ῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ)re"
    R"re(-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)re";
constexpr char kDeepSeekLlmPunctuation[] =
    R"re(\s?[!-/:-~！-／：-～‘-‟\x{3000}-。]+)re";
constexpr char kDeepSeekLlmTrailingSpace[] = R"(\s+$)";
constexpr char kDeepSeekLlmCjk[] = R"([一-龥ࠀ-一가-\x{D7FF}]+)";

constexpr char kDefaultPunctuation[] = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr char kDefaultWords[] =
    R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)re"
    R"re(|\s+(?!\S))re";
constexpr char kDefaultNumbers[] = R"(\p{N}+)";
constexpr char kDefaultThreeDigits[] = R"([0-9][0-9][0-9])";

const std::vector<GgufPreTokenizer>& Table() {
  static const auto* const table = [] {
    const std::vector<const char*> gpt2 = {kGpt2Pattern};
    const std::vector<const char*> digits_gpt2 = {kDigit, kGpt2Pattern};
    const std::vector<const char*> llama3 = {kLlama3};
    const std::vector<const char*> qwen2 = {kQwen2};
    return new std::vector<GgufPreTokenizer>{
        {.name = "default",
         .patterns = {kDefaultPunctuation, kDefaultWords, kDefaultNumbers,
                      kDefaultThreeDigits}},
        {.name = "gpt-2", .patterns = gpt2},
        {.name = "phi-2", .patterns = gpt2},
        {.name = "smollm", .patterns = digits_gpt2},
        {.name = "starcoder", .patterns = digits_gpt2},
        {.name = "refact", .patterns = digits_gpt2},
        {.name = "command-r", .patterns = digits_gpt2},
        {.name = "llama3",
         .patterns = llama3,
         .ignore_merges = true,
         .add_bos = true},
        {.name = "llama-v3",
         .patterns = llama3,
         .ignore_merges = true,
         .add_bos = true},
        {.name = "llama-bpe",
         .patterns = llama3,
         .ignore_merges = true,
         .add_bos = true},
        {.name = "glm4", .patterns = llama3, .ignore_merges = true},
        {.name = "chatglm-bpe", .patterns = llama3},
        {.name = "qwen2", .patterns = qwen2, .nfc = true},
        {.name = "deepseek-r1-qwen", .patterns = qwen2, .nfc = true},
        {.name = "deepseek-llm",
         .patterns = {kDeepSeekLlmNewline, kDeepSeekLlmLetters,
                      kDeepSeekLlmPunctuation, kDeepSeekLlmTrailingSpace,
                      kDeepSeekLlmCjk, kDigit}},
        {.name = "deepseek-v3",
         .patterns = {kDeepSeekV3Numbers, kDeepSeekV3Cjk, kDeepSeekV3Words}},
    };
  }();
  return *table;
}

}  // namespace

absl::StatusOr<const GgufPreTokenizer*> FindGgufPreTokenizer(
    std::string_view name) {
  for (const GgufPreTokenizer& entry : Table()) {
    if (entry.name == name) return &entry;
  }
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.ggml.pre ", Quote(name), " is not supported"));
}

}  // namespace mla::runtime
