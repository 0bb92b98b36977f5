// Tested by tests/cuda/hopper_primitives_test.cc.
#include "cuda_host/hopper.h"

#include <map>
#include <string>
#include <vector>

#include "cuda_host/async_proxy.h"
#include "cuda_host/engine.h"
#include "cuda_host/products.h"

namespace cuda_host {
namespace {

// bar.sync with a number.
class NumberedBarriers : public Background {
 public:
  void Sync(Engine& engine, int id, int threads, Place at) {
    if (id < 1 || id > 15) engine.Fail("a barrier's number is 1 to 15");
    if (threads % 32 != 0) engine.Fail("whole warps meet at a barrier");
    Barrier& barrier = barriers_[id];
    if (barrier.waiting.empty()) barrier.threads = threads;
    if (barrier.threads != threads) {
      engine.Fail("some expect another number of threads at the barrier");
    }
    const size_t generation = barrier.generation;
    TsanRelease(&barrier.order[generation % 2]);
    barrier.waiting.push_back(engine.Current("SyncSome", at).number);
    if (static_cast<int>(barrier.waiting.size()) == threads) {
      ++barrier.generation;
      for (const int thread : barrier.waiting) engine.Wake(thread);
      barrier.waiting.clear();
      ++engine.mutable_counters().warpgroup_barriers;
    } else {
      while (barrier.generation == generation) engine.Wait("SyncSome", at);
    }
    TsanAcquire(&barrier.order[generation % 2]);
  }

  void StartBlock() override { barriers_.clear(); }
  bool Advance() override { return false; }
  std::string Leftover() const override { return ""; }

 private:
  struct Barrier {
    int threads = 0;
    std::vector<int> waiting;
    size_t generation = 0;
    char order[2] = {};
  };
  std::map<int, Barrier> barriers_;
};

// Lets others go on where it matters who is first.
void LetOthers(Engine& engine, const char* primitive, Place at) {
  if (engine.schedule().order != Order::kRoundRobin) {
    engine.Yield(primitive, at);
  }
}

struct NoLane {};

// All lanes of a warp, once.
template <typename Function>
void ByWarp(const char* primitive, Place at, const Function& all) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  const int warp = engine.Current(primitive, at).warp;
  NoLane lane;
  engine.MeetWarp(primitive, at, &lane,
                  [&](Lanes<NoLane>) { all(engine, warp); });
}

template <typename T>
void StoreAndNote(void* p, T v, Place at) {
  {
    HiddenFromTsan hidden;
    Engine& engine = Engine::Get();
    engine.Current("StoreShared", at);
    if (reinterpret_cast<uintptr_t>(p) % sizeof(T) != 0) {
      engine.Fail("the store is not aligned");
    }
    engine.Of<AsyncProxy>().NoteStore(engine, p, sizeof(T), at);
  }
  *static_cast<T*>(p) = v;
}

}  // namespace

void Multiply(float* d, int columns, bool transposed, uint64_t a, uint64_t b,
              Place at) {
  struct Lane {
    float* d;
    Product product;
  };
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  const int warp = engine.Current("Multiply", at).warp;
  Lane lane = {d, {columns, transposed, a, b}};
  engine.MeetWarp("Multiply", at, &lane, [&](Lanes<Lane> lanes) {
    float* sums[32];
    for (int l = 0; l < 32; ++l) {
      sums[l] = lanes[l].d;
      if (!(lanes[l].product == lanes[0].product)) {
        engine.Fail("the lanes of a warp multiply different things");
      }
    }
    engine.Of<Products>().Issue(engine, warp, lane.product, sums);
    TsanRelease(engine.Of<Products>().OrderOf(warp));
  });
}

}  // namespace cuda_host

namespace mla::kernels::cuda {

using cuda_host::AsyncProxy;
using cuda_host::Engine;
using cuda_host::HiddenFromTsan;
using cuda_host::Products;

uint32_t SharedAddress(const void* p, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("SharedAddress", at);
  if (!engine.shared().Contains(p, 1)) {
    engine.Fail("the address is not in shared memory");
  }
  return static_cast<uint32_t>(engine.shared().OffsetOf(p));
}

void SyncSome(int id, int threads, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("SyncSome", at);
  engine.Of<cuda_host::NumberedBarriers>().Sync(engine, id, threads, at);
}

void InitBarrier(MBarrier* b, int arrivals, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("InitBarrier", at);
  engine.Of<AsyncProxy>().Init(engine, b, arrivals);
}

void FenceBarrierInit(Place at) {
  HiddenFromTsan hidden;
  Engine::Get().Current("FenceBarrierInit", at);
}

void Arrive(MBarrier* b, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("Arrive", at);
  engine.Of<AsyncProxy>().Arrive(engine, b);
  cuda_host::LetOthers(engine, "Arrive", at);
}

void ArriveAndExpect(MBarrier* b, int bytes, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("ArriveAndExpect", at);
  engine.Of<AsyncProxy>().Expect(engine, b, bytes);
  engine.Of<AsyncProxy>().Arrive(engine, b);
}

void WaitFor(MBarrier* b, int parity, Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("WaitFor", at);
  cuda_host::LetOthers(engine, "WaitFor", at);
  engine.Of<AsyncProxy>().Wait(engine, b, parity, at);
}

void CopyBox(void* dst, const CUtensorMap* map, MBarrier* b, int x, int y,
             int z, Place at) {
  {
    HiddenFromTsan hidden;
    Engine& engine = Engine::Get();
    engine.Current("CopyBox", at);
    cuda_host::TensorMap decoded;
    if (cuda_host::Decode(*map, &decoded)) {
      cuda_host::SeenByTsan seen;
      cuda_host::TsanWrite(dst, static_cast<size_t>(decoded.box_bytes()));
    }
    engine.Of<AsyncProxy>().Copy(engine, static_cast<unsigned char*>(dst), *map,
                                 b, x, y, z, at);
  }
}

void StoreShared(void* p, uint32_t v, Place at) {
  cuda_host::StoreAndNote(p, v, at);
}

void StoreShared(void* p, uint4 v, Place at) {
  cuda_host::StoreAndNote(p, v, at);
}

void FenceAsyncProxy(Place at) {
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  engine.Current("FenceAsyncProxy", at);
  engine.Of<AsyncProxy>().Fence(engine, at);
}

void FenceProducts(Place at) {
  cuda_host::ByWarp("FenceProducts", at, [](Engine& engine, int warp) {
    engine.Of<Products>().Fence(warp);
  });
}

void CommitProducts(Place at) {
  cuda_host::ByWarp("CommitProducts", at, [](Engine& engine, int warp) {
    engine.Of<Products>().Commit(warp);
  });
}

void WaitForAllProducts(Place at) {
  {
    HiddenFromTsan hidden;
    cuda_host::LetOthers(Engine::Get(), "WaitForProducts", at);
  }
  // The lane that comes last reads the operands for all: the others' arrivals
  // at barriers are to be after that.
  cuda_host::ByWarp("WaitForProducts", at, [](Engine& engine, int warp) {
    engine.Of<Products>().Wait(engine, warp);
    cuda_host::TsanRelease(engine.Of<Products>().OrderOf(warp));
  });
  HiddenFromTsan hidden;
  Engine& engine = Engine::Get();
  const int warp = engine.Current("WaitForProducts", at).warp;
  cuda_host::TsanAcquire(engine.Of<Products>().OrderOf(warp));
}

}  // namespace mla::kernels::cuda
