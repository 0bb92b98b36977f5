// Two sides meet in this file. Any thread puts commands (new requests, ids to
// cancel) into the inbox under mu_; the engine thread takes them out between
// steps and owns everything else, without locks. What the other threads may
// ask (who is live, the statistics) is kept under mu_ as well.
// Tested by tests/runtime/engine_test.cc.
#include "runtime/engine.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "runtime/live_request.h"
#include "runtime/loaded_model.h"
#include "runtime/metrics.h"
#include "runtime/mutex.h"
#include "runtime/parallel_model.h"
#include "runtime/plan_batch.h"
#include "runtime/scheduler.h"
#include "runtime/status_macros.h"
#include "spdlog/spdlog.h"

namespace mla::runtime {
namespace {

double Seconds(absl::Duration d) { return absl::ToDoubleSeconds(d); }

absl::Status QueueFull(const char* bound, const std::string& waiting) {
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("the queue is full: ", waiting, " wait"));
  status.SetPayload(kQueueBoundPayload, absl::Cord(bound));
  return status;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const EngineOptions& options, const LoadedModel& loaded,
       Metrics& metrics, int num_blocks)
      : options_(options),
        loaded_(loaded),
        model_(*loaded.model),
        metrics_(metrics),
        num_blocks_(num_blocks),
        scheduler_({num_blocks, options.block_tokens, options.max_running,
                    options.max_step_tokens}) {
    PublishStats();
    thread_ = std::thread([this] { Loop(); });
  }

  ~Impl() {
    {
      MutexLock lock(&mu_);
      stopping_ = true;
    }
    thread_.join();
  }

  int max_request_tokens() const {
    const int64_t pool = int64_t{num_blocks_} * options_.block_tokens;
    return static_cast<int>(
        std::min<int64_t>(pool, loaded_.config.max_position));
  }

  absl::Status Submit(Request request) {
    RETURN_IF_ERROR(
        CheckRequest(request, loaded_.config.vocab_size, max_request_tokens()));
    const auto tokens = static_cast<int64_t>(request.prompt.size());
    MutexLock lock(&mu_);
    RETURN_IF_ERROR(failure_);
    if (draining_ || stopping_) {
      return absl::UnavailableError("the server is draining");
    }
    if (live_ids_.contains(request.id)) {
      return absl::AlreadyExistsError(
          absl::StrCat("a request with id '", request.id, "' is running"));
    }
    if (queued_requests_ >= options_.max_queued_requests) {
      return QueueFull("requests", absl::StrCat(queued_requests_, " requests"));
    }
    if (queued_requests_ > 0 &&
        queued_tokens_ + tokens > options_.max_queued_tokens) {
      return QueueFull("tokens",
                       absl::StrCat(queued_tokens_, " prompt tokens"));
    }
    ++queued_requests_;
    queued_tokens_ += tokens;
    auto live = std::make_unique<Live>(std::move(request), next_serial_++);
    live_ids_.emplace(live->request.id, live->serial);
    ++unended_;
    inbox_.push_back(std::move(live));
    return absl::OkStatus();
  }

  bool Cancel(std::string_view id) {
    MutexLock lock(&mu_);
    const auto it = live_ids_.find(std::string(id));
    if (it == live_ids_.end()) return false;
    cancelled_.push_back(it->second);
    return true;
  }

  void Drain() {
    MutexLock lock(&mu_);
    draining_ = true;
  }

  bool WaitIdle(absl::Time deadline) {
    MutexLock lock(&mu_);
    return mu_.AwaitUntil([this] { return unended_ == 0; }, deadline);
  }

  EngineStats Stats() const {
    MutexLock lock(&mu_);
    EngineStats stats = stats_;  // of the last step; the queue may have grown
    FillQueue(stats);
    return stats;
  }

  absl::Status status() const {
    MutexLock lock(&mu_);
    return failure_;
  }

  int64_t FlushCache() {
    Flush flush;
    {
      MutexLock lock(&mu_);
      if (stopping_) return 0;
      flushes_.push_back(&flush);
    }
    flush.done.WaitForNotification();
    return flush.blocks;
  }

 private:
  struct Flush {
    int64_t blocks = 0;
    Notification done;
  };

  // Started, and not heard of.
  struct StepUnderWay {
    int64_t number = 0;             // for Drawn
    std::vector<uint64_t> drawing;  // the order of each draw's sequence
    int num_tokens = 0;
    absl::Time begin, scheduled;
  };

  // ---- engine thread

  void Loop() {
    while (TakeCommands()) {
      if (const absl::Status failure = status(); !failure.ok()) {
        EndAll(failure);  // what arrived before everyone knew
        continue;
      }
      DropExpired();
      try {
        Step();
      } catch (const std::exception& e) {
        // Out of memory, most likely. Whoever runs is lost; others wait on.
        spdlog::error("a step failed: {}", e.what());
        under_way_.reset();
        FailRunning(absl::InternalError("the server failed to compute a step"));
      }
      PublishStats();
    }
    EndAll(absl::CancelledError("shutting down"));
  }

  void EndAll(const absl::Status& status) {
    while (!live_.empty()) End(*live_.begin()->second, status);
  }

  void Fail(const absl::Status& cause) {
    const absl::Status failure = absl::UnavailableError(
        absl::StrCat("the device failed: ", cause.message()));
    {
      MutexLock lock(&mu_);
      if (!failure_.ok()) return;  // it was another step's, too
      failure_ = failure;
    }
    spdlog::error("{}", std::string(failure.message()));
    EndAll(failure);
    options_.on_failure(failure);
  }

  // Waits until there is something to do. False: stop.
  bool TakeCommands() {
    std::vector<std::unique_ptr<Live>> arrived;
    std::vector<uint64_t> cancelled;
    std::vector<Flush*> flushes;
    bool stopping;
    {
      MutexLock lock(&mu_);
      const auto work = [this] {
        return stopping_ || !inbox_.empty() || !cancelled_.empty() ||
               !flushes_.empty();
      };
      if (live_.empty()) mu_.Await(work);
      arrived.swap(inbox_);
      cancelled.swap(cancelled_);
      flushes.swap(flushes_);
      stopping = stopping_;
    }
    for (std::unique_ptr<Live>& live : arrived) Accept(std::move(live));
    for (const uint64_t serial : cancelled) {
      const auto it = live_.find(serial);
      if (it != live_.end()) Drop(*it->second);  // else it ended meanwhile
    }
    for (Flush* flush : flushes) {
      flush->blocks = scheduler_.Flush();
      PublishStats();
      flush->done.Notify();
    }
    return !stopping;
  }

  void Accept(std::unique_ptr<Live> owned) {
    Live& live = *owned;
    live_.emplace(live.serial, std::move(owned));
    try {
      MakeChoices(live);
    } catch (const std::bad_alloc&) {
      End(live, absl::ResourceExhaustedError("out of memory"));
      return;
    }
    // The others join when the first has computed the prompt, and find it in
    // the prefix cache.
    scheduler_.Add(&live.choices[0]->sequence);
  }

  void MakeChoices(Live& live) {
    const Request& request = live.request;
    const uint64_t seed = request.sampling.seed
                              ? *request.sampling.seed
                              : (uint64_t{seeds_()} << 32 | seeds_());
    for (int i = 0; i < request.sampling.n; ++i) {
      auto choice = std::make_unique<Choice>(
          request, i, seed, loaded_.eos_token_ids, loaded_.tokenizer.get());
      Sequence& s = choice->sequence;
      s.order = next_order_++;
      s.long_prompt = s.prompt_tokens > loaded_.config.long_above();
      s.prefix_keys = i == 0 ? scheduler_.PrefixKeys(s)
                             : live.choices[0]->sequence.prefix_keys;
      owners_[s.order] = {&live, choice.get()};
      live.choices.push_back(std::move(choice));
    }
    live.unfinished = live.choices.size();
  }

  void DropExpired() {
    const absl::Time now = absl::Now();
    std::vector<Live*> expired;
    for (const auto& [serial, live] : live_) {
      if (live->request.deadline <= now) expired.push_back(live.get());
    }
    for (Live* live : expired) Drop(*live);
  }

  // Ends a request before its time. gRPC cancels a call whose deadline passes,
  // so what arrives as a cancellation may be a deadline.
  void Drop(Live& live) {
    if (live.request.deadline > absl::Now()) {
      metrics_.cancellations->Increment();
      End(live, absl::CancelledError("the request was cancelled"));
      return;
    }
    metrics_.deadline_drops->Increment();
    End(live, absl::DeadlineExceededError(
                  live.started == absl::InfiniteFuture()
                      ? "the deadline passed while the request waited"
                      : "the deadline passed while tokens were generated"));
  }

  // Starts a step, then hears what the one before has drawn: where the model
  // runs ahead, the device has the next to do meanwhile.
  void Step() {
    std::optional<StepUnderWay> next = Start();
    Finish();
    under_way_ = std::move(next);
    if (!model_.runs_ahead() || live_.empty()) Finish();
  }

  std::optional<StepUnderWay> Start() {
    StepUnderWay step;
    step.begin = absl::Now();
    const StepPlan plan = scheduler_.Schedule();
    NoteAdmissions(plan);
    if (plan.entries.empty()) return std::nullopt;
    StepBatch batch = PlanBatch(plan);
    std::vector<Sequence*> sampled;
    for (const ScheduledTokens& entry : plan.entries) {
      if (entry.samples()) sampled.push_back(entry.sequence);
    }
    for (const Sequence* s : sampled) {
      batch.draws.push_back(owners_[s->order].choice->Ask(batch.changes));
      if (s->tokens.back() == kAwaited) batch.draws.back().newest = s->draw;
      step.drawing.push_back(s->order);
    }
    step.num_tokens = plan.num_tokens;
    step.scheduled = absl::Now();
    step.number = model_.Start(batch);
    // From here on as if it were done: what comes next, comes next on the
    // device, too.
    scheduler_.Commit(plan);
    for (size_t i = 0; i < sampled.size(); ++i) {
      sampled[i]->tokens.push_back(kAwaited);
      sampled[i]->draw = static_cast<int>(i);
    }
    return step;
  }

  void Finish() {
    if (!under_way_) return;
    const StepUnderWay step = *std::exchange(under_way_, std::nullopt);
    const absl::Span<const kernels::Drawn> drawn = model_.Drawn(step.number);
    if (const absl::Status status = model_.status(); !status.ok()) {
      return Fail(status);
    }
    const absl::Time computed = absl::Now();
    for (size_t i = 0; i < step.drawing.size(); ++i) {
      Take(step.drawing[i], drawn[i]);
    }
    metrics_.step_tokens->Observe(step.num_tokens);
    metrics_.step_schedule_seconds->Observe(
        Seconds(step.scheduled - step.begin));
    metrics_.step_forward_seconds->Observe(Seconds(computed - step.scheduled));
    metrics_.step_sample_seconds->Observe(Seconds(absl::Now() - computed));
  }

  void NoteAdmissions(const StepPlan& plan) {
    const absl::Time now = absl::Now();
    for (Sequence* s : plan.admitted) {
      Live& live = *owners_[s->order].live;
      metrics_.prefix_cache_queries_tokens->Increment(s->prompt_tokens);
      metrics_.prefix_cache_hits_tokens->Increment(s->cached_tokens);
      if (s != &live.choices[0]->sequence) continue;
      live.started = now;
      metrics_.prompt_tokens_cached->Increment(s->cached_tokens);
      metrics_.prompt_tokens_computed->Increment(s->prompt_tokens -
                                                 s->cached_tokens);
      Dequeue(live);
    }
    for (Sequence* s : plan.preempted) {
      ++owners_[s->order].live->preemptions;
      metrics_.preemptions->Increment();
    }
  }

  void Take(uint64_t order, const kernels::Drawn& drawn) {
    // The request may have ended since, or its last token been drawn before.
    const auto owner = owners_.find(order);
    if (owner == owners_.end() || owner->second.choice->finished()) return;
    Live& live = *owner->second.live;
    Choice& choice = *owner->second.choice;
    absl::StatusOr<TokenDelta> delta = choice.Take(drawn);
    if (!delta.ok()) {
      metrics_.corrupted_requests->Increment();
      End(live, delta.status());
      return;
    }
    const absl::Time now = absl::Now();
    metrics_.generation_tokens->Increment();
    if (choice.generated() == 1) {
      if (live.first_token == absl::InfiniteFuture()) {
        live.first_token = now;
        metrics_.ttft_seconds->Observe(Seconds(now - live.accepted));
      }
      if (&choice == live.choices[0].get()) {
        for (size_t i = 1; i < live.choices.size(); ++i) {
          scheduler_.Add(&live.choices[i]->sequence);
        }
      }
    } else {
      metrics_.itl_seconds->Observe(Seconds(now - choice.last_token));
    }
    choice.last_token = now;
    if (choice.finished()) {
      scheduler_.Remove(&choice.sequence);
      --live.unfinished;
    }
    live.request.sink->OnTokens(*std::move(delta));
    if (live.unfinished == 0) End(live, absl::OkStatus());
  }

  void FailRunning(const absl::Status& status) {
    std::vector<Live*> started;
    for (const auto& [serial, live] : live_) {
      if (live->started != absl::InfiniteFuture()) {
        started.push_back(live.get());
      }
    }
    for (Live* live : started) End(*live, status);
  }

  // The request leaves; nothing of it is held afterwards.
  void End(Live& live, const absl::Status& status) {
    for (const std::unique_ptr<Choice>& choice : live.choices) {
      scheduler_.Remove(&choice->sequence);
      owners_.erase(choice->sequence.order);
    }
    if (live.started == absl::InfiniteFuture()) Dequeue(live);
    const Summary summary = Summarize(live);
    if (status.ok()) {
      metrics_.ObserveRequest(summary, static_cast<int>(live.choices.size()));
    }
    const auto owner = live_.extract(live.serial);
    {
      // Whoever hears of the end may use the id again at once.
      MutexLock lock(&mu_);
      live_ids_.erase(live.request.id);
    }
    PublishStats();
    live.request.sink->OnDone(status, summary);
    MutexLock lock(&mu_);
    --unended_;
  }

  void Dequeue(const Live& live) {
    MutexLock lock(&mu_);
    --queued_requests_;
    queued_tokens_ -= static_cast<int64_t>(live.request.prompt.size());
  }

  void PublishStats() {
    const BlockPool& pool = scheduler_.pool();
    EngineStats stats;
    CacheStats& c = stats.cache;
    c.block_tokens = options_.block_tokens;
    c.bytes_per_token = model_.KvBytesPerToken(options_.kv_dtype);
    c.block_bytes = model_.BlockBytes();
    c.total_blocks = pool.total();
    c.free_blocks = pool.free();
    c.active_blocks = pool.active();
    c.cached_blocks = pool.cached();
    c.active_tokens = scheduler_.active_tokens();
    c.cached_tokens = scheduler_.cached_tokens();
    MutexLock lock(&mu_);
    FillQueue(stats);
    stats_ = stats;
    metrics_.SetStats(stats);
  }

  void FillQueue(EngineStats& stats) const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    stats.waiting_requests = queued_requests_;
    stats.waiting_tokens = queued_tokens_;
    stats.running_requests =
        static_cast<int64_t>(live_ids_.size()) - queued_requests_;
  }

  struct Owner {
    Live* live;
    Choice* choice;
  };

  // Constant after construction.
  const EngineOptions options_;
  const LoadedModel& loaded_;
  ParallelModel& model_;
  Metrics& metrics_;
  const int num_blocks_;

  // Engine thread only.
  Scheduler scheduler_;
  std::map<uint64_t, std::unique_ptr<Live>> live_;  // by serial
  absl::flat_hash_map<uint64_t, Owner> owners_;     // by a sequence's order
  std::optional<StepUnderWay> under_way_;
  uint64_t next_order_ = 0;
  std::random_device seeds_;

  mutable Mutex mu_;
  std::vector<std::unique_ptr<Live>> inbox_ ABSL_GUARDED_BY(mu_);
  std::vector<uint64_t> cancelled_ ABSL_GUARDED_BY(mu_);  // serials
  std::vector<Flush*> flushes_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, uint64_t> live_ids_ ABSL_GUARDED_BY(mu_);
  uint64_t next_serial_ ABSL_GUARDED_BY(mu_) = 0;
  int unended_ ABSL_GUARDED_BY(mu_) = 0;  // accepted, OnDone not yet returned
  int queued_requests_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t queued_tokens_ ABSL_GUARDED_BY(mu_) = 0;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);  // the device's; final
  EngineStats stats_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(
    const EngineOptions& asked, const LoadedModel& model, Metrics& metrics) {
  EngineOptions options = asked;
  const ModelOptions& limits = model.model->options();
  if (options.block_tokens < 1 || options.block_tokens > 4096) {
    return absl::InvalidArgumentError("block_tokens must be in [1, 4096]");
  }
  if (options.max_running < 1 || options.max_running > limits.max_logit_rows ||
      options.max_step_tokens < options.max_running ||
      options.max_step_tokens > limits.max_step_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_running must be in [1, ", limits.max_logit_rows,
                     "] and max_step_tokens in [max_running, ",
                     limits.max_step_tokens, "]"));
  }
  options.block_tokens = model.config.RoundBlockTokens(options.block_tokens);
  const int64_t block_bytes =
      model.model->BlockBytes(options.kv_dtype, options.block_tokens);
  if (options.kv_cache_bytes == 0) {
    options.kv_cache_bytes = model.model->DefaultCacheBytes();
  }
  const int64_t blocks = std::min<int64_t>(options.kv_cache_bytes / block_bytes,
                                           std::numeric_limits<int32_t>::max());
  if (blocks < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a cache of ", options.kv_cache_bytes,
                     " bytes does not hold one block of ", block_bytes,
                     " bytes (", options.block_tokens, " tokens)"));
  }
  RETURN_IF_ERROR(model.model->AllocateCache(
      options.kv_dtype, options.block_tokens, static_cast<int>(blocks)));
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(
      options, model, metrics, static_cast<int>(blocks))));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

absl::Status Engine::Submit(Request request) {
  return impl_->Submit(std::move(request));
}
bool Engine::Cancel(std::string_view id) { return impl_->Cancel(id); }
void Engine::Drain() { impl_->Drain(); }
bool Engine::WaitIdle(absl::Time deadline) { return impl_->WaitIdle(deadline); }
int Engine::max_request_tokens() const { return impl_->max_request_tokens(); }
EngineStats Engine::Stats() const { return impl_->Stats(); }
int64_t Engine::FlushCache() { return impl_->FlushCache(); }
absl::Status Engine::status() const { return impl_->status(); }

}  // namespace mla::runtime
