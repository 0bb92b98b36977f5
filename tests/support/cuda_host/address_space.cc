// Tested by tests/cuda/runtime_standins_test.cc.
#include "cuda_host/address_space.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <utility>

#include "cuda_host/runtime_text.h"
#include "cuda_host/sanitizers.h"

namespace cuda_host {
namespace {

#if defined(CUDA_HOST_ASAN)
constexpr bool kAsan = true;
#else
constexpr bool kAsan = false;
#endif
constexpr size_t kPage = 4096;
constexpr char kRedzone = '\xFB';
// From here on an allocation takes memory only where it is written: its pages
// are copies of one run of 0xFF.
constexpr size_t kSparseFrom = size_t{64} << 20;
constexpr size_t kSparseRun = size_t{16} << 20;
// Freed regions that stay out of reach; each costs the system a mapping.
constexpr size_t kQuarantine = 8192;

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// A file of kSparseRun bytes of 0xFF; -1 if the system gives none.
int PoisonFile() {
  static const int file = [] {
    int fd = memfd_create("cuda_host_poison", 0);
    if (fd < 0 || ftruncate(fd, kSparseRun) != 0) return -1;
    void* p = mmap(nullptr, kSparseRun, PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return -1;
    std::memset(p, 0xFF, kSparseRun);
    munmap(p, kSparseRun);
    return fd;
  }();
  return file;
}

// Fills [p, p + bytes) with 0xFF; both are multiples of the page.
bool Poison(char* p, size_t bytes) {
  if (bytes < kSparseFrom || PoisonFile() < 0) {
    std::memset(p, 0xFF, bytes);
    return true;
  }
  for (size_t at = 0; at < bytes; at += kSparseRun) {
    if (mmap(p + at, std::min(kSparseRun, bytes - at), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, PoisonFile(),
             0) == MAP_FAILED) {
      return false;
    }
  }
  return true;
}

// The first byte of a redzone that is not as it was made; `end` if all are.
const char* FirstWritten(const char* begin, const char* end) {
  static const std::string* const redzone = new std::string(kPage, kRedzone);
  const size_t bytes = end - begin;  // less than a page
  if (std::memcmp(begin, redzone->data(), bytes) == 0) return end;
  return std::mismatch(begin, end, redzone->begin()).first;
}

const char* Bytes(const void* p) { return static_cast<const char*>(p); }
// The address `bytes` further, which need not be of anything.
const char* Behind(const void* p, size_t bytes) {
  return reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(p) + bytes);
}
const char* NameOf(MemoryKind kind) {
  return kind == MemoryKind::kDevice ? "device" : "pinned";
}

}  // namespace

Region* AddressSpace::Allocate(MemoryKind kind, int device, size_t bytes) {
  Region r;
  r.kind = kind;
  r.device = device;
  r.bytes = bytes;
  const size_t inner = RoundUp(bytes, kPage);
  r.map_bytes = inner + 2 * kPage;
  void* map = mmap(nullptr, r.map_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  r.map = static_cast<char*>(map);
  AsanUnpoison(r.map, r.map_bytes);
  char* first = r.map + kPage;
  if (!Poison(first, inner)) {
    munmap(r.map, r.map_bytes);
    return nullptr;
  }
  mprotect(r.map, kPage, PROT_NONE);
  mprotect(first + inner, kPage, PROT_NONE);
  r.base = first + inner - RoundUp(bytes, kAlignment);
  r.serial = ++serial_;
  std::memset(first, kRedzone, r.base - first);
  std::memset(r.base + bytes, kRedzone, first + inner - (r.base + bytes));
  AsanPoison(first, r.base - first);
  AsanPoison(r.base + bytes, first + inner - (r.base + bytes));
  if (kind == MemoryKind::kDevice && trap_ && open_ == 0) Protect(r, false);
  return &live_.emplace(r.base, r).first->second;
}

void AddressSpace::Protect(const Region& r, bool reachable) {
  mprotect(r.map + kPage, r.map_bytes - 2 * kPage,
           reachable ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void AddressSpace::Quarantine(const Region& r) {
  // A fresh mapping over the old one gives the memory back, not the addresses.
  mmap(r.map, r.map_bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  // Of large ones, the shadow would cost more than it tells.
  if (r.bytes < kSparseFrom) AsanPoison(r.map, r.map_bytes);
  freed_.emplace(r.base, r);
  freed_order_.push_back(r.base);
  if (freed_order_.size() <= kQuarantine) return;
  auto oldest = freed_.find(freed_order_.front());
  freed_order_.pop_front();
  AsanUnpoison(oldest->second.map, oldest->second.map_bytes);
  munmap(oldest->second.map, oldest->second.map_bytes);
  freed_.erase(oldest);
}

void AddressSpace::Free(Region* region) {
  const Region r = *region;
  live_.erase(r.base);
  Quarantine(r);
}

void AddressSpace::FreeAll() {
  while (!live_.empty()) Free(&live_.begin()->second);
}

Region* AddressSpace::Find(const void* p) {
  auto it = live_.upper_bound(Bytes(p));
  if (it == live_.begin()) return nullptr;
  Region& r = std::prev(it)->second;
  return Bytes(p) <= r.base + r.bytes ? &r : nullptr;
}

std::string AddressSpace::Check(const void* p, size_t bytes, MemoryKind kind,
                                Moment moment) {
  if (bytes == 0) return "";
  const Region* r = Find(p);
  if (r == nullptr || r->kind != kind || Bytes(p) == r->base + r->bytes) {
    return Text(p, " is no live ", NameOf(kind), " memory: ", Describe(p));
  }
  if (bytes > static_cast<size_t>(r->base + r->bytes - Bytes(p))) {
    return Text(bytes, " bytes at ", Describe(p), " end outside of it");
  }
  if (moment == Moment::kRun && !r->usable) {
    return Text(Describe(p),
                " is used before its allocation, which is work of a stream "
                "that was not waited for");
  }
  return "";
}

bool AddressSpace::Touches(const void* p, size_t bytes) const {
  for (const auto* regions : {&live_, &freed_}) {
    auto it = regions->lower_bound(Behind(p, bytes));
    if (it == regions->begin()) continue;
    const Region& r = std::prev(it)->second;
    if (Bytes(p) < r.base + r.bytes) return true;
  }
  return false;
}

std::string AddressSpace::Describe(const void* p) const {
  for (const auto* regions : {&live_, &freed_}) {
    auto it = regions->upper_bound(Behind(p, 2 * kPage));
    // The nearest region that has the address in its mapping.
    while (it != regions->begin()) {
      const Region& r = std::prev(it)->second;
      if (Bytes(p) < r.map || Bytes(p) >= r.map + r.map_bytes) {
        if (Bytes(p) >= r.map + r.map_bytes) break;
        --it;
        continue;
      }
      const int64_t offset = Bytes(p) - r.base;
      return Text(regions == &freed_ ? "freed " : "", NameOf(r.kind),
                  " allocation ", r.serial, " (of ", r.bytes, " bytes) ",
                  offset < 0 ? "- " : "+ ", offset < 0 ? -offset : offset);
    }
  }
  return p == nullptr ? "the null pointer" : "memory of the host program";
}

void AddressSpace::Open() {
  if (open_++ > 0 || !trap_) return;
  for (const auto& [base, r] : live_) {
    if (r.kind == MemoryKind::kDevice) Protect(r, true);
  }
}

void AddressSpace::Close() {
  if (--open_ > 0 || !trap_) return;
  for (const auto& [base, r] : live_) {
    if (r.kind == MemoryKind::kDevice) Protect(r, false);
  }
}

void AddressSpace::SetTrap(bool on) {
  if (on == trap_) return;
  trap_ = on;
  if (open_ > 0) return;
  for (const auto& [base, r] : live_) {
    if (r.kind == MemoryKind::kDevice) Protect(r, !on);
  }
}

std::string AddressSpace::BrokenRedzone() const {
  // AddressSanitizer reports the write itself, and would this reading.
  if (kAsan) return "";
  for (const auto& [base, r] : live_) {
    const char* first = r.map + kPage;
    const char* tail = base + r.bytes;
    const char* end = r.map + r.map_bytes - kPage;
    for (const auto& [from, to] :
         {std::pair(tail, end), std::pair(first, base)}) {
      const char* at = FirstWritten(from, to);
      if (at != to) return Text("wrote at ", Describe(at));
    }
  }
  return "";
}

int64_t AddressSpace::LiveBytes(int device) const {
  int64_t sum = 0;
  for (const auto& [base, r] : live_) {
    if (r.kind == MemoryKind::kDevice && r.device == device) {
      sum += RoundUp(r.bytes, kAlignment);
    }
  }
  return sum;
}

int64_t AddressSpace::Count(MemoryKind kind) const {
  return std::count_if(live_.begin(), live_.end(), [kind](const auto& entry) {
    return entry.second.kind == kind;
  });
}

}  // namespace cuda_host
