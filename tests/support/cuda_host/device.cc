// Tested by tests/cuda/primitives_test.cc.
//
// ThreadSanitizer sees of a primitive what the hardware does to the kernel's
// memory, as done by the calling thread: a copy's destination is written when
// it is issued and again when it is waited for, since it may land at any time
// between.
#include "cuda_host/device.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "cuda_host/engine.h"
#include "cuda_host/fragments.h"

namespace cuda_host {
namespace {

constexpr unsigned char kInFlight = 0xff;  // NaN, as in fresh shared memory

bool IsAligned16(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

// Sixteen aligned bytes inside the block's shared memory.
void CheckShared(Engine& engine, const char* what, const void* p) {
  const SharedMemory& shared = engine.shared();
  if (!shared.Contains(p, 16)) {
    engine.Fail(std::string(what) + " is not inside the " +
                std::to_string(shared.bytes()) + " bytes of shared memory");
  }
  if (!IsAligned16(p)) {
    engine.Fail(std::string(what) + " at " +
                std::to_string(shared.OffsetOf(p)) +
                " in shared memory is no multiple of 16");
  }
}

void Deliver(const AsyncCopy& copy) {
  std::memset(copy.dst, 0, AsyncCopy::kBytes);
  std::memcpy(copy.dst, copy.src, copy.src_bytes);
}

// A copy that nobody has waited for lands.
void Land(Engine& engine, const AsyncCopy& copy) {
  const bool is_untouched =
      std::all_of(copy.dst, copy.dst + AsyncCopy::kBytes,
                  [](unsigned char c) { return c == kInFlight; });
  if (!is_untouched) {
    engine.Fail("the place that a copy goes to, issued at " + copy.at.Text() +
                ", was written before the copy was waited for");
  }
  {
    SeenByTsan seen;
    TsanWrite(copy.dst, AsyncCopy::kBytes);
  }
  Deliver(copy);
}

template <typename T>
struct ShuffleLane {
  T value;
  int from;  // lane
  T out;
};

template <typename T>
T ShuffleFrom(const char* primitive, Place at, T value, int from) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  ShuffleLane<T> lane = {value, from, value};
  engine.MeetWarp(primitive, at, &lane, [&](Lanes<ShuffleLane<T>> lanes) {
    ++engine.mutable_counters().shuffles;
    for (int l = 0; l < 32; ++l) lanes[l].out = lanes[lanes[l].from].value;
  });
  return lane.out;
}

int OwnLane(const char* primitive, Place at) {
  HiddenFromTsan hidden;
  return Engine::Get().Current(primitive, at).lane;
}

void LoadMatrices(const char* primitive, Place at, const void* row,
                  bool transposed, uint32_t (&r)[4]) {
  MatrixLane lane;
  {
    HiddenFromTsan hidden;
    Engine& engine = Engine::Get();
    engine.Current(primitive, at);
    CheckShared(engine, "the row", row);
    std::memcpy(lane.row, row, sizeof(lane.row));
    lane.offset = engine.shared().OffsetOf(row);
  }
  TsanRead(row, sizeof(lane.row));
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.MeetWarp(primitive, at, &lane, [&](Lanes<MatrixLane> lanes) {
    SpreadMatrices(lanes, transposed);
    ++engine.mutable_counters().load_matrix;
    engine.mutable_counters().load_matrix_extra_wavefronts +=
        static_cast<uint64_t>(ExtraWavefronts(lanes));
  });
  std::copy_n(lane.out, 4, r);
}

}  // namespace

void CopyAsyncWaitFor(int pending, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  Thread& thread = engine.Current("CopyAsyncWait", at);
  AsyncCopies::Group group;
  while (thread.copies.TakeOldest(static_cast<size_t>(pending), &group)) {
    if (engine.schedule().eager_copies) continue;
    for (const AsyncCopy& copy : group) Land(engine, copy);
  }
}

}  // namespace cuda_host

namespace mla::kernels::cuda {

using cuda_host::Engine;
using cuda_host::HiddenFromTsan;

void SyncBlock(Place at) {
  HiddenFromTsan hidden;
  Engine::Get().SyncBlock(at);
}

void SyncWarp(Place at) {
  HiddenFromTsan hidden;
  Engine::Get().SyncWarp(at);
}

float ShuffleXor(float v, int mask, Place at) {
  return cuda_host::ShuffleFrom(
      "ShuffleXor", at, v, cuda_host::OwnLane("ShuffleXor", at) ^ (mask & 31));
}

int ShuffleXor(int v, int mask, Place at) {
  return cuda_host::ShuffleFrom(
      "ShuffleXor", at, v, cuda_host::OwnLane("ShuffleXor", at) ^ (mask & 31));
}

int Shuffle(int v, int lane, Place at) {
  return cuda_host::ShuffleFrom("Shuffle", at, v, lane & 31);
}

uint32_t Ballot(bool v, Place at) {
  struct Lane {
    bool value;
    uint32_t out;
  };
  HiddenFromTsan hidden;
  Lane lane = {v, 0};
  Engine::Get().MeetWarp("Ballot", at, &lane, [](cuda_host::Lanes<Lane> lanes) {
    uint32_t votes = 0;
    for (int l = 0; l < 32; ++l) {
      votes |= uint32_t{lanes[l].value} << l;
    }
    for (int l = 0; l < 32; ++l) lanes[l].out = votes;
  });
  return lane.out;
}

template <typename T>
static T AtomicAddOf(T* p, T v, Place at) {
  {
    HiddenFromTsan hidden;
    Engine& engine = Engine::Get();
    engine.Yield("AtomicAdd", at);
    ++engine.mutable_counters().atomics;
  }
  return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

int AtomicAdd(int* p, int v, Place at) { return AtomicAddOf(p, v, at); }
uint64_t AtomicAdd(uint64_t* p, uint64_t v, Place at) {
  return AtomicAddOf(p, v, at);
}

void CopyAsync16(void* dst, const void* src, int bytes, Place at) {
  {
    HiddenFromTsan hidden;
    Engine& engine = Engine::Get();
    cuda_host::Thread& thread = engine.Current("CopyAsync16", at);
    cuda_host::CheckShared(engine, "the destination", dst);
    if (bytes < 0 || bytes > 16) {
      engine.Fail(std::to_string(bytes) + " bytes of 16");
    }
    if (src == nullptr || !cuda_host::IsAligned16(src)) {
      engine.Fail("the source is not at a multiple of 16 bytes");
    }
    if (engine.shared().Contains(src, 1)) {
      engine.Fail("the source is in shared memory, not in global");
    }
    const cuda_host::AsyncCopy copy = {static_cast<unsigned char*>(dst), src,
                                       static_cast<size_t>(bytes), at};
    std::memset(dst, cuda_host::kInFlight, cuda_host::AsyncCopy::kBytes);
    if (engine.schedule().eager_copies) cuda_host::Deliver(copy);
    thread.copies.Issue(copy);
    ++engine.mutable_counters().copy_async;
    engine.mutable_counters().copy_async_bytes += copy.src_bytes;
  }
  cuda_host::TsanWrite(dst, cuda_host::AsyncCopy::kBytes);
  if (bytes > 0) cuda_host::TsanRead(src, static_cast<size_t>(bytes));
}

void CopyAsyncCommit(Place at) {
  HiddenFromTsan hidden;
  Engine::Get().Current("CopyAsyncCommit", at).copies.Commit();
}

void LoadMatrix(uint32_t (&r)[4], const void* row, Place at) {
  cuda_host::LoadMatrices("LoadMatrix", at, row, /*transposed=*/false, r);
}

void LoadMatrixTransposed(uint32_t (&r)[4], const void* row, Place at) {
  cuda_host::LoadMatrices("LoadMatrixTransposed", at, row, /*transposed=*/true,
                          r);
}

void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
             Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  cuda_host::MmaLane lane = {d, a, {b0, b1}};
  engine.MeetWarp("MmaBf16", at, &lane,
                  [&](cuda_host::Lanes<cuda_host::MmaLane> lanes) {
                    ++engine.mutable_counters().mma;
                    cuda_host::MultiplyAdd(lanes);
                  });
}

}  // namespace mla::kernels::cuda
