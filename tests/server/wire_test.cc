#include "server/wire.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <string>

#include "mla/serving/v1/generation.pb.h"
#include "server/limits.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kBadUtf8[] = "ab\xff";

v1::GenerateRequest FullRequest() {
  v1::GenerateRequest request;
  request.set_model("m");
  auto* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("gr\u00fc\u00df \U0001F600");
  request.mutable_sampling()->set_temperature(0.5);
  (*request.mutable_sampling()->mutable_logit_bias())[7] = -1;
  request.mutable_stop()->add_stop("x");
  return request;
}

// Bytes of a field that a parser with UTF-8 checks would not let us set.
std::string LengthDelimited(int field, const std::string& value) {
  std::string out;
  out.push_back(static_cast<char>(field << 3 | 2));
  out.push_back(static_cast<char>(value.size()));
  return out + value;
}

absl::Status ParseGenerate(const std::string& bytes) {
  v1::GenerateRequest request;
  return ParseMessage(bytes, request);
}

TEST(ParseMessage, GivesBackWhatWasSerialized) {
  const v1::GenerateRequest in = FullRequest();
  v1::GenerateRequest out;
  ASSERT_TRUE(ParseMessage(in.SerializeAsString(), out).ok());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(in, out));
}

TEST(ParseMessage, ReadsByteBuffersOfManySlices) {
  const v1::GenerateRequest in = FullRequest();
  const std::string bytes = in.SerializeAsString();
  std::vector<grpc::Slice> slices;
  for (const char& byte : bytes) slices.emplace_back(&byte, 1);
  const grpc::ByteBuffer buffer(slices.data(), slices.size());
  v1::GenerateRequest out;
  ASSERT_TRUE(ParseMessage(buffer, out).ok());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(in, out));
}

TEST(ParseMessage, EmptyBytesAreTheEmptyMessage) {
  EXPECT_TRUE(ParseGenerate("").ok());
}

TEST(ParseMessage, BadUtf8IsNamedByItsPath) {
  // chat { messages {} messages { content: "ab\xff" } }
  const std::string chat =
      LengthDelimited(1, "") + LengthDelimited(1, LengthDelimited(2, kBadUtf8));
  const absl::Status status = ParseGenerate(LengthDelimited(5, chat));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "chat.messages[1].content is not valid UTF-8 at byte 2");
}

TEST(ParseMessage, BadUtf8InAPlainFieldIsNamed) {
  EXPECT_EQ(ParseGenerate(LengthDelimited(3, kBadUtf8)).message(),
            "text is not valid UTF-8 at byte 2");
}

TEST(ParseMessage, SurrogatesAndOverlongFormsAreNotUtf8) {
  for (const char* text : {"\xed\xa0\x80", "\xc0\xaf", "\xf5\x80\x80\x80"}) {
    EXPECT_EQ(ParseGenerate(LengthDelimited(3, text)).message(),
              "text is not valid UTF-8 at byte 0");
  }
}

TEST(ParseMessage, EveryTruncationIsRefusedOrAShorterMessage) {
  const std::string bytes = FullRequest().SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    v1::GenerateRequest plain;
    EXPECT_EQ(ParseGenerate(cut).ok(), plain.ParseFromString(cut)) << size;
  }
}

TEST(ParseMessage, LengthsPastTheirParentAreRefused) {
  std::string bytes = LengthDelimited(5, LengthDelimited(1, "abc"));
  bytes[3] = 100;  // the inner length
  EXPECT_THAT(std::string(ParseGenerate(bytes).message()),
              StartsWith("the request's bytes are not a message of type "
                         "mla.serving.v1.GenerateRequest"));
}

TEST(ParseMessage, EmptySubmessagesAreCountedBeforeTheyAreMade) {
  std::string chat;
  for (int i = 0; i < 1'000'000; ++i) chat += LengthDelimited(1, "");
  v1::ChatInput out;
  const absl::Status status = ParseMessage(chat, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000000 submessages"));
  EXPECT_EQ(out.messages_size(), 0);
}

TEST(ParseMessage, UnknownFieldsAreAllowedButBounded) {
  const std::string unknown = {static_cast<char>(15 << 3), 1};
  EXPECT_TRUE(ParseGenerate(unknown).ok());
  std::string many;
  for (int i = 0; i <= kMaxUnknownFields; ++i) many += unknown;
  EXPECT_THAT(std::string(ParseGenerate(many).message()),
              HasSubstr("does not have"));
}

TEST(ParseMessage, DeepGroupsAreRefused) {
  std::string groups;
  for (int i = 0; i < 100'000; ++i) groups.push_back(15 << 3 | 3);
  EXPECT_FALSE(ParseGenerate(groups).ok());
}

TEST(ParseMessage, OversizedBytesAreRefused) {
  EXPECT_FALSE(
      ParseGenerate(std::string(kMaxReceiveMessageBytes + 1, 'x')).ok());
}

}  // namespace
}  // namespace mla::server
