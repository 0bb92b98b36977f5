// Tested by tests/cuda/host_engine_test.cc.
#include "cuda_host/mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "cuda_host/sanitizers.h"

namespace cuda_host {
namespace {

constexpr unsigned char kUntouched = 0xff;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

size_t Mapping::PageBytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

void Mapping::Map(size_t bytes) {
  Unmap();
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<char*>(p);
  bytes_ = bytes;
}

void Mapping::Unmap() {
  if (data_ == nullptr) return;
  AsanUnpoison(data_, bytes_);
  munmap(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

void Mapping::Guard(size_t offset, size_t bytes) {
  if (mprotect(data_ + offset, bytes, PROT_NONE) != 0) throw std::bad_alloc();
}

void Stacks::Provide(int count, bool anew) {
  if (count <= count_ && !anew) return;
  count_ = std::max(count, count_);
  const size_t each = Mapping::PageBytes() + kBytes;
  mapping_.Map(each * static_cast<size_t>(count_));
  for (int i = 0; i < count_; ++i) {
    mapping_.Guard(each * static_cast<size_t>(i), Mapping::PageBytes());
  }
}

char* Stacks::Of(int thread) const {
  const size_t page = Mapping::PageBytes();
  return mapping_.data() + (page + kBytes) * static_cast<size_t>(thread) + page;
}

void SharedMemory::Provide(size_t bytes, bool anew) {
  const size_t page = Mapping::PageBytes();
  const size_t needed = RoundUp(bytes, kAlignment);
  const size_t mapped = RoundUp(needed, page) + 2 * page;
  if (anew || mapping_.bytes() != mapped) {
    mapping_.Map(mapped);
    mapping_.Guard(0, page);
    mapping_.Guard(mapped - page, page);
  }
  first_ = reinterpret_cast<unsigned char*>(mapping_.data()) + page;
  last_ = reinterpret_cast<unsigned char*>(mapping_.data()) + mapped - page;
  data_ = last_ - needed;
  bytes_ = bytes;
  AsanUnpoison(first_, static_cast<size_t>(last_ - first_));
  std::memset(first_, kUntouched, static_cast<size_t>(last_ - first_));
  AsanPoison(first_, static_cast<size_t>(data_ - first_));
  AsanPoison(data_ + bytes_, needed - bytes_);
}

bool SharedMemory::Contains(const void* p, size_t bytes) const {
  const auto at = reinterpret_cast<uintptr_t>(p);
  const auto begin = reinterpret_cast<uintptr_t>(data_);
  return at >= begin && bytes <= bytes_ && at - begin <= bytes_ - bytes;
}

size_t SharedMemory::OffsetOf(const void* p) const {
  return static_cast<size_t>(static_cast<const unsigned char*>(p) - data_);
}

bool SharedMemory::WasLeft() {
  AsanUnpoison(first_, static_cast<size_t>(last_ - first_));
  const auto is_touched = [](unsigned char c) { return c != kUntouched; };
  return std::any_of(first_, data_, is_touched) ||
         std::any_of(data_ + bytes_, last_, is_touched);
}

}  // namespace cuda_host
