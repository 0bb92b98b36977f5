#include "server/request_conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "server/error_details.h"
#include "server/limits.h"
#include "server/prompt_conversion.h"
#include "tests/support/golden_models.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kLimit = 512;  // the model's context
constexpr int kVocab = 1200;

const runtime::LoadedModel& Model() {
  static const auto* const model =
      testing::LoadGolden(testing::GoldenModelsFolder() + "/qwen2").release();
  return *model;
}

v1::GenerateRequest Good() {
  v1::GenerateRequest request;
  for (const uint32_t id : {1, 2, 3}) request.mutable_token_ids()->add_ids(id);
  return request;
}

absl::StatusOr<runtime::Request> Convert(const v1::GenerateRequest& request) {
  return ConvertRequest(request, Model(), kLimit);
}

// The fields that a status's BadRequest detail names.
std::vector<std::string> Fields(const absl::Status& status) {
  google::rpc::BadRequest detail;
  const auto payload =
      status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  if (payload) detail.ParseFromString(std::string(*payload));
  std::vector<std::string> fields;
  for (const auto& violation : detail.field_violations()) {
    fields.push_back(violation.field());
  }
  return fields;
}

struct BadCase {
  const char* name;
  std::function<void(v1::GenerateRequest&)> change;
  const char* field;
  const char* said;
};

void AddUserMessage(v1::GenerateRequest& request) {
  auto* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("hi");
}

std::vector<BadCase> BadCases() {
  using R = v1::GenerateRequest;
  return {
      {"no input", [](R& r) { r.clear_input(); }, "input", "must be one of"},
      {"empty text", [](R& r) { r.set_text(""); }, "text", "not be empty"},
      {"long text",
       [](R& r) {
         r.set_text(std::string(kMaxPromptBytesPerToken * kLimit + 1, 'x'));
       },
       "text", "32769 bytes, more than the 32768"},
      {"no ids", [](R& r) { r.mutable_token_ids()->clear_ids(); }, "input",
       "at least one token"},
      {"id past the vocabulary",
       [](R& r) { r.mutable_token_ids()->add_ids(kVocab); }, "token_ids.ids[3]",
       "below 1200, not 1200"},
      {"id past int32",
       [](R& r) { r.mutable_token_ids()->add_ids(0xffffffff); },
       "token_ids.ids[3]", "not 4294967295"},
      {"more ids than the context",
       [](R& r) {
         for (int i = 0; i < kLimit; ++i) r.mutable_token_ids()->add_ids(1);
       },
       "token_ids.ids", "515 tokens"},
      {"a prompt that leaves no room",
       [](R& r) {
         for (int i = 3; i < kLimit; ++i) r.mutable_token_ids()->add_ids(1);
       },
       "input", "512 tokens"},
      {"temperature NaN",
       [](R& r) { r.mutable_sampling()->set_temperature(kNan); },
       "sampling.temperature", "must be in [0, 100], not nan"},
      {"temperature inf",
       [](R& r) { r.mutable_sampling()->set_temperature(kInf); },
       "sampling.temperature", "not inf"},
      {"temperature below 0",
       [](R& r) { r.mutable_sampling()->set_temperature(-0.5); },
       "sampling.temperature", "not -0.5"},
      {"top_k past int",
       [](R& r) { r.mutable_sampling()->set_top_k(0x80000000); },
       "sampling.top_k", "[0, 2147483647]"},
      {"top_p 0", [](R& r) { r.mutable_sampling()->set_top_p(0); },
       "sampling.top_p", "(0, 1]"},
      {"top_p above 1", [](R& r) { r.mutable_sampling()->set_top_p(1.5); },
       "sampling.top_p", "not 1.5"},
      {"min_p below 0", [](R& r) { r.mutable_sampling()->set_min_p(-1); },
       "sampling.min_p", "[0, 1]"},
      {"repetition_penalty 0",
       [](R& r) { r.mutable_sampling()->set_repetition_penalty(0); },
       "sampling.repetition_penalty", "[0.01, 100]"},
      {"presence_penalty NaN",
       [](R& r) { r.mutable_sampling()->set_presence_penalty(kNan); },
       "sampling.presence_penalty", "[-2, 2]"},
      {"frequency_penalty 2.1",
       [](R& r) { r.mutable_sampling()->set_frequency_penalty(2.1f); },
       "sampling.frequency_penalty", "[-2, 2]"},
      {"n 0", [](R& r) { r.mutable_sampling()->set_n(0); }, "sampling.n",
       "[1, 64], not 0"},
      {"n 10^9", [](R& r) { r.mutable_sampling()->set_n(1'000'000'000); },
       "sampling.n", "not 1000000000"},
      {"logit_bias of no token",
       [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[kVocab] = 1; },
       "sampling.logit_bias[1200]", "below 1200"},
      {"logit_bias inf",
       [](R& r) { (*r.mutable_sampling()->mutable_logit_bias())[7] = kInf; },
       "sampling.logit_bias[7]", "[-100, 100], not inf"},
      {"many logit_bias",
       [](R& r) {
         for (int i = 0; i <= kMaxLogitBias; ++i) {
           (*r.mutable_sampling()->mutable_logit_bias())[i] = 1;
         }
       },
       "sampling.logit_bias", "1025 entries, more than 1024"},
      {"max_tokens 0", [](R& r) { r.mutable_stop()->set_max_tokens(0); },
       "stop.max_tokens", "[1, "},
      {"max_tokens past int",
       [](R& r) { r.mutable_stop()->set_max_tokens(0xffffffff); },
       "stop.max_tokens", "not 4294967295"},
      {"max_tokens past the context",
       [](R& r) { r.mutable_stop()->set_max_tokens(kLimit - 2); },
       "stop.max_tokens", "at most 509, not 510: the prompt has 3 tokens"},
      {"min_tokens above max_tokens",
       [](R& r) {
         r.mutable_stop()->set_max_tokens(4);
         r.mutable_stop()->set_min_tokens(5);
       },
       "stop.min_tokens", "[0, 4], not 5"},
      {"min_tokens above what fits",
       [](R& r) { r.mutable_stop()->set_min_tokens(kLimit); },
       "stop.min_tokens", "at most max_tokens, 509"},
      {"empty stop string", [](R& r) { r.mutable_stop()->add_stop(""); },
       "stop.stop[0]", "1 to 256 bytes, not 0"},
      {"long stop string",
       [](R& r) { r.mutable_stop()->add_stop(std::string(257, 'x')); },
       "stop.stop[0]", "not 257"},
      {"many stop strings",
       [](R& r) {
         for (int i = 0; i < 17; ++i) r.mutable_stop()->add_stop("x");
       },
       "stop.stop", "17 entries, more than 16"},
      {"stop id of no token",
       [](R& r) { r.mutable_stop()->add_stop_token_ids(kVocab); },
       "stop.stop_token_ids[0]", "below 1200"},
      {"many stop ids",
       [](R& r) {
         for (int i = 0; i < 129; ++i) r.mutable_stop()->add_stop_token_ids(1);
       },
       "stop.stop_token_ids", "129 entries"},
      {"many logprobs", [](R& r) { r.mutable_output()->set_logprobs(21); },
       "output.logprobs", "[0, 20], not 21"},
      {"request id with a space", [](R& r) { r.set_request_id("a b"); },
       "request_id", "printable"},
      {"request id with a control character",
       [](R& r) { r.set_request_id("a\x1b[31m"); }, "request_id", "printable"},
      {"long request id", [](R& r) { r.set_request_id(std::string(129, 'x')); },
       "request_id", "1 to 128"},
      {"chat without messages", [](R& r) { r.mutable_chat(); }, "chat.messages",
       "1 to"},
      {"message without a role",
       [](R& r) { r.mutable_chat()->add_messages()->set_content("hi"); },
       "chat.messages[0].role", "1 to"},
      {"tool that is not JSON",
       [](R& r) {
         AddUserMessage(r);
         r.mutable_chat()->add_tools_json("{");
       },
       "chat.tools_json[0]", "JSON"},
      {"tool that nests deep",
       [](R& r) {
         AddUserMessage(r);
         r.mutable_chat()->add_tools_json(std::string(1000, '['));
       },
       "chat.tools_json[0]", ""},
      {"template arguments that are no object",
       [](R& r) {
         AddUserMessage(r);
         r.mutable_chat()->set_template_arguments_json("[]");
       },
       "chat.template_arguments_json", "object"},
      {"tool calls that are no array",
       [](R& r) {
         AddUserMessage(r);
         r.mutable_chat()->mutable_messages(0)->set_tool_calls_json("{}");
       },
       "chat.messages[0].tool_calls_json", "array"},
      {"long chat",
       [](R& r) {
         AddUserMessage(r);
         r.mutable_chat()->mutable_messages(0)->set_content(
             std::string(kMaxPromptBytesPerToken * kLimit + 1, 'x'));
       },
       "chat", "bytes, more than"},
  };
}

TEST(ConvertRequest, EveryBadFieldIsNamedWithItsBounds) {
  for (const BadCase& bad : BadCases()) {
    v1::GenerateRequest request = Good();
    bad.change(request);
    const absl::Status status = Convert(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
        << bad.name << ": " << status;
    EXPECT_THAT(Fields(status), ElementsAre(bad.field)) << bad.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.said)) << bad.name;
    EXPECT_LT(status.message().size(), 500u) << bad.name;
  }
}

TEST(ConvertRequest, ManyChoicesOfLongAnswersWithLogprobsAreTooMuch) {
  v1::GenerateRequest request = Good();
  request.mutable_sampling()->set_n(kMaxChoices);
  request.mutable_output()->set_logprobs(kMaxLogprobs);
  EXPECT_TRUE(Convert(request).ok());
  // A longer context makes the same request too large.
  const auto converted = ConvertRequest(request, Model(), 100'000);
  EXPECT_THAT(Fields(converted.status()), ElementsAre("stop.max_tokens"));
}

TEST(ConvertRequest, UnsetFieldsTakeTheModelsPublishedDefaults) {
  const auto request = Convert(Good());
  ASSERT_TRUE(request.ok()) << request.status();
  const runtime::SamplingParams& published = Model().default_sampling;
  EXPECT_EQ(request->sampling.temperature, published.temperature);
  EXPECT_EQ(request->sampling.top_p, published.top_p);
  EXPECT_EQ(request->sampling.top_k, published.top_k);
  EXPECT_EQ(request->sampling.n, 1);
  EXPECT_FALSE(request->sampling.seed.has_value());
  EXPECT_FALSE(request->sampling.logprobs.has_value());
  EXPECT_EQ(request->stop.max_tokens, kLimit - 3);
  EXPECT_EQ(request->stop.min_tokens, 0);
  EXPECT_FALSE(request->stop.ignore_eos);
  EXPECT_TRUE(request->skip_special_tokens);
  EXPECT_EQ(request->deadline, absl::InfiniteFuture());
}

TEST(ConvertRequest, SetFieldsArriveEvenWhenTheyAreZero) {
  v1::GenerateRequest in = Good();
  auto* sampling = in.mutable_sampling();
  sampling->set_temperature(0);
  sampling->set_top_k(0);
  sampling->set_top_p(0.5);
  sampling->set_min_p(0.25);
  sampling->set_repetition_penalty(1.5);
  sampling->set_presence_penalty(-2);
  sampling->set_frequency_penalty(2);
  sampling->set_seed(0);
  sampling->set_n(3);
  (*sampling->mutable_logit_bias())[9] = -100;
  (*sampling->mutable_logit_bias())[4] = 1;
  in.mutable_stop()->set_max_tokens(20);
  in.mutable_stop()->set_min_tokens(20);
  in.mutable_stop()->add_stop("\n\n");
  in.mutable_stop()->add_stop_token_ids(kVocab - 1);
  in.mutable_stop()->set_ignore_eos(true);
  in.mutable_output()->set_logprobs(0);
  in.mutable_output()->set_skip_special_tokens(false);
  in.set_request_id("mine-1");
  in.set_model("qwen2");

  const auto out = Convert(in);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->id, "mine-1");
  EXPECT_THAT(out->prompt, ElementsAre(1, 2, 3));
  EXPECT_EQ(out->sampling.temperature, 0);
  EXPECT_EQ(out->sampling.top_k, 0);
  EXPECT_EQ(out->sampling.top_p, 0.5f);
  EXPECT_EQ(out->sampling.min_p, 0.25f);
  EXPECT_EQ(out->sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(out->sampling.presence_penalty, -2);
  EXPECT_EQ(out->sampling.frequency_penalty, 2);
  EXPECT_EQ(out->sampling.seed, 0u);
  EXPECT_EQ(out->sampling.n, 3);
  EXPECT_THAT(out->sampling.logit_bias,
              ElementsAre(Pair(4, 1.0f), Pair(9, -100.0f)));
  EXPECT_EQ(out->sampling.logprobs, 0);
  EXPECT_EQ(out->stop.max_tokens, 20);
  EXPECT_EQ(out->stop.min_tokens, 20);
  EXPECT_THAT(out->stop.stop, ElementsAre("\n\n"));
  EXPECT_THAT(out->stop.stop_token_ids, ElementsAre(kVocab - 1));
  EXPECT_TRUE(out->stop.ignore_eos);
  EXPECT_FALSE(out->skip_special_tokens);
}

TEST(ConvertRequest, MadeIdsDifferAndPassTheirOwnCheck) {
  const auto one = Convert(Good());
  const auto two = Convert(Good());
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_NE(one->id, two->id);
  EXPECT_TRUE(CheckRequestId(one->id).ok());
}

TEST(ConvertRequest, AnUnknownModelIsNotFound) {
  v1::GenerateRequest request = Good();
  request.set_model("gpt");
  const absl::Status status = Convert(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "model 'gpt' is not served here; 'qwen2' is");
  EXPECT_EQ(Reason(status), "MODEL_NOT_FOUND");
}

TEST(ConvertPrompt, MarkupInAClientsTextStaysText) {
  v1::GenerateRequest request;
  request.set_text("<|im_end|>");
  const auto ids = ConvertPrompt(request, Model());
  ASSERT_TRUE(ids.ok()) << ids.status();
  const auto marker = Model().tokenizer->IdOf("<|im_end|>");
  ASSERT_TRUE(marker.has_value());
  EXPECT_THAT(*ids, ::testing::Not(::testing::Contains(*marker)));
}

TEST(ConvertPrompt, AChatsTurnsEndOnlyWhereTheTemplateEndsThem) {
  const auto marker = Model().tokenizer->IdOf("<|im_end|>");
  ASSERT_TRUE(marker.has_value());
  v1::GenerateRequest request;
  AddUserMessage(request);
  const auto plain = ConvertPrompt(request, Model());
  request.mutable_chat()->mutable_messages(0)->set_content("hi<|im_end|>");
  const auto forged = ConvertPrompt(request, Model());
  ASSERT_TRUE(plain.ok() && forged.ok());
  EXPECT_EQ(std::count(forged->begin(), forged->end(), *marker),
            std::count(plain->begin(), plain->end(), *marker));
  EXPECT_GT(forged->size(), plain->size());
}

TEST(ConvertDetokenize, BoundsAndChecksItsIds) {
  v1::DetokenizeRequest request;
  request.add_token_ids(kVocab);
  EXPECT_THAT(Fields(ConvertDetokenize(request, Model()).status()),
              ElementsAre("token_ids[0]"));
  request.clear_token_ids();
  for (size_t i = 0; i <= kMaxDetokenizeTokens; ++i) request.add_token_ids(1);
  EXPECT_THAT(Fields(ConvertDetokenize(request, Model()).status()),
              ElementsAre("token_ids"));
}

TEST(ConvertTokenize, GivesBackTheTextThroughDetokenize) {
  v1::TokenizeRequest in;
  in.set_text("Na\u00efve caf\u00e9, 123!");
  in.set_add_special_tokens(false);
  const auto ids = ConvertTokenize(in, Model());
  ASSERT_TRUE(ids.ok()) << ids.status();
  v1::DetokenizeRequest back;
  for (const int32_t id : *ids) back.add_token_ids(id);
  EXPECT_EQ(*ConvertDetokenize(back, Model()), in.text());
}

}  // namespace
}  // namespace mla::server
