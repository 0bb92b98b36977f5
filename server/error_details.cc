// Tested by tests/server/error_details_test.cc.
#include "server/error_details.h"

#include <cstdint>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "server/limits.h"

namespace mla::server {
namespace {

constexpr char kDomain[] = "mla.serving";

std::string TypeUrl(const google::protobuf::Message& message) {
  return absl::StrCat("type.googleapis.com/",
                      message.GetDescriptor()->full_name());
}

void Attach(const google::protobuf::Message& detail, absl::Status& status) {
  status.SetPayload(TypeUrl(detail), absl::Cord(detail.SerializeAsString()));
}

template <typename Detail>
std::optional<Detail> Find(const absl::Status& status) {
  Detail detail;
  const auto payload = status.GetPayload(TypeUrl(detail));
  if (!payload || !detail.ParseFromString(std::string(*payload))) {
    return std::nullopt;
  }
  return detail;
}

}  // namespace

void FieldViolations::Add(std::string field, std::string description) {
  if (++count_ > kMaxReportedViolations) return;
  violations_.emplace_back(std::move(field), std::move(description));
}

absl::Status FieldViolations::ToStatus() const {
  if (empty()) return absl::OkStatus();
  google::rpc::BadRequest bad_request;
  std::string message;
  for (const auto& [field, description] : violations_) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description(description);
    absl::StrAppend(&message, message.empty() ? "" : "; ", field, " ",
                    description);
  }
  if (count_ > violations_.size()) {
    absl::StrAppend(&message, "; and ", count_ - violations_.size(), " more");
  }
  absl::Status status = absl::InvalidArgumentError(message);
  Attach(bad_request, status);
  return status;
}

absl::Status InvalidField(std::string field, std::string description) {
  FieldViolations violations;
  violations.Add(std::move(field), std::move(description));
  return violations.ToStatus();
}

absl::Status InField(const std::string& path, const absl::Status& status) {
  if (auto bad_request = Find<google::rpc::BadRequest>(status)) {
    FieldViolations violations;
    for (const auto& violation : bad_request->field_violations()) {
      violations.Add(absl::StrCat(path, ".", violation.field()),
                     violation.description());
    }
    return violations.ToStatus();
  }
  absl::Status moved(status.code(), absl::StrCat(path, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view type_url, const absl::Cord& payload) {
        moved.SetPayload(type_url, payload);
      });
  return moved;
}

absl::Status WithReason(absl::Status status, std::string_view reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
  info.set_domain(kDomain);
  Attach(info, status);
  return status;
}

std::string Reason(const absl::Status& status) {
  const auto info = Find<google::rpc::ErrorInfo>(status);
  return info ? info->reason() : "";
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  google::rpc::RetryInfo info;
  const int64_t nanos = absl::ToInt64Nanoseconds(delay);
  info.mutable_retry_delay()->set_seconds(nanos / 1'000'000'000);
  info.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(nanos % 1'000'000'000));
  Attach(info, status);
  return status;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const auto info = Find<google::rpc::RetryInfo>(status);
  if (!info) return std::nullopt;
  return absl::Seconds(info->retry_delay().seconds()) +
         absl::Nanoseconds(info->retry_delay().nanos());
}

std::string Quoted(std::string_view text) {
  const bool cut = text.size() > kMaxEchoedBytes;
  return absl::StrCat(
      "'", absl::CHexEscape(std::string(text.substr(0, kMaxEchoedBytes))),
      cut ? "...'" : "'");
}

}  // namespace mla::server
