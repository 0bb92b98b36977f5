// AsyncProxy: Hopper's copies of boxes and the mbarriers that count them, and
// shared memory as copies and products see it. Copies land when nothing else
// can go on; with Schedule::eager_copies, at once.
// Owns:    all of it, for the block that runs.
// Threads: one. Errors: Engine::Fail, in the thread that calls.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ASYNC_PROXY_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ASYNC_PROXY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuda_host/engine.h"
#include "cuda_host/tensor_map.h"

namespace cuda_host {

class AsyncProxy : public Background {
 public:
  // ---- mbarriers
  void Init(Engine& engine, uint64_t* b, int arrivals);
  void Expect(Engine& engine, uint64_t* b, int bytes);
  void Arrive(Engine& engine, uint64_t* b);
  // Returns once the phase of this parity has ended.
  void Wait(Engine& engine, uint64_t* b, int parity, Place at);

  // ---- boxes
  void Copy(Engine& engine, unsigned char* dst, const CUtensorMap& map,
            uint64_t* b, int x, int y, int z, Place at);

  // ---- shared memory
  void NoteStore(Engine& engine, const void* p, size_t bytes, Place at);
  // The calling thread's stores are seen from now on.
  void Fence(Engine& engine, Place at);
  // What products see at an offset of shared memory.
  const unsigned char* SeenAt(Engine& engine, size_t offset, size_t bytes);

  void StartBlock() override;
  bool Advance() override;
  std::string Leftover() const override;

 private:
  struct Barrier {
    int arrivals = 0;  // of a phase
    int left = 0;      // of this phase
    int64_t bytes = 0;
    int parity = 0;
    std::vector<int> waiting;  // threads
    char order[2] = {};        // stands for the order that phases make
  };
  struct Box {
    unsigned char* dst;
    TensorMap map;
    Barrier* barrier;
    int at[3];
    Place issued;
  };
  struct Store {
    const void* p;
    size_t bytes;
  };

  Barrier& Find(Engine& engine, uint64_t* b);
  void EndPhaseIfComplete(Engine& engine, Barrier& barrier);
  void Land(Engine& engine, const Box& box);
  void Provide(Engine& engine);

  std::map<uint64_t*, Barrier> barriers_;
  std::vector<Box> boxes_;                    // under way
  std::map<int, std::vector<Store>> stores_;  // by thread, not fenced
  std::vector<unsigned char> seen_;
  uint64_t turn_ = 0;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ASYNC_PROXY_H_
