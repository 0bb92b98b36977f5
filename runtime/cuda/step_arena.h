// StepArena: small arrays that the host makes for a step - tokens, positions,
// block tables, plans - in one piece of pinned memory that is copied to the
// device at once.
//
// Where an array lies is a matter of the arrays taken before it, so steps that
// take the same sizes find the same addresses: what recorded work relies on.
// Threads: one at a time.
// Errors:  the device's status; arrays are then null.
#ifndef MLA_RUNTIME_CUDA_STEP_ARENA_H_
#define MLA_RUNTIME_CUDA_STEP_ARENA_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "runtime/cuda/device.h"

namespace mla::runtime {

class StepArena {
 public:
  explicit StepArena(Device& device)
      : device_(device), left_{Event(device), Event(device)} {}

  // Forgets the arrays, for the next step's. Waits until the device has read
  // those of the step before this one: one step's may still be on their way.
  void Reset();
  // The device's copy of `values`, once uploaded. Their place is `capacity`
  // elements wide, if that is more.
  template <typename T>
  T* Add(absl::Span<const T> values, size_t capacity = 0) {
    const Place place = Take(std::max(values.size(), capacity) * sizeof(T));
    if (place.host == nullptr) return nullptr;
    if (!values.empty()) {
      std::memcpy(place.host, values.data(), values.size() * sizeof(T));
    }
    return reinterpret_cast<T*>(place.device);
  }
  // Copies what was added since the last upload.
  void Upload();

  // Sizes taken so far, in bytes: equal for steps that may share recorded work.
  const std::vector<size_t>& shape() const { return shape_; }

 private:
  struct Place {
    std::byte* host = nullptr;
    std::byte* device = nullptr;
  };
  struct Chunk {
    explicit Chunk(Device& d)
        : host{PinnedBuffer(d), PinnedBuffer(d)}, device(d) {}
    PinnedBuffer host[2];  // steps take turns: the device's copy is in order
    DeviceBuffer device;
    std::byte* begin_host[2] = {};
    std::byte* begin = nullptr;
    size_t bytes = 0;
    size_t used = 0;
    size_t uploaded = 0;
  };

  Place Take(size_t bytes);
  bool AddChunk(size_t bytes);

  Device& device_;
  int turn_ = 0;
  Event left_[2];  // a turn's arrays have been copied
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<size_t> shape_;
};

// The next power of two, 64 at least: arrays whose size changes with every step
// take places that do not.
inline size_t RoundedUp(size_t count) {
  size_t rounded = 64;
  while (rounded < count) rounded *= 2;
  return rounded;
}

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_STEP_ARENA_H_
