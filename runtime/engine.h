// Engine runs requests: schedule -> forward and sample -> emit, step by step.
// Where the backend runs ahead, a step is scheduled and started before the
// tokens of the one before are known: they are taken where they were drawn.
//
// Owns:    the engine thread, the scheduler, the block pool and the cache.
// Threads: public calls from any thread; sinks are called from its own.
// Errors:  a request is refused by Submit, and its sink never called, with
//            INVALID_ARGUMENT    a prompt or parameter that can never run
//            RESOURCE_EXHAUSTED  the queue is full
//            UNAVAILABLE         draining, or the device has failed
//            ALREADY_EXISTS      a live request has this id
//          or accepted, and then ends through its sink, whatever happens:
//          UNAVAILABLE if the device fails.
// Flow:    server -> [here] -> TokenSink
#ifndef MLA_RUNTIME_ENGINE_H_
#define MLA_RUNTIME_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/dtype.h"
#include "runtime/engine_stats.h"
#include "runtime/request.h"

namespace mla::runtime {

class LoadedModel;
class Metrics;

// A refusal because the queue is full carries this payload, which names the
// bound that was met: "requests" or "tokens".
inline constexpr char kQueueBoundPayload[] = "mla.runtime/queue-bound";

struct EngineOptions {
  int64_t kv_cache_bytes = 0;  // 0: Backend::DefaultCacheBytes
  kernels::DType kv_dtype = kernels::DType::kBF16;  // or kF32, kF8E4M3
  int block_tokens = 64;
  int max_running = 64;       // choices computed together
  int max_step_tokens = 512;  // of one step, prompts and generation together
  int max_queued_requests = 512;
  int64_t max_queued_tokens = int64_t{1} << 20;  // prompt tokens waiting
  // Called once, by the engine thread, when the device has failed and every
  // request has ended: nothing will be computed any more.
  std::function<void(const absl::Status&)> on_failure = [](const auto&) {};
};

class Engine {
 public:
  // Starts the engine thread. `model` and `metrics` outlive the engine, and no
  // one else runs the model meanwhile.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const EngineOptions& options, const LoadedModel& model, Metrics& metrics);
  ~Engine();  // cancels what still runs

  absl::Status Submit(Request request);
  // False when no live request has this id. Its blocks are free, and its sink
  // is done with, within one step.
  bool Cancel(std::string_view request_id);

  // From now on Submit refuses; what was accepted runs to its end.
  void Drain();
  // True when no request is live; false at the deadline.
  bool WaitIdle(absl::Time deadline);

  // The most tokens, prompt and generated together, that a choice can have:
  // what both the pool and the model's context hold.
  int max_request_tokens() const;
  EngineStats Stats() const;
  // Drops the cached (unreferenced) blocks; returns how many.
  int64_t FlushCache();
  // OK, or why the device has failed.
  absl::Status status() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ENGINE_H_
