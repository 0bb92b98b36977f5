// CollectedCall answers GenerateUnary and BatchGenerate: the same engine
// requests as a stream's, collected and sent as one message at the end.
// Owns:    the results so far; itself, through the registry and its sinks.
// Threads: any; guarded by mu_. gRPC and the engine are called outside it.
// Errors:  the first request that is refused or fails ends the others and is
//          the call's status.
#ifndef MLA_SERVER_COLLECTED_CALL_H_
#define MLA_SERVER_COLLECTED_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mla/serving/v1/generation.pb.h"
#include "runtime/mutex.h"
#include "runtime/request.h"
#include "server/call_registry.h"
#include "server/generation_context.h"
#include "server/outcome.h"

namespace mla::server {

class CollectedCall final : public grpc::ServerUnaryReactor,
                            public WatchedCall,
                            public std::enable_shared_from_this<CollectedCall> {
 public:
  using Results = std::vector<serving::v1::GenerateResult>;
  // Makes the answer of a call whose requests all succeeded.
  using Answer = std::function<grpc::ByteBuffer(Results)>;

  // In the registry from here to OnDone, until when gRPC keeps `call` and
  // `response` alive.
  static std::shared_ptr<CollectedCall> Create(
      const GenerationContext& generation, grpc::CallbackServerContext& call,
      grpc::ByteBuffer& response);

  // Exactly one of these, once, from the method handler or a worker thread:
  // the client may be gone by then.
  void Begin(std::vector<runtime::Request> requests, Answer answer);
  void Refuse(absl::Status status);

  // grpc::ServerUnaryReactor.
  void OnCancel() override;
  void OnDone() override;

  // WatchedCall, from the registry's thread.
  absl::Time BusySince() const override;
  size_t PendingBytes() const override;
  void Abandon() override;

 private:
  class Sink;
  enum class State { kNotSubmitted, kLive, kEnded };

  CollectedCall(const GenerationContext& generation,
                grpc::CallbackServerContext& call, grpc::ByteBuffer& response)
      : generation_(generation), call_(call), response_(response) {}

  absl::Status Submit(size_t index, runtime::Request request);
  // One request less to wait for; the last one finishes the call.
  void Ended(size_t index, absl::Status status,
             serving::v1::GenerateResult result);
  void FinishWith(absl::Status status);
  // Ends the engine's requests. The first reason counts.
  void Interrupt(Interruption why);
  void CancelLive();
  Interruption interruption() const;

  const GenerationContext generation_;
  grpc::CallbackServerContext& call_;
  grpc::ByteBuffer& response_;
  std::vector<std::string> ids_;  // set by Begin
  Answer answer_;                 // set by Begin

  mutable runtime::Mutex mu_;
  Results results_ ABSL_GUARDED_BY(mu_);
  std::vector<State> states_ ABSL_GUARDED_BY(mu_);
  size_t remaining_ ABSL_GUARDED_BY(mu_) = 0;  // not yet ended
  absl::Status first_error_ ABSL_GUARDED_BY(mu_);
  Interruption interruption_ ABSL_GUARDED_BY(mu_) = Interruption::kNone;
  absl::Time deadline_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time busy_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  bool closed_ ABSL_GUARDED_BY(mu_) = false;  // call_ is gone
};

}  // namespace mla::server

#endif  // MLA_SERVER_COLLECTED_CALL_H_
