// AddressSpace hands out device and pinned memory, and knows all of it.
// Owns:    the memory, also what was freed: its addresses are not used again
//          for long, and whoever touches them gets a signal.
// Layout:  each allocation ends where its last page ends (to 256 bytes), with a
//          page out of reach at both sides. The bytes between are a redzone.
// Content: 0xFF, which is NaN as f32 and bf16 and -1 as an integer.
// Threads: guarded by the runtime's lock.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ADDRESS_SPACE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ADDRESS_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace cuda_host {

enum class MemoryKind { kDevice, kPinned };

// At a call, memory may be named whose allocation is work still to run.
enum class Moment { kCall, kRun };

struct Region {
  MemoryKind kind = MemoryKind::kDevice;
  int device = 0;
  char* base = nullptr;
  size_t bytes = 0;
  uint64_t serial = 0;          // the how many-th allocation
  bool stream_ordered = false;  // by cudaMallocAsync
  bool usable = true;           // its allocation has run on its stream
  bool released = false;        // its free is enqueued
  char* map = nullptr;          // with the guard pages
  size_t map_bytes = 0;
};

class AddressSpace {
 public:
  static constexpr size_t kAlignment = 256;

  // Null if the system has none. `bytes` > 0.
  Region* Allocate(MemoryKind kind, int device, size_t bytes);
  void Free(Region* region);
  void FreeAll();

  // The live region that holds the address or ends at it; null if none does.
  Region* Find(const void* p);
  // What is wrong with using these bytes as memory of `kind`; "" if nothing.
  std::string Check(const void* p, size_t bytes, MemoryKind kind,
                    Moment moment);
  // Whether any of these bytes are of a region, live or freed.
  bool Touches(const void* p, size_t bytes) const;
  // "device allocation 3 (of 64 bytes) + 80", or that it is none.
  std::string Describe(const void* p) const;

  // Whether host code can reach device memory. Nested.
  void Open();
  void Close();
  void SetTrap(bool on);

  // What was written outside of allocations since they were made; "" if
  // nothing.
  std::string BrokenRedzone() const;

  int64_t LiveBytes(int device) const;  // rounded up to the alignment
  int64_t Count(MemoryKind kind) const;

 private:
  void Protect(const Region& region, bool reachable);
  void Quarantine(const Region& region);

  std::map<const char*, Region> live_;   // by base
  std::map<const char*, Region> freed_;  // by base
  std::deque<const char*> freed_order_;
  uint64_t serial_ = 0;
  int open_ = 0;
  bool trap_ = true;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ADDRESS_SPACE_H_
