// Whatever bytes a client sends, they become a request that the engine can run
// or a status that says why not. The first byte picks the message, the rest is
// the message on the wire; a real model's tokenizer and chat template answer.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/loaded_model.h"
#include "server/limits.h"
#include "server/prompt_conversion.h"
#include "server/request_conversion.h"
#include "server/wire.h"

namespace {

namespace v1 = mla::serving::v1;
using mla::runtime::LoadedModel;

const LoadedModel& Model() {
  static const LoadedModel* const model = [] {
    const char* data = std::getenv("MLA_TEST_DATA");
    mla::runtime::LoadOptions options;
    options.backend.threads = 1;
    auto loaded = LoadedModel::Load(
        std::string(data != nullptr ? data : "tests/golden") + "/models/qwen2",
        options);
    if (!loaded.ok()) std::abort();  // run from the root, or set MLA_TEST_DATA
    return loaded->release();
  }();
  return *model;
}

void Require(bool condition) {
  if (!condition) std::abort();
}

void Generate(std::string_view bytes) {
  v1::GenerateRequest in;
  if (!mla::server::ParseMessage(bytes, in).ok()) return;
  const int limit = Model().config.max_position;
  const auto request = mla::server::ConvertRequest(in, Model(), limit);
  if (!request.ok()) {
    Require(request.status().message().size() < 8192);
    return;
  }
  Require(!request->prompt.empty());
  for (const int32_t id : request->prompt) {
    Require(id >= 0 && id < Model().config.vocab_size);
  }
  Require(request->stop.max_tokens >= 1);
  Require(static_cast<int>(request->prompt.size()) + request->stop.max_tokens <=
          limit);
  Require(request->stop.min_tokens <= request->stop.max_tokens);
  Require(request->sampling.temperature >= 0);
  Require(request->sampling.n >= 1 &&
          request->sampling.n <= mla::server::kMaxChoices);
  Require(mla::server::CheckRequestId(request->id).ok());
}

void Tokenize(std::string_view bytes) {
  v1::TokenizeRequest in;
  if (!mla::server::ParseMessage(bytes, in).ok()) return;
  (void)mla::server::ConvertTokenize(in, Model());
}

void Detokenize(std::string_view bytes) {
  v1::DetokenizeRequest in;
  if (!mla::server::ParseMessage(bytes, in).ok()) return;
  (void)mla::server::ConvertDetokenize(in, Model());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                               size - 1);
  switch (data[0] % 4) {
    case 0:
      Tokenize(bytes);
      break;
    case 1:
      Detokenize(bytes);
      break;
    default:
      Generate(bytes);
      break;
  }
  return 0;
}
