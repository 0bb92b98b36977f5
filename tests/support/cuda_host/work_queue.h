// WorkQueue holds the work that streams were given, and runs it when asked, in
// a seeded order that respects what each piece must come after.
// Owns:    the work until it has run.
// Threads: guarded by the runtime's lock, which is held while work runs.
// Errors:  none of its own; the executor may call Abandon.
// Flow:    a call of the CUDA API -> Add ... a wait -> RunUntil -> executor
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_WORK_QUEUE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_WORK_QUEUE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace cuda_host {

struct Work {
  enum class Kind {
    kNothing,  // a point in a stream: an event, a wait
    kKernel,
    kMatmul,
    kCopy,
    kFill,
    kCollective,
    kHostFunction,
    kAllocate,
    kFree
  };
  Kind kind = Kind::kNothing;
  std::string name;                // for messages
  const void* function = nullptr;  // of a kernel
  std::function<void()> run;       // may be null; may run many times (graphs)
  // Of a collective: whether the other ranks have come, too. Asked when all
  // work before it has run, with the ticket's id, as often as one waits.
  std::function<bool(uint64_t ticket)> ready;
};

// A mere point in a stream.
inline Work Point(std::string name) {
  Work work;
  work.name = std::move(name);
  return work;
}

// A piece of work in the queue, or one that has run.
struct Ticket {
  Work work;
  int device = 0;
  bool done = false;
  std::chrono::steady_clock::time_point finished;

  // The queue's own.
  uint64_t id = 0;
  std::vector<std::shared_ptr<Ticket>> after;  // not done ones
  std::vector<Ticket*> before;
  int blockers = 0;
  uint64_t mark = 0;
};
using TicketPtr = std::shared_ptr<Ticket>;

class WorkQueue {
 public:
  using Executor = std::function<void(const Ticket&)>;
  explicit WorkQueue(Executor executor) : executor_(std::move(executor)) {}

  // Work to run after all of `after`, nulls among them ignored.
  TicketPtr Add(Work work, int device, std::vector<TicketPtr> after);
  // False if what is left waits for what is not there yet.
  bool RunUntil(const TicketPtr& ticket);
  bool RunAll(int device);
  // Whether there is something to run that waits for nothing.
  bool AnyReady() const;
  // A little of what is ready, or more, as time would pass.
  void RunSome();
  // All that has not run is taken as done; or all of one device.
  void Abandon();
  void Abandon(int device);

  void SetSeed(uint64_t seed) { random_.seed(seed); }
  int64_t Pending() const { return static_cast<int64_t>(pending_.size()); }

 private:
  static bool IsReady(const Ticket& ticket) {
    return !ticket.work.ready || ticket.work.ready(ticket.id);
  }
  // Of the ready work, those with this mark; 0: any.
  bool RunOne(uint64_t mark);
  void Finish(Ticket* ticket);
  void MarkNeeded(Ticket* ticket, uint64_t mark);

  const Executor executor_;
  std::map<uint64_t, TicketPtr> pending_;  // by id
  std::vector<Ticket*> ready_;
  uint64_t next_id_ = 1;
  uint64_t next_mark_ = 1;
  std::mt19937_64 random_{1};
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_WORK_QUEUE_H_
