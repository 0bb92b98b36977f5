// StreamWriter carries one request's tokens to one client. It is both the
// engine's sink and gRPC's reactor: the engine adds deltas and never waits,
// gRPC has at most one write in flight, and what comes meanwhile is coalesced.
// Owns:    the waiting chunks; itself, through the registry and the engine's
//          share, so that it outlives both the call and the request.
// Threads: any; guarded by mu_. gRPC and the engine are called outside it.
// Life:    Begin or Refuse -> ... -> the engine's OnDone -> last write ->
//          Finish -> gRPC's OnDone, after which the engine has dropped it too.
// Flow:    Engine -> PendingChunks -> [here] -> the client
#ifndef MLA_SERVER_STREAM_WRITER_H_
#define MLA_SERVER_STREAM_WRITER_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/mutex.h"
#include "runtime/request.h"
#include "runtime/token_sink.h"
#include "server/call_registry.h"
#include "server/generation_context.h"
#include "server/outcome.h"
#include "server/pending_chunks.h"

namespace mla::server {

class StreamWriter final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public runtime::TokenSink,
                           public WatchedCall,
                           public std::enable_shared_from_this<StreamWriter> {
 public:
  // In the registry from here to OnDone. `call` is alive until OnDone.
  static std::shared_ptr<StreamWriter> Create(
      const GenerationContext& generation, grpc::CallbackServerContext& call);

  // Exactly one of these, once, from the method handler or a worker thread:
  // the client may be gone by then.
  void Begin(runtime::Request request);  // hands it to the engine
  void Refuse(absl::Status status);      // ends the call

  // runtime::TokenSink, from the engine thread.
  void OnTokens(runtime::TokenDelta delta) override;
  void OnDone(absl::Status status, const runtime::Summary& summary) override;

  // grpc::ServerWriteReactor.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // WatchedCall, from the registry's thread.
  absl::Time BusySince() const override;
  size_t PendingBytes() const override;
  void Abandon() override;

 private:
  StreamWriter(const GenerationContext& generation,
               grpc::CallbackServerContext& call)
      : generation_(generation), call_(call) {}

  enum class Step { kNothing, kWrite, kFinish };
  enum class State { kNotSubmitted, kLive, kEnded };

  // Starts the next write, or the finish, if neither is in flight.
  void Pump();
  // What Pump is to start; takes a chunk out for it.
  Step NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the engine's request, if it still runs. The first reason counts.
  void Interrupt(Interruption why);

  const GenerationContext generation_;
  grpc::CallbackServerContext& call_;
  std::string request_id_;    // set by Begin, before the engine knows of it
  grpc::ByteBuffer written_;  // in flight; touched by nobody meanwhile

  mutable runtime::Mutex mu_;
  PendingChunks pending_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;    // nothing can be written
  bool finished_ ABSL_GUARDED_BY(mu_) = false;  // Finish was called
  bool closed_ ABSL_GUARDED_BY(mu_) = false;    // call_ is gone
  State state_ ABSL_GUARDED_BY(mu_) = State::kNotSubmitted;  // with the engine
  Interruption interruption_ ABSL_GUARDED_BY(mu_) = Interruption::kNone;
  absl::Time deadline_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time busy_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  std::string finish_reason_ ABSL_GUARDED_BY(mu_) = "none";
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace mla::server

#endif  // MLA_SERVER_STREAM_WRITER_H_
