// The parts of the CUDA backend, on the stand-ins: memory, products, a step's
// arrays, recorded work.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "cuda_host/control.h"
#include "kernels/cuda/launch/rows.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/recorder.h"
#include "runtime/cuda/step_arena.h"
#include "runtime/cuda/weights.h"

namespace mla::runtime {
namespace {

using cuda_host::GetCounters;
using kernels::DType;
using testing::HasSubstr;

class BackendParts : public testing::Test {
 protected:
  BackendParts() {
    cuda_host::ResetDevice();
    auto opened = Device::Open(0);
    EXPECT_TRUE(opened.ok()) << opened.status();
    device_ = *std::move(opened);
  }

  template <typename T>
  std::vector<T> Download(const T* p, size_t count) {
    device_->Synchronize();
    std::vector<T> values(count);
    EXPECT_EQ(
        cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost),
        cudaSuccess);
    return values;
  }

  std::unique_ptr<Device> device_;
};

// ---- the device

TEST_F(BackendParts, NoDeviceIsSaidPrecisely) {
  device_.reset();
  cuda_host::SetDeviceCount(0);
  const absl::Status none = Device::Open(0).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(none.message()), HasSubstr("no CUDA device"));
  cuda_host::SetDeviceCount(1);
  EXPECT_THAT(std::string(Device::Open(1).status().message()),
              HasSubstr("CUDA device 1 is not there: this machine has 1"));
}

TEST_F(BackendParts, NoMemoryIsTheCallersToDealWith) {
  const auto p = device_->Allocate(size_t{1} << 50);
  EXPECT_EQ(p.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(device_->ok());
  DeviceBuffer buffer(*device_);
  EXPECT_NE(buffer.Reserve<float>(10), nullptr);
}

TEST_F(BackendParts, TheFirstFailureStays) {
  cuda_host::FailCall(1, cudaErrorIllegalAddress, "cudaStreamSynchronize");
  device_->Synchronize();
  EXPECT_EQ(device_->status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(device_->status().message()),
              HasSubstr("cudaErrorIllegalAddress"));
  const absl::Status first = device_->status();
  device_->Check(cudaErrorInvalidValue, "something later");
  EXPECT_EQ(device_->status(), first);
  DeviceBuffer buffer(*device_);
  EXPECT_EQ(buffer.Reserve<float>(10), nullptr);
}

TEST_F(BackendParts, MemoryThatGrowsSaysThatItMoved) {
  DeviceBuffer buffer(*device_);
  const int64_t before = device_->generation();
  const float* p = buffer.Reserve<float>(10);
  const int64_t grown = device_->generation();
  EXPECT_GT(grown, before);
  EXPECT_EQ(buffer.Reserve<float>(5), p);
  EXPECT_EQ(device_->generation(), grown);
  EXPECT_EQ(Download(p, 10), std::vector<float>(10, 0.0f));
}

// ---- products

// Random values that bf16 holds.
std::vector<float> Values(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values)
    v = kernels::FromBF16(kernels::ToBF16(normal(random)));
  return values;
}

struct GemmCase {
  int rows = 5, outputs = 7, inputs = 16, batch = 1;
  DType in = DType::kBF16, out = DType::kF32;
  bool shared_x = false, bias = false, add = false;
};

class Gemms : public BackendParts {
 protected:
  void* Upload(const std::vector<float>& values, DType type) {
    auto& buffer =
        buffers_.emplace_back(std::make_unique<DeviceBuffer>(*device_));
    std::vector<uint16_t> narrow;
    for (float v : values) narrow.push_back(kernels::ToBF16(v));
    const size_t bytes = values.size() * kernels::SizeOf(type);
    void* p = buffer->Reserve<char>(bytes);
    device_->Synchronize();
    cudaMemcpy(p,
               type == DType::kF32 ? static_cast<const void*>(values.data())
                                   : narrow.data(),
               bytes, cudaMemcpyHostToDevice);
    return p;
  }

  // The product, against a double loop. Each of a sum's terms is rounded once
  // as a product and at most once for every later term: (inputs + 3) 2^-24 of
  // the sum of magnitudes; a result in bf16 by 2^-8 of itself besides.
  std::vector<float> Check(Gemm& gemm, const GemmCase& c) {
    const int x_matrices = c.shared_x ? 1 : c.batch;
    const auto x = Values(size_t(x_matrices) * c.rows * c.inputs, 1);
    const auto w = Values(size_t(c.batch) * c.outputs * c.inputs, 2);
    const auto before = Values(size_t(c.batch) * c.rows * c.outputs, 3);
    const auto bias = Values(c.outputs, 4);
    GemmArgs args;
    args.x = {Upload(x, c.in), c.inputs,
              c.shared_x ? 0 : int64_t{c.rows} * c.inputs};
    args.w = {Upload(w, c.in), c.inputs, int64_t{c.outputs} * c.inputs};
    args.y = {Upload(before, c.out), c.outputs, int64_t{c.rows} * c.outputs};
    if (c.bias) args.bias = static_cast<float*>(Upload(bias, DType::kF32));
    args.rows = c.rows;
    args.outputs = c.outputs;
    args.inputs = c.inputs;
    args.batch = c.batch;
    args.in = c.in;
    args.out = c.out;
    args.add = c.add;
    gemm.Run(args);
    EXPECT_TRUE(device_->ok())
        << device_->status() << cuda_host::LastGemmError();
    std::vector<float> y(before.size());
    if (c.out == DType::kF32) {
      y = Download(static_cast<float*>(args.y.data), y.size());
    } else {
      const auto narrow =
          Download(static_cast<uint16_t*>(args.y.data), y.size());
      for (size_t i = 0; i < y.size(); ++i) y[i] = kernels::FromBF16(narrow[i]);
    }
    for (int b = 0; b < c.batch; ++b) {
      for (int i = 0; i < c.rows; ++i) {
        for (int o = 0; o < c.outputs; ++o) {
          const size_t at = (size_t(b) * c.rows + i) * c.outputs + o;
          double sum = c.add ? before[at] : 0.0;
          if (c.bias) sum += bias[o];
          double size = std::abs(sum);
          for (int k = 0; k < c.inputs; ++k) {
            const double product =
                double{
                    x[((c.shared_x ? 0 : b) * size_t(c.rows) + i) * c.inputs +
                      k]} *
                w[(size_t(b) * c.outputs + o) * c.inputs + k];
            sum += product;
            size += std::abs(product);
          }
          double bound = (c.inputs + 3) * 0x1p-24 * size;
          if (c.out == DType::kBF16) bound += 0x1p-8 * (std::abs(sum) + bound);
          EXPECT_NEAR(y[at], sum, bound) << b << ", " << i << ", " << o;
        }
      }
    }
    return y;
  }

  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
};

TEST_F(Gemms, AreWhatADoubleLoopSays) {
  Gemm gemm(*device_);
  for (const DType in : {DType::kBF16, DType::kF32}) {
    for (const bool add : {false, true}) {
      for (const bool bias : {false, true}) {
        Check(gemm, {.in = in, .bias = bias, .add = add});
      }
    }
  }
  Check(gemm, {.rows = 1, .outputs = 1, .inputs = 8});
  Check(gemm, {.rows = 33, .outputs = 65, .inputs = 72});
  Check(gemm, {.batch = 3});
  Check(gemm, {.batch = 3, .out = DType::kBF16, .shared_x = true});
  Check(gemm, {.outputs = 8, .batch = 2, .add = true});
}

TEST_F(Gemms, AnAlgorithmIsChosenOnce) {
  Gemm gemm(*device_);
  Check(gemm, {});
  const int64_t objects = GetCounters().cublaslt_objects;
  Check(gemm, {});
  EXPECT_EQ(GetCounters().cublaslt_objects, objects);
  EXPECT_EQ(GetCounters().matmuls_executed, 2);
}

TEST_F(Gemms, AFailureIsTheDevices) {
  Gemm gemm(*device_);
  GemmArgs args;
  args.rows = args.outputs = args.inputs = 8;
  const std::vector<float> zeros(64);
  args.x = {Upload(zeros, DType::kBF16), 8, 0};
  args.w = {Upload(zeros, DType::kBF16), 8, 0};
  args.y = {Upload(zeros, DType::kF32), 8, 0};
  cuda_host::FailMatmul(1, CUBLAS_STATUS_EXECUTION_FAILED);
  gemm.Run(args);
  EXPECT_THAT(std::string(device_->status().message()),
              HasSubstr("CUBLAS_STATUS_EXECUTION_FAILED"));
}

// ---- weights

TEST_F(BackendParts, WeightsArePaddedAndConvertedByAllThreads) {
  for (const DType type : {DType::kBF16, DType::kF32}) {
    DeviceMatrix m(*device_);
    m.dtype = type;
    m.count = 2;
    m.outputs = 1024;
    m.inputs = 701;
    WeightUploader(*device_).Fill(
        [](int row, float* dst) {  // what bf16 holds
          for (int i = 0; i < 701; ++i) dst[i] = row % 61 + (i % 3) * 64;
        },
        m);
    ASSERT_TRUE(device_->ok()) << device_->status();
    EXPECT_EQ(m.stride, 704);
    EXPECT_EQ(m.matrix_elements(), 1024 * 704);
    const size_t count = size_t{2048} * 704;
    std::vector<float> found;
    if (type == DType::kF32) {
      found = Download(m.memory.data<float>(), count);
    } else {
      for (const uint16_t x : Download(m.memory.data<uint16_t>(), count)) {
        found.push_back(kernels::FromBF16(x));
      }
    }
    int wrong = 0;
    for (size_t i = 0; i < count; ++i) {
      const int row = static_cast<int>(i / 704),
                col = static_cast<int>(i % 704);
      const float expected = row % 61 + (col % 3) * 64;
      wrong += found[i] != (col < 701 ? expected : 0.0f);
    }
    EXPECT_EQ(wrong, 0);
  }
}

// ---- a step's arrays

TEST_F(BackendParts, ArraysArriveWhereTheyWereAdded) {
  StepArena arena(*device_);
  for (int round = 0; round < 3; ++round) {
    arena.Reset();
    const std::vector<int32_t> a = {1, 2, 3 + round};
    const std::vector<float> b = {0.5f};
    const int32_t* pa = arena.Add<int32_t>(a);
    const float* pb = arena.Add<float>(b, 100);
    arena.Upload();
    const int32_t* pc = arena.Add<int32_t>(a);  // behind what went already
    arena.Upload();
    EXPECT_EQ(Download(pa, 3), a);
    EXPECT_EQ(Download(pb, 1), b);
    EXPECT_EQ(Download(pc, 3), a);
  }
}

TEST_F(BackendParts, EqualShapesFindEqualAddresses) {
  StepArena arena(*device_);
  arena.Reset();
  const std::vector<int32_t> small(10), large(1 << 20);
  arena.Add<int32_t>(small);
  arena.Add<int32_t>(large);  // a chunk of its own: one for both comes next
  arena.Reset();
  const auto shape_of = [&](size_t n) {
    arena.Reset();
    const std::vector<int32_t> values(n);
    const int32_t* first = arena.Add<int32_t>(values);
    const int32_t* second = arena.Add<int32_t>(values, RoundedUp(n));
    return std::make_tuple(first, second, arena.shape());
  };
  EXPECT_EQ(shape_of(7), shape_of(7));
  EXPECT_NE(std::get<2>(shape_of(7)), std::get<2>(shape_of(8)));
  const int64_t generation = device_->generation();
  arena.Reset();
  arena.Add<int32_t>(small);
  arena.Add<int32_t>(large);
  EXPECT_EQ(device_->generation(), generation);
}

// ---- recorded work

class Recorded : public BackendParts {
 protected:
  Recorded() : recorder_(*device_), x_(*device_), y_(*device_) {
    const std::vector<float> ones(4, 1.0f);
    x_.Reserve<float>(4);
    y_.Reserve<float>(4);
    device_->Synchronize();  // they are zeroed in the device's stream
    cudaMemcpy(x_.data<float>(), ones.data(), 16, cudaMemcpyHostToDevice);
  }
  // Adds ones to y, however it is done; true if it was replayed.
  bool Step(size_t shape) {
    const bool replayed = recorder_.Begin({shape});
    if (!replayed) {
      device_->Check(kernels::cuda::LaunchAddScaled(
                         {x_.data<float>(), 1, 4, 4}, 1.0f,
                         {y_.data<float>(), 1, 4, 4}, device_->stream()),
                     "sum");
    }
    recorder_.Finish();
    return replayed;
  }
  float Sum() { return Download(y_.data<float>(), 4)[3]; }

  Recorder recorder_;
  DeviceBuffer x_, y_;
};

TEST_F(Recorded, TheThirdStepOfAShapeIsReplayed) {
  EXPECT_FALSE(Step(1));
  EXPECT_EQ(Sum(), 1.0f);
  EXPECT_FALSE(Step(1));  // recorded, and run
  EXPECT_EQ(Sum(), 2.0f);
  EXPECT_FALSE(Step(2));
  EXPECT_EQ(Sum(), 3.0f);
  EXPECT_TRUE(Step(1));
  EXPECT_TRUE(Step(1));
  EXPECT_EQ(Sum(), 5.0f);
  EXPECT_EQ(GetCounters().graph_launches, 3);
  EXPECT_TRUE(device_->ok()) << device_->status();
}

TEST_F(Recorded, MemoryThatMovedIsNotReplayed) {
  for (int i = 0; i < 3; ++i) Step(1);
  DeviceBuffer(*device_).Reserve<float>(1);
  EXPECT_FALSE(Step(1));  // recorded anew
  EXPECT_TRUE(Step(1));
  EXPECT_EQ(Sum(), 5.0f);
}

TEST_F(Recorded, AFailureEndsIt) {
  Step(1);
  cuda_host::FailCall(1, cudaErrorUnknown, "cudaGraphInstantiate");
  Step(1);
  EXPECT_FALSE(device_->ok());
  EXPECT_FALSE(Step(1));
}

}  // namespace
}  // namespace mla::runtime
