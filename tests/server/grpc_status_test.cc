#include "server/grpc_status.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/error_details.h"

namespace mla::server {
namespace {

TEST(ToGrpcStatus, OkIsOk) { EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok()); }

TEST(ToGrpcStatus, KeepsEveryCodeAndItsMessage) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status =
        ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), "why");
    EXPECT_TRUE(status.error_details().empty());
    EXPECT_EQ(FromGrpcStatus(status),
              absl::Status(static_cast<absl::StatusCode>(code), "why"));
  }
}

TEST(ToGrpcStatus, DetailsTravelAsGoogleRpcStatus) {
  const grpc::Status status = ToGrpcStatus(WithRetryDelay(
      WithReason(absl::ResourceExhaustedError("full"), "QUEUE_FULL"),
      absl::Seconds(2)));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(details.message(), "full");
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  for (const auto& any : details.details()) {
    if (any.Is<google::rpc::ErrorInfo>()) any.UnpackTo(&info);
    if (any.Is<google::rpc::RetryInfo>()) any.UnpackTo(&retry);
  }
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "mla.serving");
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
}

}  // namespace
}  // namespace mla::server
