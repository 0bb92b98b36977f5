// The choice of a kernel, and its launch as the backend makes it: device
// memory, a stream, the runtime's rules about grids and shared memory.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda_host/attention_case.h"
#include "cuda_host/control.h"
#include "kernels/cuda/launch/attention.h"
#include "kernels/plan/attention_plan.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::AttentionCase;

constexpr int kH100 = 227 << 10, kA100 = 163 << 10, kRtx = 99 << 10;

AttentionChoice Choose(const AttnLayout& layout, int packed_rows,
                       int shared_bytes = kH100, DType type = DType::kBF16) {
  AttentionChoice choice;
  EXPECT_TRUE(ChooseAttention(layout, RowFormatOf(layout, type), packed_rows,
                              shared_bytes, &choice));
  EXPECT_LE(choice.shared_bytes, shared_bytes);
  EXPECT_GE(choice.key_dim, layout.key_length());
  EXPECT_GE(choice.value_dim, layout.value_length());
  return choice;
}

TEST(AttentionLaunch, TakesTheSmallestShapeThatHoldsTheLayout) {
  const AttentionChoice deepseek = Choose(MlaLayout(128, 512, 64), 128);
  EXPECT_EQ(deepseek.key_dim, 576);
  EXPECT_EQ(deepseek.value_dim, 512);
  EXPECT_EQ(deepseek.tile_rows, 64);
  EXPECT_TRUE(deepseek.values_are_keys);
  EXPECT_EQ(deepseek.load, RowLoad::kAsync);

  EXPECT_EQ(Choose(MlaLayout(40, 256, 32), 40).key_dim, 320);
  EXPECT_EQ(Choose(MlaLayout(9, 88, 32), 9).key_dim, 128);
  const AttentionChoice llama = Choose(GqaLayout(32, 8, 128), 4);
  EXPECT_EQ(llama.key_dim, 128);
  EXPECT_EQ(llama.tile_rows, 16);
  EXPECT_FALSE(llama.values_are_keys);
}

TEST(AttentionLaunch, TakesWhatTheDeviceHasMemoryFor) {
  const AttnLayout layout = MlaLayout(128, 512, 64);
  EXPECT_EQ(Choose(layout, 128, kA100).tile_rows, 64);
  EXPECT_EQ(Choose(layout, 128, kRtx).tile_rows, 16);
  const auto fits = [](const AttnLayout& l, int packed_rows, int shared_bytes) {
    AttentionChoice choice;
    return ChooseAttention(l, RowFormatOf(l, DType::kBF16), packed_rows,
                           shared_bytes, &choice);
  };
  EXPECT_FALSE(fits(layout, 128, 48 << 10));
  EXPECT_FALSE(fits(MlaLayout(4, 640, 64), 4, kH100));
  EXPECT_FALSE(fits(MlaLayout(4, 512, 72), 4, kH100));
}

TEST(AttentionLaunch, GathersWhatIsNotInWholeChunks) {
  EXPECT_EQ(Choose(MlaLayout(9, 88, 32, /*index_head_dim=*/3), 9).load,
            RowLoad::kGather);
  EXPECT_EQ(Choose(MlaLayout(9, 90, 32), 9).load, RowLoad::kGather);
  EXPECT_EQ(Choose(MlaLayout(9, 88, 32), 9, kH100, DType::kF32).load,
            RowLoad::kGather);
}

TEST(AttentionLaunch, WidensCodesWhereTheyComeInChunks) {
  const auto load = [](const AttnLayout& layout) {
    return Choose(layout, 16, kH100, DType::kF8E4M3).load;
  };
  EXPECT_EQ(load(MlaLayout(16, 512, 64)), RowLoad::kCodes);
  EXPECT_EQ(load(GqaLayout(32, 8, 128)), RowLoad::kCodes);
  EXPECT_EQ(load(MlaLayout(16, 90, 32)), RowLoad::kGather);
  EXPECT_EQ(
      Choose(MlaLayout(128, 512, 64), 128, kH100, DType::kF8E4M3).tile_rows,
      64);
}

int64_t HopperLaunches() {
  return cuda_host::ExecutedLaunches("HopperAttentionKernel");
}

// Owns what it copies to the device.
class Device {
 public:
  Device() { EXPECT_EQ(cudaStreamCreate(&stream), cudaSuccess); }
  ~Device() {
    for (void* p : owned_) EXPECT_EQ(cudaFree(p), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  }
  template <class T>
  T* Allocate(size_t count) {
    void* p = nullptr;
    EXPECT_EQ(cudaMalloc(&p, count * sizeof(T)), cudaSuccess);
    owned_.push_back(p);
    return static_cast<T*>(p);
  }
  template <class T>
  T* Copy(const std::vector<T>& values) {
    T* p = Allocate<T>(values.size());
    EXPECT_EQ(cudaMemcpy(p, values.data(), values.size() * sizeof(T),
                         cudaMemcpyHostToDevice),
              cudaSuccess);
    return p;
  }
  template <class T>
  std::vector<T> Read(const T* p, size_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(
        cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost),
        cudaSuccess);
    return values;
  }

  cudaStream_t stream = nullptr;

 private:
  std::vector<void*> owned_;
};

// Of which kernel, if that is what the test is about.
enum class Kernel { kAny, kPortable, kHoppers };

void CheckOnDevice(const AttentionCase& c, int packed_rows,
                   Kernel kernel = Kernel::kAny) {
  const AttnLayout& layout = c.layout;
  const AttentionChoice choice = Choose(layout, packed_rows, kH100, c.type);
  Device device;
  const int heads = layout.virtual_heads(), dv = layout.value_length();
  std::vector<int32_t> first_head;
  for (int g = 0; g <= layout.groups; ++g) {
    first_head.push_back(layout.FirstHead(g));
  }
  AttentionPlanOptions options;
  options.tile_rows = choice.tile_rows;
  options.thread_blocks = 4;
  const AttentionPlan plan = PlanAttention(layout, c.spans, options);

  AttentionArgs args;
  args.q = device.Copy(c.q);
  args.q_head_stride = c.q_head_stride();
  args.q_row_stride = int64_t{heads} * args.q_head_stride;
  args.cache = device.Copy(c.cache);
  args.block_tables = device.Copy(c.block_tables);
  args.block_rows = c.block_rows;
  args.block_bytes = int64_t{c.block_rows} * c.row_bytes();
  args.format = c.format();
  std::copy_n(layout.key, 2, args.key);
  std::copy_n(layout.value, 2, args.value);
  args.first_head = device.Copy(first_head);
  args.scale_log2 = static_cast<float>(c.scale * M_LOG2E);
  args.spans = device.Copy(c.spans);
  args.virtual_heads = heads;
  args.work = device.Copy(plan.work);
  args.work_begin = device.Copy(plan.work_begin);
  const size_t results = static_cast<size_t>(c.rows) * heads * dv;
  args.out_f32 = device.Allocate<float>(results);
  args.out_head_stride = dv;
  args.out_row_stride = int64_t{heads} * dv;
  const size_t slots = static_cast<size_t>(plan.slots) * choice.tile_rows;
  if (slots > 0) {
    args.partial = device.Allocate<float>(slots * choice.value_dim);
    args.partial_lse = device.Allocate<float>(slots);
  }
  const bool is_hoppers = IsHoppers(choice, args);
  if (kernel != Kernel::kAny) {
    ASSERT_EQ(is_hoppers, kernel == Kernel::kHoppers);
  }
  const int64_t before = HopperLaunches();
  ASSERT_EQ(LaunchAttention(choice, args, options.thread_blocks, device.stream),
            cudaSuccess);
  CombineArgs combine{args, nullptr, static_cast<int>(plan.combine.size())};
  if (combine.num_work > 0) combine.work = device.Copy(plan.combine);
  ASSERT_EQ(LaunchCombine(choice, combine, device.stream), cudaSuccess);
  const std::vector<float> found = device.Read<float>(args.out_f32, results);
  if (cuda_host::kCounts) {
    EXPECT_EQ(HopperLaunches() - before, is_hoppers ? 1 : 0);
  }
  const AttentionCase::Answer answer = c.Solve(/*stored_as_bf16=*/false);
  for (size_t i = 0; i < results; ++i) {
    ASSERT_LE(std::fabs(found[i] - answer.value[i]), answer.bound[i]) << i;
  }
}

TEST(AttentionLaunch, ComputesEveryShapeOnADevice) {
  for (const AttnLayout& layout :
       {MlaLayout(5, 40, 16), MlaLayout(20, 96, 32), MlaLayout(3, 256, 32),
        MlaLayout(17, 512, 64), MlaLayout(3, 41, 6), GqaLayout(6, 2, 64),
        GqaLayout(4, 4, 128), GqaLayout(40, 2, 32), GqaLayout(6, 3, 22),
        GqaLayout(2, 1, 256)}) {
    for (const DType type : {DType::kBF16, DType::kF8E4M3}) {
      AttentionCase c;
      c.layout = layout;
      c.type = type;
      c.Fill({{1, 70}, {2, 299}}, 7);
      CheckOnDevice(c, 2 * layout.GroupHeads(0));
      if (HasFailure()) FAIL() << layout.row_width << " of " << Name(type);
    }
  }
}

bool IsHopper() {
  int major = 0;
  EXPECT_EQ(
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0),
      cudaSuccess);
  return major == 9;
}

TEST(AttentionLaunch, ManyHeadsOfALatentAreHoppersWhereItIs) {
  cuda_host::ResetDevice();
  for (const auto& [heads, block_rows] : std::vector<std::pair<int, int>>{
           {64, 16}, {64, 64}, {17, 64}, {128, 128}}) {
    AttentionCase c;
    c.scale = 1 / std::sqrt(192.0);
    c.layout = MlaLayout(heads, 512, 64);
    c.block_rows = block_rows;
    c.Fill({{1, 70}, {2, 299}, {1, 0}, {1, 191}}, 3);
    CheckOnDevice(c, heads, IsHopper() ? Kernel::kHoppers : Kernel::kPortable);
    if (HasFailure()) FAIL() << heads << " heads, " << block_rows;
  }
  cuda_host::ResetDevice();
}

TEST(AttentionLaunch, OtherDevicesHaveThePortableKernel) {
  if (!cuda_host::kCounts) GTEST_SKIP() << "the device is what it is";
  AttentionCase c;
  c.layout = MlaLayout(64, 512, 64);
  c.Fill({{1, 70}}, 3);
  for (const int capability : {8, 10, 12}) {
    cuda_host::ResetDevice();
    cuda_host::SetCapability(capability);
    CheckOnDevice(c, 64, Kernel::kPortable);
    if (HasFailure()) FAIL() << capability;
  }
  cuda_host::ResetDevice();
}

// What its copies and stores cannot do.
TEST(AttentionLaunch, OtherRowsAreNotHoppers) {
  const auto check = [](const AttnLayout& layout, int block_rows) {
    AttentionCase c;
    c.layout = layout;
    c.block_rows = block_rows;
    c.Fill({{1, 70}}, 3);
    CheckOnDevice(c, layout.virtual_heads(), Kernel::kPortable);
    EXPECT_FALSE(testing::Test::HasFailure()) << block_rows;
  };
  check(MlaLayout(64, 512, 64), 4);
  check(MlaLayout(64, 512, 64), 48);
  check(MlaLayout(16, 512, 64), 64);
  check(MlaLayout(64, 512, 56), 64);
  check(MlaLayout(64, 256, 32), 64);
}

TEST(AttentionLaunch, NothingToCombineLaunchesNothing) {
  EXPECT_EQ(LaunchCombine(AttentionChoice(), CombineArgs(), nullptr),
            cudaSuccess);
  EXPECT_EQ(LaunchAttention(AttentionChoice(), AttentionArgs(), 1, nullptr),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace mla::kernels::cuda
