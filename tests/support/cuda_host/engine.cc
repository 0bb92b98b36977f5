// Tested by tests/cuda/host_engine_test.cc.
//
// One loop (RunBlock) takes a ready thread and resumes its fiber, which comes
// back when the thread waits or has exited. If none is ready and some have not
// exited, that is a deadlock, unless something in the background completes.
//
// An error in one thread is kept in error_; the others' fibers are then resumed
// once more, and the primitive that they wait in throws Aborted, so that their
// stacks are unwound.
#include "cuda_host/engine.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>

#include "cuda_host/device.h"

namespace cuda_host {
namespace {

constexpr int kMaxThreads = 1024;
constexpr uint32_t kAllLanes = 0xffffffff;
constexpr char kSyncBlock[] = "SyncBlock";
constexpr char kSyncWarp[] = "SyncWarp";

struct Aborted {};

int Volume(dim3 d) {
  const uint64_t volume = uint64_t{d.x} * d.y * d.z;
  if (d.x == 0 || d.y == 0 || d.z == 0 || volume > INT32_MAX) return 0;
  return static_cast<int>(volume);
}

uint3 IndexOf(int number, dim3 d) {
  const auto n = static_cast<unsigned>(number);
  return {n % d.x, n / d.x % d.y, n / d.x / d.y};
}

std::string Text(uint3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " +
         std::to_string(v.z) + ")";
}

}  // namespace

Engine& Engine::Get() {
  static thread_local Engine engine;
  return engine;
}

Engine::Engine() = default;
Engine::~Engine() = default;

// ---- the launch

void Engine::Run(dim3 grid, dim3 block, size_t shared_bytes,
                 const std::function<void()>& thread_body) {
  HiddenFromTsan hidden;
  if (body_ != nullptr) throw Error("a kernel launches a kernel");
  const int num_blocks = Volume(grid);
  if (num_blocks == 0) throw Error("grid " + Text(grid) + " has no blocks");
  num_threads_ = Volume(block);
  if (num_threads_ == 0 || num_threads_ > kMaxThreads) {
    throw Error("block " + Text(block) + " has not 1 to 1024 threads");
  }
  body_ = &thread_body;
  grid_ = grid;
  block_ = block;
  shared_bytes_ = shared_bytes;
  random_.seed(schedule_.seed);
  error_ = nullptr;
  ++counters_.launches;
  if (threads_.size() != static_cast<size_t>(num_threads_)) {
    threads_ = std::vector<Thread>(static_cast<size_t>(num_threads_));
  }

  std::vector<int> order(static_cast<size_t>(num_blocks));
  std::iota(order.begin(), order.end(), 0);
  if (schedule_.order == Order::kReverse) {
    std::reverse(order.begin(), order.end());
  } else if (schedule_.order != Order::kRoundRobin) {
    std::shuffle(order.begin(), order.end(), random_);
  }
  for (const int number : order) {
    block_index_ = IndexOf(number, grid);
    RunBlock();
    if (error_ != nullptr) break;
  }
  TsanAcquire(&launch_end_);
  body_ = nullptr;
  if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
}

// ---- the block

void Engine::RunBlock() {
  StartBlock();
  while (error_ == nullptr && num_live_ > 0) {
    if (ready_.empty()) {
      Advance();
    } else {
      Resume(thread(ready_.Take()));
    }
  }
  EndBlock();
}

void Engine::StartBlock() {
  ++counters_.blocks;
  stacks_.Provide(num_threads_, /*anew=*/kTsan);
  shared_.Provide(shared_bytes_, /*anew=*/kTsan);
  sync_points_ = std::make_unique<SyncPoints>();
  const int num_warps = (num_threads_ + 31) / 32;
  warps_.assign(static_cast<size_t>(num_warps), {});
  barrier_ = {};
  barrier_.waiting.assign(static_cast<size_t>(num_warps), 0);
  ready_.Reset(schedule_.order, num_warps, &random_);
  num_live_ = num_threads_;
  for (int i = 0; i < num_threads_; ++i) {
    Thread& t = thread(i);
    t.index = IndexOf(i, block_);
    t.number = i;
    t.warp = i / 32;
    t.lane = i % 32;
    t.has_started = false;
    t.primitive = nullptr;
    t.copies.Clear();
    t.fiber.Prepare(
        stacks_.Of(i), Stacks::kBytes,
        [](void* self) {
          Engine& engine = Get();
          engine.RunThread(*static_cast<Thread*>(self));
        },
        &t);
    warps_[static_cast<size_t>(t.warp)].present |= 1u << t.lane;
    MakeReady(t);
  }
  for (auto& [type, background] : backgrounds_) background->StartBlock();
}

void Engine::Advance() {
  for (auto& [type, background] : backgrounds_) {
    if (background->Advance()) return;
  }
  error_ = std::make_exception_ptr(Error(Deadlock()));
}

void Engine::EndBlock() {
  if (error_ != nullptr) AbortThreads();
  for (int i = 0; i < num_threads_; ++i) thread(i).fiber.Discard();
  const bool was_left = shared_.WasLeft();
  if (error_ != nullptr) return;
  std::string why;
  if (was_left) {
    why = "something was written beside the " + std::to_string(shared_bytes_) +
          " bytes of shared memory";
  }
  for (auto& [type, background] : backgrounds_) {
    if (why.empty()) why = background->Leftover();
  }
  if (why.empty()) return;
  error_ = std::make_exception_ptr(
      Error("block " + Text(block_index_) + ": " + why));
}

void Engine::AbortThreads() {
  for (Thread& t : threads_) {
    if (t.has_started && t.state != Thread::State::kExited) Resume(t);
  }
}

void Engine::Resume(Thread& t) {
  ++counters_.switches;
  current_ = &t;
  t.has_started = true;
  t.fiber.Resume();
  current_ = nullptr;
}

// ---- a thread, in its fiber

void Engine::RunThread(Thread& t) {
  std::exception_ptr error;
  try {
    SeenByTsan seen;
    (*body_)();
  } catch (const Aborted&) {
  } catch (...) {
    error = std::current_exception();
  }
  if (error_ == nullptr) error_ = error;
  Exit(t);
}

void Engine::Exit(Thread& t) {
  t.state = Thread::State::kExited;
  --num_live_;
  TsanRelease(&launch_end_);
  if (error_ != nullptr) return;
  Warp& warp = warps_[static_cast<size_t>(t.warp)];
  warp.exited |= 1u << t.lane;
  const AsyncCopy* copy = t.copies.Leftover();
  std::string why;
  if (copy != nullptr) {
    why =
        Name(t) + " exits with a copy under way, issued at " + copy->at.Text();
  } else if (warp.arrived != 0) {
    why = Name(t) + " exits while lanes of its warp wait at " + warp.primitive +
          " (" + warp.at.Text() + ")";
  } else {
    ReleaseBarrier();
    return;
  }
  error_ = std::make_exception_ptr(Error(why));
}

void Engine::SwitchAway(Thread& t) {
  t.fiber.Suspend();
  if (error_ != nullptr) throw Aborted();
}

Thread& Engine::Current(const char* primitive, Place at) {
  if (current_ == nullptr) {
    throw Error(std::string(primitive) + " outside of a kernel, at " +
                at.Text());
  }
  current_->primitive = primitive;
  current_->at = at;
  return *current_;
}

void Engine::MakeReady(Thread& t) {
  t.state = Thread::State::kReady;
  ready_.Add(t.warp, 1u << t.lane);
}

void Engine::Wait(const char* primitive, Place at) {
  Thread& t = Current(primitive, at);
  t.state = Thread::State::kWaiting;
  SwitchAway(t);
}

void Engine::Wake(int number) {
  Thread& t = thread(number);
  if (t.state == Thread::State::kWaiting) MakeReady(t);
}

void Engine::Yield(const char* primitive, Place at) {
  Thread& t = Current(primitive, at);
  MakeReady(t);
  SwitchAway(t);
}

// ---- where threads meet

void Engine::SyncBlock(Place at) {
  Thread& t = Current(kSyncBlock, at);
  if (barrier_.arrived == 0) {
    barrier_.at = at;
    barrier_.first = t.number;
  } else if (!(barrier_.at == at)) {
    Fail("the block meets at two barriers: " + Where(thread(barrier_.first)));
  }
  char* const point = &sync_points_->block[barrier_.generation % 2];
  TsanRelease(point);
  ++barrier_.arrived;
  barrier_.waiting[static_cast<size_t>(t.warp)] |= 1u << t.lane;
  t.state = Thread::State::kWaiting;
  ReleaseBarrier();
  SwitchAway(t);
  TsanAcquire(point);
}

// As in hardware, threads that have exited are not waited for.
void Engine::ReleaseBarrier() {
  if (barrier_.arrived == 0 || barrier_.arrived < num_live_) return;
  ++counters_.block_barriers;
  ++barrier_.generation;
  barrier_.arrived = 0;
  for (uint32_t& lanes : barrier_.waiting) {
    const auto warp = static_cast<int>(&lanes - barrier_.waiting.data());
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      MakeReady(thread(warp * 32 + std::countr_zero(rest)));
    }
    lanes = 0;
  }
}

// The lanes' arguments, if this lane is the last one.
void* const* Engine::Arrive(const char* primitive, Place at, void* lane) {
  Thread& t = Current(primitive, at);
  Warp& warp = warps_[static_cast<size_t>(t.warp)];
  const uint32_t missing = ~warp.present | warp.exited;
  if (missing != 0) {
    Fail("lane " + std::to_string(std::countr_zero(missing)) + " of the warp " +
         ((warp.exited & missing) != 0 ? "has exited" : "does not exist"));
  }
  if (warp.arrived == 0) {
    warp.primitive = primitive;
    warp.at = at;
  } else if (std::string_view(warp.primitive) != primitive ||
             !(warp.at == at)) {
    Fail("the warp diverges: " +
         Where(thread(t.warp * 32 + std::countr_zero(warp.arrived))));
  }
  warp.arrived |= 1u << t.lane;
  warp.lanes[t.lane] = lane;
  return warp.arrived == kAllLanes ? warp.lanes : nullptr;
}

void Engine::LeaveTogether(bool is_last) {
  Thread& t = *current_;
  if (!is_last) {
    t.state = Thread::State::kWaiting;
    SwitchAway(t);
    return;
  }
  warps_[static_cast<size_t>(t.warp)].arrived = 0;
  for (int lane = 0; lane < 32; ++lane) Wake(t.warp * 32 + lane);
  if (schedule_.order != Order::kRoundRobin) Yield(t.primitive, t.at);
}

void Engine::SyncWarp(Place at) {
  struct Nothing {
  } nothing;
  Thread& t = Current(kSyncWarp, at);
  Warp& warp = warps_[static_cast<size_t>(t.warp)];
  char* const point = &sync_points_->warp[t.warp][warp.meetings % 2];
  TsanRelease(point);
  MeetWarp(kSyncWarp, at, &nothing,
           [&warp](Lanes<Nothing>) { ++warp.meetings; });
  TsanAcquire(point);
}

// ---- messages

void Engine::Fail(const std::string& why) {
  const Error error(Where(*current_) + ": " + why);
  if (error_ == nullptr) error_ = std::make_exception_ptr(error);
  throw Aborted();
}

std::string Engine::Name(const Thread& t) const {
  return "block " + Text(block_index_) + ", thread " +
         std::to_string(t.number) + " (warp " + std::to_string(t.warp) +
         ", lane " + std::to_string(t.lane) + ")";
}

std::string Engine::Where(const Thread& t) const {
  return Name(t) + " at " + t.primitive + " (" + t.at.Text() + ")";
}

// Of the threads that wait at one place, the first one is named.
std::string Engine::Deadlock() const {
  std::string text = "deadlock:";
  std::vector<const Thread*> waiting;
  for (const Thread& t : threads_) {
    if (t.state == Thread::State::kWaiting) waiting.push_back(&t);
  }
  const auto same_place = [](const Thread& a, const Thread& b) {
    return std::string_view(a.primitive) == b.primitive && a.at == b.at;
  };
  while (!waiting.empty()) {
    const Thread& first = *waiting.front();
    const size_t before = waiting.size();
    std::erase_if(waiting,
                  [&](const Thread* t) { return same_place(first, *t); });
    text += " " + Where(first) + " and " +
            std::to_string(before - waiting.size() - 1) + " more wait;";
  }
  return text + " " + std::to_string(num_threads_ - num_live_) +
         " threads have exited";
}

// ---- CUDA's variables, which kernels read all the time

CUDA_HOST_UNSEEN uint3 ThreadIndex() { return Engine::Get().current_->index; }
CUDA_HOST_UNSEEN uint3 BlockIndex() { return Engine::Get().block_index_; }
CUDA_HOST_UNSEEN dim3 BlockDim() { return Engine::Get().block_; }
CUDA_HOST_UNSEEN dim3 GridDim() { return Engine::Get().grid_; }
CUDA_HOST_UNSEEN unsigned char* DynamicSharedMemory() {
  return Engine::Get().shared_.data();
}

}  // namespace cuda_host
