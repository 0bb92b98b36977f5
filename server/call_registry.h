// CallRegistry holds every open generation call and, once a second, ends the
// ones whose client has stopped reading and publishes how slow the rest are.
// Owns:    the calls, until gRPC is done with them; one thread.
// Threads: any.
#ifndef MLA_SERVER_CALL_REGISTRY_H_
#define MLA_SERVER_CALL_REGISTRY_H_

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "runtime/mutex.h"
#include "server/server_metrics.h"

namespace mla::server {

// A call as the registry sees it, from its own thread.
class WatchedCall {
 public:
  virtual ~WatchedCall() = default;
  // When the write or finish now in flight began; InfiniteFuture if none is.
  virtual absl::Time BusySince() const = 0;
  virtual size_t PendingBytes() const = 0;
  // The client takes nothing: end the call.
  virtual void Abandon() = 0;
};

class CallRegistry {
 public:
  // `metrics` outlives this. A write may wait for `stall_limit`.
  CallRegistry(absl::Duration stall_limit, ServerMetrics& metrics);
  ~CallRegistry();

  void Add(std::shared_ptr<WatchedCall> call);
  // Drops the registry's share; `call` may be gone when this returns.
  void Remove(WatchedCall* call);
  // True when no call is open; false at the deadline.
  bool WaitEmpty(absl::Time deadline);

 private:
  void Run();
  void Inspect(absl::Time now);

  const absl::Duration stall_limit_;
  ServerMetrics& metrics_;
  runtime::Mutex mu_;
  absl::flat_hash_map<WatchedCall*, std::shared_ptr<WatchedCall>> calls_
      ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace mla::server

#endif  // MLA_SERVER_CALL_REGISTRY_H_
