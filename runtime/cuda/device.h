// Device: one GPU as the CUDA backend uses it - a stream, memory, and the first
// thing that went wrong.
//
// A call that fails is noted and never forgotten: from then on ok() is false,
// nothing more is launched, and what was computed is not to be used. Only
// Allocate's "no memory" is the caller's to deal with.
// Threads: one at a time.
#ifndef MLA_RUNTIME_CUDA_DEVICE_H_
#define MLA_RUNTIME_CUDA_DEVICE_H_

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/cuda/ranks.h"

namespace mla::runtime {

class Device {
 public:
  // UNAVAILABLE, with the reason, if there is none that can be used.
  static absl::StatusOr<std::unique_ptr<Device>> Open(int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // False, and noted, unless the call succeeded; `what` names it.
  bool Check(cudaError_t error, const char* what);
  bool Check(cublasStatus_t status, const char* what);
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  void Fail(absl::Status status);

  cudaStream_t stream() const { return stream_; }
  const std::string& name() const { return name_; }
  int multiprocessors() const { return multiprocessors_; }
  int shared_bytes() const { return shared_bytes_; }  // of a thread block
  // The calling thread's calls are this device's from now on.
  void Use();
  // It is one of several, whose work waits for each other's.
  void Join(std::shared_ptr<CudaRanks> ranks, int rank);
  // As the driver says now.
  int64_t FreeBytes();

  // RESOURCE_EXHAUSTED if the memory is not there.
  absl::StatusOr<void*> Allocate(size_t bytes);
  void Free(void* p);
  // Waits for all work. If another rank fails meanwhile, this one has, too.
  void Synchronize();
  // Waits for what came before the event.
  void Wait(cudaEvent_t event);

  // How often memory moved that recorded work may point to.
  int64_t generation() const { return generation_; }
  void NoteMoved() { ++generation_; }

 private:
  Device() = default;

  // While `query` says that the device is not ready, looks after other ranks.
  template <typename Query>
  void AwaitWithOthers(Query query);

  absl::Status status_;
  std::shared_ptr<CudaRanks> ranks_;  // null: it is the only one
  int rank_ = 0;
  int index_ = 0;
  cudaStream_t stream_ = nullptr;
  std::string name_;
  int multiprocessors_ = 1;
  int shared_bytes_ = 0;
  int64_t generation_ = 0;
};

// Device memory that grows and never shrinks. What it held is lost when it
// grows, and zeros are there instead.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(Device& device) : device_(device) {}
  ~DeviceBuffer() { device_.Free(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  // At least `count` elements; null once the device has failed.
  template <typename T>
  T* Reserve(size_t count) {
    return Grow(count * sizeof(T)) ? static_cast<T*>(data_) : nullptr;
  }
  template <typename T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  bool Grow(size_t bytes);

  Device& device_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// A place in the device's work, which can be waited for.
class Event {
 public:
  explicit Event(Device& device) : device_(device) {}
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void Record();  // after all work so far
  void Wait();    // nothing, if never recorded

 private:
  Device& device_;
  cudaEvent_t event_ = nullptr;
};

// Memory of the host that the device copies from and to by itself.
class PinnedBuffer {
 public:
  explicit PinnedBuffer(Device& device) : device_(device) {}
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  // As DeviceBuffer's.
  template <typename T>
  T* Reserve(size_t count) {
    return Grow(count * sizeof(T)) ? static_cast<T*>(data_) : nullptr;
  }

 private:
  bool Grow(size_t bytes);

  Device& device_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_DEVICE_H_
