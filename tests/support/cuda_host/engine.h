// Engine executes CUDA kernels on the host: a fiber per CUDA thread, block
// after block, in an order that the test chooses. A thread runs until a
// primitive makes it wait for others, so that what a kernel leaves unordered
// can be tried in many orders, each of them repeatable.
// Owns:    stacks and shared memory of the block that runs.
// Threads: one engine per thread; Get finds the caller's.
// Errors:  Run throws Error: a deadlock, a warp that does not meet at a
//          primitive, a primitive's misuse. What else a kernel throws, Run
//          passes on. The engine can be used again after either.
// Flow:    Run -> thread_body -> primitive (device.h) -> the part below
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ENGINE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ENGINE_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <typeindex>
#include <vector>

#include "cuda_host/async_copies.h"
#include "cuda_host/fiber.h"
#include "cuda_host/mapping.h"
#include "cuda_host/place.h"
#include "cuda_host/ready_threads.h"
#include "cuda_host/sanitizers.h"

namespace cuda_host {

struct Schedule {
  Order order = Order::kRoundRobin;
  uint64_t seed = 0;
  // cp.async lands at once: the other extreme of what hardware may do.
  bool eager_copies = false;
};

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A CUDA thread of the block that runs.
struct Thread {
  enum class State { kReady, kWaiting, kExited };

  uint3 index = {0, 0, 0};
  int number = 0, warp = 0, lane = 0;
  State state = State::kReady;
  bool has_started = false;
  const char* primitive = nullptr;  // where it waits, or waited last
  Place at;
  AsyncCopies copies;
  Fiber fiber;
};

// What a block has under way beside its threads. The primitives of later
// architectures (bulk copies, asynchronous products) keep it here: see
// Engine::Of.
class Background {
 public:
  virtual ~Background() = default;
  virtual void StartBlock() = 0;
  // No thread can run: completes something and wakes who waited for it, or
  // returns false if there is nothing to complete.
  virtual bool Advance() = 0;
  // All threads have exited: what is left that should not be, or nothing.
  virtual std::string Leftover() const = 0;
};

// The arguments of a warp's lanes, met at a primitive.
template <typename Lane>
class Lanes {
 public:
  explicit Lanes(void* const* lanes) : lanes_(lanes) {}
  Lane& operator[](int lane) const { return *static_cast<Lane*>(lanes_[lane]); }

 private:
  void* const* const lanes_;
};

class Engine {
 public:
  // Since the last reset. All but switches are the same in every order.
  struct Counters {
    uint64_t launches = 0;
    uint64_t blocks = 0;
    uint64_t mma = 0;                           // by warp
    uint64_t load_matrix = 0;                   // by warp
    uint64_t load_matrix_extra_wavefronts = 0;  // by bank conflicts
    uint64_t copy_async = 0;                    // by thread
    uint64_t copy_async_bytes = 0;              // read
    uint64_t shuffles = 0;                      // by warp
    uint64_t block_barriers = 0;                // by block
    uint64_t atomics = 0;                       // by thread
    uint64_t box_bytes = 0;                     // copied
    uint64_t warpgroup_products = 0;
    uint64_t warpgroup_flops = 0;
    uint64_t warpgroup_shared_bytes = 0;  // read by them
    uint64_t warpgroup_barriers = 0;
    uint64_t switches = 0;  // to a thread
  };

  static Engine& Get();
  Engine();
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Of the launches to come.
  void set_schedule(Schedule schedule) { schedule_ = schedule; }
  const Schedule& schedule() const { return schedule_; }
  const Counters& counters() const { return counters_; }
  void ResetCounters() { counters_ = {}; }

  // Calls thread_body on every thread of every block, and returns when all have
  // exited. REQUIRES: not called by a kernel.
  void Run(dim3 grid, dim3 block, size_t shared_bytes,
           const std::function<void()>& thread_body);

  // ---- For primitives, called by a thread of a kernel within HiddenFromTsan.

  // The thread that runs. Throws Error outside of kernels.
  Thread& Current(const char* primitive, Place at);
  Thread& thread(int number) { return threads_[static_cast<size_t>(number)]; }
  Counters& mutable_counters() { return counters_; }
  SharedMemory& shared() { return shared_; }

  void SyncBlock(Place at);
  // Meets the 32 lanes of a warp; the last one calls all(Lanes<Lane>), which
  // reads and writes what each of them brought as `lane`.
  template <typename Lane, typename Function>
  void MeetWarp(const char* primitive, Place at, Lane* lane,
                const Function& all) {
    void* const* lanes = Arrive(primitive, at, lane);
    if (lanes != nullptr) all(Lanes<Lane>(lanes));
    LeaveTogether(lanes != nullptr);
  }
  // MeetWarp that orders what the lanes do before and after.
  void SyncWarp(Place at);

  // Leaves the thread until somebody wakes it.
  void Wait(const char* primitive, Place at);
  void Wake(int thread);
  // Lets others run first: whom, if anybody, is the order's choice.
  void Yield(const char* primitive, Place at);
  // Ends the kernel.
  [[noreturn]] void Fail(const std::string& why);

  // This engine's T, a Background, made at first use.
  template <typename T>
  T& Of() {
    std::unique_ptr<Background>& made = backgrounds_[typeid(T)];
    if (made == nullptr) made = std::make_unique<T>();
    return static_cast<T&>(*made);
  }

 private:
  friend uint3 ThreadIndex();
  friend uint3 BlockIndex();
  friend dim3 BlockDim();
  friend dim3 GridDim();
  friend unsigned char* DynamicSharedMemory();

  struct Warp {
    uint32_t present = 0;  // lanes that the block has
    uint32_t exited = 0;
    // The primitive that its lanes are meeting at.
    const char* primitive = nullptr;
    Place at;
    uint32_t arrived = 0;
    void* lanes[32] = {};
    uint32_t meetings = 0;  // of SyncWarp
  };
  struct Barrier {
    std::vector<uint32_t> waiting;  // [warps]
    int arrived = 0;
    int first = 0;  // thread to arrive
    Place at;
    uint32_t generation = 0;
  };
  // Addresses that stand for the order that barriers make. Two of each in turn,
  // so that who leaves late learns nothing of the next.
  struct SyncPoints {
    char block[2];
    char warp[32][2];
  };

  void RunBlock();
  void StartBlock();
  void Advance();
  void EndBlock();
  void AbortThreads();
  void Resume(Thread& thread);
  void RunThread(Thread& thread);
  void Exit(Thread& thread);
  void SwitchAway(Thread& thread);
  void* const* Arrive(const char* primitive, Place at, void* lane);
  void LeaveTogether(bool is_last);
  void ReleaseBarrier();
  void MakeReady(Thread& thread);
  std::string Name(const Thread& thread) const;
  std::string Where(const Thread& thread) const;
  std::string Deadlock() const;

  Schedule schedule_;
  Counters counters_;

  // The launch.
  const std::function<void()>* body_ = nullptr;  // null: none runs
  dim3 grid_, block_;
  size_t shared_bytes_ = 0;
  std::mt19937_64 random_;
  std::exception_ptr error_;

  // The block.
  uint3 block_index_ = {0, 0, 0};
  int num_threads_ = 0, num_live_ = 0;
  Stacks stacks_;
  SharedMemory shared_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  Barrier barrier_;
  ReadyThreads ready_;
  Thread* current_ = nullptr;
  std::unique_ptr<SyncPoints> sync_points_;
  char launch_end_ = 0;  // likewise, of all threads' exits
  std::map<std::type_index, std::unique_ptr<Background>> backgrounds_;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ENGINE_H_
