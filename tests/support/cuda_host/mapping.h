// Memory of a block: its threads' stacks, and its shared memory. Both have
// pages around them that fault, and can be mapped anew, so that ThreadSanitizer
// does not take what one block did there for a race with the next. Owns:    the
// mappings. Threads: one. Errors:  std::bad_alloc.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_MAPPING_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_MAPPING_H_

#include <cstddef>

namespace cuda_host {

// Pages that are there once touched, zeros.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { Unmap(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // New pages, at any address.
  void Map(size_t bytes);
  void Unmap();
  // REQUIRES: whole pages.
  void Guard(size_t offset, size_t bytes);

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  static size_t PageBytes();

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

class Stacks {
 public:
  static constexpr size_t kBytes = 256 * 1024;  // of one

  // For at least `count` threads; what is there already stays if it can.
  void Provide(int count, bool anew);
  char* Of(int thread) const;

 private:
  int count_ = 0;
  Mapping mapping_;
};

// Dynamic shared memory, aligned to 1024 bytes. Behind its end comes less than
// that to the next page, which faults; it is watched instead.
class SharedMemory {
 public:
  static constexpr size_t kAlignment = 1024;

  // Of `bytes` bytes, all 0xFF: NaN as bf16 and float32.
  void Provide(size_t bytes, bool anew);

  unsigned char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool Contains(const void* p, size_t bytes) const;
  // Of an address inside.
  size_t OffsetOf(const void* p) const;
  // Whether something was written beside it.
  bool WasLeft();

 private:
  Mapping mapping_;
  unsigned char* data_ = nullptr;
  size_t bytes_ = 0;
  unsigned char* first_ = nullptr;  // accessible bytes, data() among them
  unsigned char* last_ = nullptr;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_MAPPING_H_
