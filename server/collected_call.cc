// Tested by tests/server/generation_service_test.cc.
#include "server/collected_call.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "absl/time/clock.h"
#include "server/call_deadline.h"
#include "server/grpc_status.h"
#include "server/no_throw.h"
#include "server/response_conversion.h"

namespace mla::server {

// One request's result, as it grows.
class CollectedCall::Sink final : public runtime::TokenSink {
 public:
  Sink(std::shared_ptr<CollectedCall> call, size_t index, int choices)
      : call_(std::move(call)), index_(index) {
    result_.set_request_id(call_->ids_[index]);
    for (int i = 0; i < choices; ++i) {
      result_.add_choices()->set_index(static_cast<uint32_t>(i));
    }
  }

  void OnTokens(runtime::TokenDelta delta) override {
    const absl::Status added = NoThrow([&] {
      AppendDelta(delta, *result_.mutable_choices(delta.index));
      return absl::OkStatus();
    });
    if (!added.ok()) call_->Interrupt(Interruption::kOutOfMemory);
    if (delta.finish) finish_reason_ = Name(delta.finish->reason);
  }

  void OnDone(absl::Status status, const runtime::Summary& summary) override {
    status = FinalStatus(std::move(status), call_->interruption());
    ReportEnd(call_->ids_[index_], status,
              status.ok() ? finish_reason_ : "none", summary,
              call_->generation_.metrics);
    auto message = ToProto(summary);
    *result_.mutable_usage() = std::move(*message.mutable_usage());
    *result_.mutable_timings() = std::move(*message.mutable_timings());
    call_->Ended(index_, std::move(status), std::move(result_));
  }

 private:
  const std::shared_ptr<CollectedCall> call_;
  const size_t index_;
  serving::v1::GenerateResult result_;
  const char* finish_reason_ = "none";
};

std::shared_ptr<CollectedCall> CollectedCall::Create(
    const GenerationContext& generation, grpc::CallbackServerContext& call,
    grpc::ByteBuffer& response) {
  std::shared_ptr<CollectedCall> made(
      new CollectedCall(generation, call, response));
  {
    runtime::MutexLock lock(&made->mu_);
    made->deadline_ = CallDeadline(call);
  }
  generation.calls.Add(made);
  return made;
}

void CollectedCall::Begin(std::vector<runtime::Request> requests,
                          Answer answer) {
  answer_ = std::move(answer);
  for (const auto& request : requests) ids_.push_back(request.id);
  {
    runtime::MutexLock lock(&mu_);
    results_.resize(requests.size());
    states_.resize(requests.size(), State::kNotSubmitted);
    remaining_ = requests.size();
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    absl::Status status = Submit(i, std::move(requests[i]));
    if (status.ok()) continue;
    ReportRefusal(ids_[i], status, generation_.metrics);
    // None of a batch runs when one is refused: this ends the earlier ones,
    // and the later ones are never handed over.
    for (size_t j = i; j < ids_.size(); ++j) Ended(j, status, {});
    return;
  }
}

absl::Status CollectedCall::Submit(size_t index, runtime::Request request) {
  request.sink =
      std::make_shared<Sink>(shared_from_this(), index, request.sampling.n);
  const absl::Status status = generation_.engine.Submit(std::move(request));
  if (!status.ok()) return ExplainRefusal(status);
  bool too_late = false;  // the call, or another request of it, ended meanwhile
  {
    runtime::MutexLock lock(&mu_);
    if (states_[index] == State::kNotSubmitted) states_[index] = State::kLive;
    too_late = !first_error_.ok() || interruption_ != Interruption::kNone;
  }
  if (too_late) CancelLive();
  return absl::OkStatus();
}

void CollectedCall::Refuse(absl::Status status) {
  ReportRefusal("", status, generation_.metrics);
  FinishWith(std::move(status));
}

void CollectedCall::Ended(size_t index, absl::Status status,
                          serving::v1::GenerateResult result) {
  bool last = false;
  bool failed_first = false;
  absl::Status call_status;
  Results results;
  {
    runtime::MutexLock lock(&mu_);
    failed_first = !status.ok() && first_error_.ok();
    if (failed_first) first_error_ = std::move(status);
    results_[index] = std::move(result);
    states_[index] = State::kEnded;
    last = --remaining_ == 0;
    if (last) {
      call_status = first_error_;
      results = std::move(results_);
    }
  }
  if (last) {
    if (call_status.ok()) {
      call_status = NoThrow([&] {
        response_ = answer_(std::move(results));
        return absl::OkStatus();
      });
    }
    FinishWith(std::move(call_status));
  } else if (failed_first) {
    CancelLive();
  }
}

void CollectedCall::OnCancel() { Interrupt(Interruption::kClientGone); }

void CollectedCall::Interrupt(Interruption why) {
  {
    runtime::MutexLock lock(&mu_);
    if (interruption_ != Interruption::kNone) return;
    // gRPC cancels a call whose deadline has passed.
    interruption_ = absl::Now() < deadline_ ? why : Interruption::kDeadline;
  }
  CancelLive();
}

void CollectedCall::CancelLive() {
  std::vector<std::string> live;
  {
    runtime::MutexLock lock(&mu_);
    for (size_t i = 0; i < states_.size(); ++i) {
      if (states_[i] == State::kLive) live.push_back(ids_[i]);
    }
  }
  for (const std::string& id : live) generation_.engine.Cancel(id);
}

Interruption CollectedCall::interruption() const {
  runtime::MutexLock lock(&mu_);
  return interruption_;
}

void CollectedCall::FinishWith(absl::Status status) {
  {
    runtime::MutexLock lock(&mu_);
    busy_since_ = absl::Now();
  }
  Finish(ToGrpcStatus(status, call_));
}

absl::Time CollectedCall::BusySince() const {
  runtime::MutexLock lock(&mu_);
  return busy_since_;
}

size_t CollectedCall::PendingBytes() const {
  return 0;  // nothing waits beside the one answer
}

void CollectedCall::Abandon() {
  runtime::MutexLock lock(&mu_);
  if (!closed_) call_.TryCancel();
}

void CollectedCall::OnDone() {
  {
    runtime::MutexLock lock(&mu_);
    closed_ = true;
  }
  generation_.calls.Remove(this);
}

}  // namespace mla::server
