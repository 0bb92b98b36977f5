// Tested by tests/cuda/hopper_primitives_test.cc.
#include "cuda_host/async_proxy.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cuda_host {
namespace {

constexpr int kInFlight = 0xff;  // NaN, as in fresh shared memory
constexpr size_t kSwizzle = 1024;
constexpr size_t kChunk = 16;

// Where a linear offset in a box stands: PTX ISA, "128B swizzle mode".
size_t Swizzled(size_t offset) { return offset ^ (offset >> 7 & 7) << 4; }

}  // namespace

void AsyncProxy::StartBlock() {
  barriers_.clear();
  boxes_.clear();
  stores_.clear();
  seen_.clear();
}

void AsyncProxy::Provide(Engine& engine) {
  if (seen_.empty()) seen_.assign(engine.shared().bytes(), kInFlight);
}

// ---- mbarriers

void AsyncProxy::Init(Engine& engine, uint64_t* b, int arrivals) {
  if (!engine.shared().Contains(b, 8) ||
      reinterpret_cast<uintptr_t>(b) % 8 != 0) {
    engine.Fail("the mbarrier is not 8 aligned bytes of shared memory");
  }
  if (arrivals < 1) engine.Fail("an mbarrier without arrivals");
  Provide(engine);
  Barrier& barrier = barriers_[b];
  if (barrier.arrivals != 0) engine.Fail("an mbarrier is initialised twice");
  barrier.arrivals = barrier.left = arrivals;
}

AsyncProxy::Barrier& AsyncProxy::Find(Engine& engine, uint64_t* b) {
  const auto it = barriers_.find(b);
  if (it == barriers_.end()) engine.Fail("the mbarrier is not initialised");
  return it->second;
}

void AsyncProxy::EndPhaseIfComplete(Engine& engine, Barrier& barrier) {
  if (barrier.left != 0 || barrier.bytes != 0) return;
  barrier.parity ^= 1;
  barrier.left = barrier.arrivals;
  for (const int thread : std::exchange(barrier.waiting, {})) {
    engine.Wake(thread);
  }
}

void AsyncProxy::Expect(Engine& engine, uint64_t* b, int bytes) {
  Find(engine, b).bytes += bytes;
}

void AsyncProxy::Arrive(Engine& engine, uint64_t* b) {
  Barrier& barrier = Find(engine, b);
  if (barrier.left == 0) {
    engine.Fail("more arrivals than the mbarrier's phase has");
  }
  TsanRelease(&barrier.order[barrier.parity]);
  --barrier.left;
  EndPhaseIfComplete(engine, barrier);
}

void AsyncProxy::Wait(Engine& engine, uint64_t* b, int parity, Place at) {
  Barrier& barrier = Find(engine, b);
  if (parity != 0 && parity != 1) engine.Fail("a parity is 0 or 1");
  while (barrier.parity == parity) {
    barrier.waiting.push_back(engine.Current("WaitFor", at).number);
    engine.Wait("WaitFor", at);
  }
  TsanAcquire(&barrier.order[parity]);
}

// ---- boxes

void AsyncProxy::Copy(Engine& engine, unsigned char* dst,
                      const CUtensorMap& map, uint64_t* b, int x, int y, int z,
                      Place at) {
  Box box = {dst, {}, &Find(engine, b), {x, y, z}, at};
  if (!Decode(map, &box.map)) engine.Fail("the tensor map is none");
  if (box.map.box[0] * 2 != 128) {
    engine.Fail("only boxes of 128 bytes a row are modelled");
  }
  const auto bytes = static_cast<size_t>(box.map.box_bytes());
  if (!engine.shared().Contains(dst, bytes)) {
    engine.Fail("the box is not inside the shared memory");
  }
  if (engine.shared().OffsetOf(dst) % kSwizzle != 0) {
    engine.Fail("the box does not begin with a swizzle, at a multiple of 1024");
  }
  Provide(engine);
  std::memset(dst, kInFlight, bytes);
  std::memset(&seen_[engine.shared().OffsetOf(dst)], kInFlight, bytes);
  engine.mutable_counters().box_bytes += bytes;
  TsanRelease(&box.barrier->order[box.barrier->parity]);
  if (engine.schedule().eager_copies) {
    Land(engine, box);
  } else {
    boxes_.push_back(box);
  }
}

void AsyncProxy::Land(Engine& engine, const Box& box) {
  const TensorMap& map = box.map;
  const size_t offset = engine.shared().OffsetOf(box.dst);
  for (uint64_t k = 0; k < map.box[2]; ++k) {
    for (uint64_t j = 0; j < map.box[1]; ++j) {
      for (uint64_t i = 0; i < map.box[0]; i += kChunk / 2) {
        const int64_t at[3] = {box.at[0] + static_cast<int64_t>(i),
                               box.at[1] + static_cast<int64_t>(j),
                               box.at[2] + static_cast<int64_t>(k)};
        bool inside = true;
        for (int d = 0; d < 3; ++d) {
          inside &= at[d] >= 0 && at[d] < static_cast<int64_t>(map.size[d]);
        }
        unsigned char chunk[kChunk] = {};
        if (inside) {
          const uint64_t columns =
              std::min<uint64_t>(kChunk / 2, map.size[0] - at[0]);
          std::memcpy(chunk,
                      map.base + at[2] * map.stride[1] + at[1] * map.stride[0] +
                          at[0] * 2,
                      columns * 2);
        }
        const size_t to =
            Swizzled((k * map.box[1] + j) * map.box[0] * 2 + i * 2);
        std::memcpy(box.dst + to, chunk, kChunk);
        std::memcpy(&seen_[offset + to], chunk, kChunk);
      }
    }
  }
  box.barrier->bytes -= map.box_bytes();
  EndPhaseIfComplete(engine, *box.barrier);
}

bool AsyncProxy::Advance() {
  if (boxes_.empty()) return false;
  Engine& engine = Engine::Get();
  // Any of them, by turns that a seed chooses.
  const size_t next =
      engine.schedule().order == Order::kRoundRobin
          ? 0
          : (turn_ += engine.schedule().seed + 7) % boxes_.size();
  const Box box = boxes_[next];
  boxes_.erase(boxes_.begin() + static_cast<ptrdiff_t>(next));
  Land(engine, box);
  return true;
}

std::string AsyncProxy::Leftover() const {
  if (!boxes_.empty()) {
    return "all have exited with a box under way, issued at " +
           boxes_.front().issued.Text();
  }
  for (const auto& [address, barrier] : barriers_) {
    if (barrier.bytes != 0) {
      return std::string("an mbarrier expects ")
                 .append(std::to_string(barrier.bytes)) +
             " bytes more than were copied";
    }
  }
  return "";
}

// ---- shared memory

void AsyncProxy::NoteStore(Engine& engine, const void* p, size_t bytes,
                           Place at) {
  if (!engine.shared().Contains(p, bytes)) {
    engine.Fail("the store is not inside the shared memory");
  }
  stores_[engine.Current("StoreShared", at).number].push_back({p, bytes});
}

void AsyncProxy::Fence(Engine& engine, Place at) {
  Provide(engine);
  auto& stores = stores_[engine.Current("FenceAsyncProxy", at).number];
  for (const Store& store : stores) {
    std::memcpy(&seen_[engine.shared().OffsetOf(store.p)], store.p,
                store.bytes);
  }
  stores.clear();
}

const unsigned char* AsyncProxy::SeenAt(Engine& engine, size_t offset,
                                        size_t bytes) {
  Provide(engine);
  if (offset + bytes > seen_.size()) {
    engine.Fail("an operand is not inside the shared memory");
  }
  return &seen_[offset];
}

}  // namespace cuda_host
