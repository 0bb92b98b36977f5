// Engine runs requests: schedule -> forward -> sample -> emit, step by step.
// Owns:    the engine thread, the scheduler, the block pool and the cache.
// Threads: public calls from any thread; sinks are called from the engine's
// own. Errors:  Submit refuses (and never calls the sink) with
//            RESOURCE_EXHAUSTED   queue full, or the pool could never hold it
//            UNAVAILABLE          draining
//            ALREADY_EXISTS       a live request has this id
//          a request that was accepted ends through its sink, whatever happens.
#ifndef MLA_RUNTIME_ENGINE_H_
#define MLA_RUNTIME_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/request.h"

namespace mla::runtime {

class Metrics;
class LoadedModel;

struct EngineOptions {
  int64_t kv_cache_bytes = int64_t{1} << 30;
  int block_tokens = 64;
  int max_running = 64;       // choices decoded together
  int max_step_tokens = 512;  // token budget of one step
  int max_queued_requests = 512;
  int64_t max_queued_tokens = int64_t{1} << 20;  // prompt tokens waiting
};

// The pool's occupancy; free + active + cached + reserved == total, always.
struct CacheStats {
  int64_t block_bytes = 0;
  int block_tokens = 0;
  int64_t bytes_per_token = 0;  // in all layers
  int64_t total_blocks = 0;
  int64_t free_blocks = 0;
  int64_t active_blocks = 0;
  int64_t cached_blocks = 0;
  int64_t reserved_blocks = 0;
  int64_t active_tokens = 0;  // rows that live sequences hold
  int64_t cached_tokens = 0;
};

struct EngineStats {
  CacheStats cache;
  int64_t running_requests = 0;
  int64_t waiting_requests = 0;
  int64_t waiting_tokens = 0;
};

class Engine {
 public:
  // `model` and `metrics` outlive the engine. Starts the engine thread.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const EngineOptions& options, const LoadedModel& model, Metrics& metrics);
  ~Engine();  // cancels what still runs

  absl::Status Submit(Request request);
  // False when no live request has this id. Blocks are free within one step.
  bool Cancel(std::string_view request_id);
  // From now on Submit refuses; what was accepted runs to its end.
  void Drain();
  // True when no request is live; false at the deadline.
  bool WaitIdle(absl::Time deadline);
  EngineStats Stats() const;
  // Drops the cached (unreferenced) blocks; returns how many.
  int64_t FlushCache();

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ENGINE_H_
