// Tested by tests/server/generation_service_test.cc.
#include "server/stream_writer.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "absl/time/clock.h"
#include "server/call_deadline.h"
#include "server/grpc_status.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/no_throw.h"
#include "server/response_conversion.h"
#include "server/wire.h"

namespace mla::server {

std::shared_ptr<StreamWriter> StreamWriter::Create(
    const GenerationContext& generation, grpc::CallbackServerContext& call) {
  std::shared_ptr<StreamWriter> writer(new StreamWriter(generation, call));
  {
    runtime::MutexLock lock(&writer->mu_);
    writer->deadline_ = CallDeadline(call);
  }
  generation.calls.Add(writer);
  return writer;
}

void StreamWriter::Begin(runtime::Request request) {
  request_id_ = request.id;
  request.sink = shared_from_this();
  absl::Status status = generation_.engine.Submit(std::move(request));
  if (!status.ok()) {
    Refuse(ExplainRefusal(std::move(status)));
    return;
  }
  bool too_late = false;
  {
    runtime::MutexLock lock(&mu_);
    if (state_ == State::kNotSubmitted) state_ = State::kLive;
    too_late = interruption_ != Interruption::kNone;
  }
  if (too_late) generation_.engine.Cancel(request_id_);
}

void StreamWriter::Refuse(absl::Status status) {
  ReportRefusal(request_id_, status, generation_.metrics);
  {
    runtime::MutexLock lock(&mu_);
    state_ = State::kEnded;
    final_status_ = std::move(status);
  }
  Pump();
}

void StreamWriter::OnTokens(runtime::TokenDelta delta) {
  bool too_slow = false;
  const absl::Status added = NoThrow([&] {
    runtime::MutexLock lock(&mu_);
    if (delta.finish) finish_reason_ = Name(delta.finish->reason);
    if (!broken_) pending_.Add(delta);
    too_slow = pending_.bytes() > kMaxPendingBytes;
    return absl::OkStatus();
  });
  if (!added.ok()) Interrupt(Interruption::kOutOfMemory);
  if (too_slow) Interrupt(Interruption::kSlowClient);
  Pump();
}

void StreamWriter::OnDone(absl::Status status,
                          const runtime::Summary& summary) {
  std::string finish_reason;
  {
    runtime::MutexLock lock(&mu_);
    state_ = State::kEnded;
    status = FinalStatus(std::move(status), interruption_);
    if (!status.ok()) finish_reason_ = "none";
    if (status.ok() && !broken_) pending_.AddSummary(summary);
    finish_reason = finish_reason_;
    final_status_ = status;
  }
  ReportEnd(request_id_, status, finish_reason, summary, generation_.metrics);
  Pump();
}

void StreamWriter::Pump() {
  Step step;
  absl::Status status;
  {
    runtime::MutexLock lock(&mu_);
    step = NextStep();
    if (step == Step::kNothing) return;
    busy_since_ = absl::Now();
    if (step == Step::kFinish) status = *final_status_;
  }
  // Only one caller gets here at a time: writing_ and finished_ shut the rest
  // out. gRPC may call back before this returns.
  if (step == Step::kWrite) {
    StartWrite(&written_);
  } else {
    Finish(ToGrpcStatus(status, call_));
  }
}

StreamWriter::Step StreamWriter::NextStep() {
  if (writing_ || finished_) return Step::kNothing;
  if (!pending_.empty()) {
    auto message = pending_.Pop();
    message.set_request_id(request_id_);
    written_ = SerializeMessage(message);
    writing_ = true;
    return Step::kWrite;
  }
  if (!final_status_) return Step::kNothing;
  finished_ = true;
  return Step::kFinish;
}

void StreamWriter::OnWriteDone(bool ok) {
  {
    runtime::MutexLock lock(&mu_);
    writing_ = false;
    busy_since_ = absl::InfiniteFuture();
    written_.Clear();
    if (!ok) {
      broken_ = true;
      pending_.Clear();
    }
  }
  Pump();
}

void StreamWriter::OnCancel() { Interrupt(Interruption::kClientGone); }

void StreamWriter::Interrupt(Interruption why) {
  {
    runtime::MutexLock lock(&mu_);
    if (state_ == State::kEnded) return;
    if (interruption_ != Interruption::kNone) return;
    // gRPC cancels a call whose deadline has passed.
    interruption_ = absl::Now() < deadline_ ? why : Interruption::kDeadline;
    broken_ = true;
    pending_.Clear();
    // Begin looks at interruption_ once the engine has the request. Its id
    // before that may be another client's.
    if (state_ == State::kNotSubmitted) return;
  }
  generation_.engine.Cancel(request_id_);
}

absl::Time StreamWriter::BusySince() const {
  runtime::MutexLock lock(&mu_);
  return busy_since_;
}

size_t StreamWriter::PendingBytes() const {
  runtime::MutexLock lock(&mu_);
  return pending_.bytes();
}

void StreamWriter::Abandon() {
  Log().warn("stream abandoned, its client stopped reading id={}", request_id_);
  Interrupt(Interruption::kSlowClient);
  runtime::MutexLock lock(&mu_);
  if (!closed_) call_.TryCancel();
}

void StreamWriter::OnDone() {
  {
    runtime::MutexLock lock(&mu_);
    closed_ = true;
  }
  generation_.calls.Remove(this);
}

}  // namespace mla::server
