// StreamRegistry holds every open Generate stream and, once a second, ends the
// ones whose client has stopped reading and publishes how slow the rest are.
// Owns:    the streams, until gRPC is done with them; one thread.
// Threads: any.
#ifndef MLA_SERVER_STREAM_REGISTRY_H_
#define MLA_SERVER_STREAM_REGISTRY_H_

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/server_metrics.h"

namespace mla::server {

// A stream as the registry sees it. Calls come from the registry's thread.
class WatchedStream {
 public:
  virtual ~WatchedStream() = default;
  // When the write or finish now in flight began; InfiniteFuture if none is.
  virtual absl::Time BusySince() const = 0;
  virtual size_t PendingBytes() const = 0;
  // The client takes nothing: end the call.
  virtual void Abandon() = 0;
};

class StreamRegistry {
 public:
  // `metrics` outlives this. A write may wait for `stall_limit`.
  StreamRegistry(absl::Duration stall_limit, ServerMetrics& metrics);
  ~StreamRegistry();

  void Add(std::shared_ptr<WatchedStream> stream);
  // Drops the registry's share; `stream` may be gone when this returns.
  void Remove(WatchedStream* stream);

 private:
  void Run();
  void Inspect(absl::Time now);

  const absl::Duration stall_limit_;
  ServerMetrics& metrics_;
  absl::Mutex mu_;
  absl::flat_hash_map<WatchedStream*, std::shared_ptr<WatchedStream>> streams_
      ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace mla::server

#endif  // MLA_SERVER_STREAM_REGISTRY_H_
