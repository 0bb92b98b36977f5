// Tested by tests/cuda/backend_parts_test.cc.
#include "runtime/cuda/device.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {

std::string Words(cudaError_t error) {
  return absl::StrCat(cudaGetErrorName(error), ": ", cudaGetErrorString(error));
}

absl::Status NoDevice(cudaError_t error) {
  return absl::UnavailableError(
      absl::StrCat("no CUDA device can be used: ", Words(error)));
}

int Attribute(cudaDeviceAttr attribute, int device) {
  int value = 0;
  cudaDeviceGetAttribute(&value, attribute, device);
  return value;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> Device::Open(int index) {
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return NoDevice(error);
  if (index < 0 || index >= count) {
    return absl::UnavailableError(absl::StrCat(
        "CUDA device ", index, " is not there: this machine has ", count));
  }
  std::unique_ptr<Device> device(new Device());
  cudaDeviceProp properties;
  error = cudaSetDevice(index);
  if (error == cudaSuccess) {
    error = cudaGetDeviceProperties(&properties, index);
  }
  if (error == cudaSuccess) {
    error = cudaStreamCreateWithFlags(&device->stream_, cudaStreamNonBlocking);
  }
  if (error != cudaSuccess) return NoDevice(error);
  if (properties.major < 8) {
    return absl::UnavailableError(absl::StrCat(
        properties.name, " has compute capability ", properties.major, ".",
        properties.minor, "; the kernels need 8.0"));
  }
  device->index_ = index;
  device->name_ = properties.name;
  device->multiprocessors_ = properties.multiProcessorCount;
  device->shared_bytes_ =
      Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
  return device;
}

Device::~Device() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void Device::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

bool Device::Check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    Fail(absl::InternalError(absl::StrCat("CUDA, ", what, ": ", Words(error))));
  }
  return ok();
}

bool Device::Check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    Fail(absl::InternalError(absl::StrCat("cuBLASLt, ", what, ": ",
                                          cublasLtGetStatusString(status))));
  }
  return ok();
}

int64_t Device::FreeBytes() {
  size_t free = 0, total = 0;
  Check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<int64_t>(free);
}

absl::StatusOr<void*> Device::Allocate(size_t bytes) {
  if (!ok()) return status_;
  void* p = nullptr;
  const cudaError_t error = cudaMalloc(&p, std::max<size_t>(bytes, 1));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is told here; no later call is to report it
    return absl::ResourceExhaustedError(absl::StrCat("no memory on ", name_,
                                                     " for ", bytes, " bytes; ",
                                                     FreeBytes(), " are free"));
  }
  if (!Check(error, "cudaMalloc")) return status_;
  return p;
}

void Device::Free(void* p) {
  if (p != nullptr) Check(cudaFree(p), "cudaFree");
}

void Device::Use() { Check(cudaSetDevice(index_), "cudaSetDevice"); }

void Device::Join(std::shared_ptr<CudaRanks> ranks, int rank) {
  ranks_ = std::move(ranks);
  rank_ = rank;
}

template <typename Query>
void Device::AwaitWithOthers(Query query) {
  while (ranks_ != nullptr && query() == cudaErrorNotReady) {
    if (const absl::Status others = ranks_->Poll(rank_); !others.ok()) {
      Fail(others);
      ranks_->Abort(rank_);
      return;
    }
    std::this_thread::yield();
  }
}

void Device::Synchronize() {
  AwaitWithOthers([this] { return cudaStreamQuery(stream_); });
  Check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void Device::Wait(cudaEvent_t event) {
  AwaitWithOthers([event] { return cudaEventQuery(event); });
  Check(cudaEventSynchronize(event), "cudaEventSynchronize");
}

bool DeviceBuffer::Grow(size_t bytes) {
  if (bytes <= bytes_ || !device_.ok()) return device_.ok();
  device_.Synchronize();
  device_.Free(std::exchange(data_, nullptr));
  bytes_ = 0;
  device_.NoteMoved();
  absl::StatusOr<void*> p = device_.Allocate(bytes);
  if (!p.ok()) {
    device_.Fail(p.status());
    return false;
  }
  data_ = *p;
  bytes_ = bytes;
  return device_.Check(cudaMemsetAsync(data_, 0, bytes, device_.stream()),
                       "cudaMemsetAsync");
}

Event::~Event() {
  if (event_ != nullptr) device_.Check(cudaEventDestroy(event_), "event");
}

void Event::Record() {
  if (!device_.ok()) return;
  if (event_ == nullptr &&
      !device_.Check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
                     "cudaEventCreate")) {
    return;
  }
  device_.Check(cudaEventRecord(event_, device_.stream()), "cudaEventRecord");
}

void Event::Wait() {
  if (event_ != nullptr) device_.Wait(event_);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) device_.Check(cudaFreeHost(data_), "cudaFreeHost");
}

bool PinnedBuffer::Grow(size_t bytes) {
  if (bytes <= bytes_ || !device_.ok()) return device_.ok();
  device_.Synchronize();
  if (data_ != nullptr) device_.Check(cudaFreeHost(data_), "cudaFreeHost");
  data_ = nullptr;
  bytes_ = 0;
  device_.NoteMoved();
  if (!device_.Check(cudaMallocHost(&data_, bytes), "cudaMallocHost")) {
    return false;
  }
  bytes_ = bytes;
  return true;
}

}  // namespace mla::runtime
