#include "server/error_details.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "server/limits.h"

namespace mla::server {
namespace {

using ::testing::HasSubstr;

google::rpc::BadRequest BadRequestOf(const absl::Status& status) {
  google::rpc::BadRequest out;
  const auto payload =
      status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  EXPECT_TRUE(payload && out.ParseFromString(std::string(*payload)));
  return out;
}

TEST(FieldViolations, NoneIsOk) {
  EXPECT_TRUE(FieldViolations().ToStatus().ok());
}

TEST(FieldViolations, EveryViolationIsNamedInMessageAndDetail) {
  FieldViolations violations;
  violations.Add("sampling.top_p", "must be in (0, 1], not 2");
  violations.Add("stop.stop[3]", "must have 1 to 256 bytes, not 0");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "sampling.top_p must be in (0, 1], not 2; stop.stop[3] must have 1 "
            "to 256 bytes, not 0");
  const google::rpc::BadRequest detail = BadRequestOf(status);
  ASSERT_EQ(detail.field_violations_size(), 2);
  EXPECT_EQ(detail.field_violations(0).field(), "sampling.top_p");
  EXPECT_EQ(detail.field_violations(1).description(),
            "must have 1 to 256 bytes, not 0");
}

TEST(FieldViolations, ManyAreCountedNotStored) {
  FieldViolations violations;
  for (int i = 0; i < 1'000'000; ++i) violations.Add("f", "is wrong");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(BadRequestOf(status).field_violations_size(),
            kMaxReportedViolations);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("and ", 1'000'000 - kMaxReportedViolations,
                                     " more")));
}

TEST(InField, PutsViolationsUnderThePath) {
  const absl::Status status =
      InField("requests[2]", InvalidField("text", "must not be empty"));
  EXPECT_EQ(BadRequestOf(status).field_violations(0).field(),
            "requests[2].text");
}

TEST(InField, KeepsOtherCodesAndDetails) {
  const absl::Status status = InField(
      "requests[0]", WithReason(absl::NotFoundError("no model"), "NO_MODEL"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "requests[0]: no model");
  EXPECT_EQ(Reason(status), "NO_MODEL");
}

TEST(RetryDelay, ComesBackToTheNanosecond) {
  const absl::Duration delay = absl::Seconds(3) + absl::Nanoseconds(141592653);
  const absl::Status status =
      WithRetryDelay(absl::ResourceExhaustedError("full"), delay);
  EXPECT_EQ(RetryDelay(status), delay);
  EXPECT_FALSE(RetryDelay(absl::ResourceExhaustedError("full")).has_value());
}

TEST(Quoted, EscapesAndCutsWhatAClientWrote) {
  EXPECT_EQ(Quoted("llama"), "'llama'");
  EXPECT_EQ(Quoted("a\nb\xff"), "'a\\nb\\xff'");
  const std::string long_text(1000, 'x');
  EXPECT_EQ(Quoted(long_text),
            absl::StrCat("'", std::string(kMaxEchoedBytes, 'x'), "...'"));
}

}  // namespace
}  // namespace mla::server
