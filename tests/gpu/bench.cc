// How fast attention and experts' products are on this GPU: one Markdown row
// for each case, timed by events over some launches after others.
//
//   gpu_bench [--small]     sizes that a host executes in seconds
//
// Bytes: cached rows, weights and results once. FLOPs: 2 for each product that
// the definition has. Limits: what the device says of its memory, and NVIDIA's
// dense bf16 figure where it is known by name; else none is given.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/launch/attention.h"
#include "kernels/cuda/launch/moe.h"
#include "kernels/plan/attention_plan.h"

namespace {

using namespace mla::kernels;
using namespace mla::kernels::cuda;

void Require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "gpu_bench: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

template <class T>
T* Copy(const std::vector<T>& values) {
  void* p = nullptr;
  Require(cudaMalloc(&p, std::max<size_t>(1, values.size() * sizeof(T))),
          "cudaMalloc");
  Require(cudaMemcpy(p, values.data(), values.size() * sizeof(T),
                     cudaMemcpyHostToDevice),
          "cudaMemcpy");
  return static_cast<T*>(p);
}

template <class T>
T* Zeros(size_t count) {
  void* p = nullptr;
  Require(cudaMalloc(&p, std::max<size_t>(1, count * sizeof(T))), "cudaMalloc");
  Require(cudaMemset(p, 0, count * sizeof(T)), "cudaMemset");
  return static_cast<T*>(p);
}

struct Limits {
  std::string name;
  double bytes = 0, flops = 0;  // a second; 0: not known
  int multiprocessors = 1, shared_bytes = 0;
};

Limits LimitsOf(int device) {
  cudaDeviceProp p;
  Require(cudaGetDeviceProperties(&p, device), "cudaGetDeviceProperties");
  Limits limits{p.name, 0, 0, p.multiProcessorCount, 0};
  cudaDeviceGetAttribute(&limits.shared_bytes,
                         cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  // Data sheets: HBM bytes a second, dense bf16 FLOPs a second.
  const struct {
    const char* part;
    double bytes, flops;
  } known[] = {{"H200", 4.8e12, 989e12},
               {"H100 PCIe", 2.0e12, 756e12},
               {"H100", 3.35e12, 989e12},
               {"A100", 2.04e12, 312e12},
               {"B200", 8.0e12, 2250e12}};
  for (const auto& k : known) {
    if (limits.name.find(k.part) == std::string::npos) continue;
    limits.bytes = k.bytes;
    limits.flops = k.flops;
    break;
  }
  return limits;
}

// Seconds of one call.
template <class F>
double Time(int calls, const F& call) {
  cudaEvent_t begin, end;
  Require(cudaEventCreate(&begin), "cudaEventCreate");
  Require(cudaEventCreate(&end), "cudaEventCreate");
  call();  // once for what happens once
  Require(cudaEventRecord(begin, nullptr), "cudaEventRecord");
  for (int i = 0; i < calls; ++i) call();
  Require(cudaEventRecord(end, nullptr), "cudaEventRecord");
  Require(cudaEventSynchronize(end), "cudaEventSynchronize");
  float milliseconds = 0;
  Require(cudaEventElapsedTime(&milliseconds, begin, end), "elapsed time");
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return milliseconds / 1e3 / calls;
}

void PrintRow(const Limits& limits, const std::string& what, double seconds,
              double bytes, double flops) {
  std::printf("| %s | %.1f | %.0f | %.1f |", what.c_str(), seconds * 1e6,
              bytes / seconds / 1e9, flops / seconds / 1e12);
  if (limits.bytes > 0) {
    std::printf(" %.0f %% | %.0f %% |\n", 100 * bytes / seconds / limits.bytes,
                100 * flops / seconds / limits.flops);
  } else {
    std::printf(" - | - |\n");
  }
}

struct AttentionCase {
  const char* what;
  AttnLayout layout;
  int batch, tokens, rows;    // rows: of each sequence's queries, its last
  DType type = DType::kBF16;  // of cached rows
};

void BenchAttention(const Limits& limits, const AttentionCase& c, int calls) {
  const AttnLayout& l = c.layout;
  const RowFormat format = RowFormatOf(l, c.type);
  AttentionChoice choice;
  if (!ChooseAttention(l, format, c.rows * l.GroupHeads(0), limits.shared_bytes,
                       &choice)) {
    std::printf("| %s | no kernel of this device holds it | | | | |\n", c.what);
    return;
  }
  constexpr int kBlockRows = 64;
  const int blocks = (c.tokens + kBlockRows - 1) / kBlockRows;
  std::vector<AttentionSpan> spans;
  std::vector<int32_t> tables, first_head;
  for (int b = 0; b < c.batch; ++b) {
    spans.push_back({b * c.rows, c.rows, c.tokens - c.rows,
                     static_cast<int32_t>(tables.size())});
    // Scattered, as a pool hands them out.
    for (int i = 0; i < blocks; ++i) tables.push_back(i * c.batch + b);
  }
  for (int g = 0; g <= l.groups; ++g) first_head.push_back(l.FirstHead(g));
  AttentionPlanOptions options;
  options.tile_rows = choice.tile_rows;
  options.thread_blocks =
      limits.multiprocessors * (choice.value_dim <= 128 ? 2 : 1);
  options.cut_long = c.rows == 1;
  const AttentionPlan plan = PlanAttention(l, spans, options);

  const int heads = l.virtual_heads();
  AttentionArgs args;
  args.q_head_stride = (l.key_length() + 7) / 8 * 8;
  args.q_row_stride = int64_t{heads} * args.q_head_stride;
  const int64_t rows = int64_t{c.batch} * c.rows;
  args.q = Zeros<uint16_t>(rows * args.q_row_stride);
  args.format = format;
  args.block_rows = kBlockRows;
  args.block_bytes = int64_t{kBlockRows} * args.format.bytes;
  args.cache = Zeros<unsigned char>(tables.size() * args.block_bytes);
  args.block_tables = Copy(tables);
  std::copy_n(l.key, 2, args.key);
  std::copy_n(l.value, 2, args.value);
  args.first_head = Copy(first_head);
  args.spans = Copy(spans);
  args.work = Copy(plan.work);
  args.work_begin = Copy(plan.work_begin);
  args.virtual_heads = heads;
  args.out_head_stride = l.value_length();
  args.out_row_stride = int64_t{heads} * l.value_length();
  args.out_f32 = Zeros<float>(rows * args.out_row_stride);
  args.partial =
      Zeros<float>(size_t(plan.slots) * choice.tile_rows * choice.value_dim);
  args.partial_lse = Zeros<float>(size_t(plan.slots) * choice.tile_rows);
  const CombineArgs combine{args, Copy(plan.combine),
                            static_cast<int>(plan.combine.size())};
  const double seconds = Time(calls, [&] {
    Require(LaunchAttention(choice, args, options.thread_blocks, nullptr),
            "attention");
    Require(LaunchCombine(choice, combine, nullptr), "combine");
  });
  // Of each query, half of its own rows' tokens are not seen.
  const double seen = c.tokens - (c.rows - 1) / 2.0;
  const double bytes =
      double(c.batch) * c.tokens * args.format.bytes +
      double(rows) * heads * (args.q_head_stride * 2 + l.value_length() * 4);
  const double flops =
      2.0 * rows * heads * seen * (l.key_length() + l.value_length());
  PrintRow(limits, c.what, seconds, bytes, flops);
  for (const void* p :
       {static_cast<const void*>(args.q), static_cast<const void*>(args.cache),
        static_cast<const void*>(args.block_tables),
        static_cast<const void*>(args.first_head),
        static_cast<const void*>(args.spans),
        static_cast<const void*>(args.work),
        static_cast<const void*>(args.work_begin),
        static_cast<const void*>(args.out_f32),
        static_cast<const void*>(args.partial),
        static_cast<const void*>(args.partial_lse),
        static_cast<const void*>(combine.work)}) {
    Require(cudaFree(const_cast<void*>(p)), "cudaFree");
  }
}

void BenchExperts(const Limits& limits, const char* what, int experts,
                  int pairs, int n, int k, int calls) {
  const int tile_rows = ExpertTileRows(pairs, experts);
  std::vector<ExpertTile> tiles;
  for (int row = 0; row < pairs;) {  // evenly, a tile of each in turn
    const int rows = std::min(tile_rows, pairs - row);
    tiles.push_back({static_cast<int32_t>(tiles.size()) % experts, row, rows});
    row += rows;
  }
  uint16_t* weights = Zeros<uint16_t>(size_t(experts) * n * k);
  std::vector<const uint16_t*> pointers;
  for (int e = 0; e < experts; ++e) {
    pointers.push_back(weights + size_t(e) * n * k);
  }
  ExpertGemmArgs args;
  args.x = Zeros<uint16_t>(size_t(pairs) * k);
  args.x_stride = args.w_stride = k;
  args.w = Copy(pointers);
  args.n = n;
  args.k = k;
  args.tiles = Copy(tiles);
  args.num_tiles = static_cast<int32_t>(tiles.size());
  args.tile_rows = tile_rows;
  args.y = Zeros<float>(size_t(pairs) * n);
  const double seconds =
      Time(calls, [&] { Require(LaunchExpertGemm(args, nullptr), "experts"); });
  const double used = std::min<double>(experts, tiles.size());
  PrintRow(limits, what, seconds,
           used * n * k * 2 + double(pairs) * (k * 2 + n * 4),
           2.0 * pairs * n * k);
  for (const void* p :
       {static_cast<const void*>(weights), static_cast<const void*>(args.x),
        static_cast<const void*>(args.w), static_cast<const void*>(args.tiles),
        static_cast<const void*>(args.y)}) {
    Require(cudaFree(const_cast<void*>(p)), "cudaFree");
  }
}

// Built keys and values of `heads`, as a prompt reads them.
AttnLayout Heads(int heads, int key, int value) {
  AttnLayout l;
  l.groups = l.heads = heads;
  l.row_width = heads * (key + value);
  l.key[0] = {0, key, key};
  l.value[0] = {heads * key, value, value};
  return l;
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  int devices = 0;
  Require(cudaGetDeviceCount(&devices), "no CUDA device can be used");
  const Limits limits = LimitsOf(0);
  const int calls = small ? 1 : 50;
  std::printf("%s\n\n", limits.name.c_str());
  std::printf(
      "| case | us | GB/s | TFLOP/s | of memory | of bf16 |\n"
      "|---|---:|---:|---:|---:|---:|\n");
  if (small) {
    BenchAttention(limits, {"decode", MlaLayout(4, 512, 64), 2, 130, 1}, calls);
    BenchAttention(
        limits,
        {"decode of fp8", MlaLayout(4, 512, 64), 2, 130, 1, DType::kF8E4M3},
        calls);
    BenchAttention(limits, {"prefill", Heads(2, 192, 128), 1, 64, 64}, calls);
    BenchExperts(limits, "experts", 4, 24, 64, 64, calls);
    return 0;
  }
  for (const int heads : {16, 64, 128}) {
    for (const int batch : {1, 16, 128}) {
      for (const int tokens : {4096, 32768}) {
        if (batch * tokens > 128 * 8192) continue;
        const std::string what = "decode 576/512, " + std::to_string(heads) +
                                 " heads, " + std::to_string(batch) + " x " +
                                 std::to_string(tokens);
        BenchAttention(
            limits, {what.c_str(), MlaLayout(heads, 512, 64), batch, tokens, 1},
            calls);
      }
    }
  }
  BenchAttention(limits,
                 {"decode 576/512 of fp8, 16 heads, 128 x 4096",
                  MlaLayout(16, 512, 64), 128, 4096, 1, DType::kF8E4M3},
                 calls);
  BenchAttention(
      limits,
      {"decode GQA 32/8 of 128, 64 x 4096", GqaLayout(32, 8, 128), 64, 4096, 1},
      calls);
  BenchAttention(
      limits,
      {"prefill 192/128, 16 heads, 4096", Heads(16, 192, 128), 1, 4096, 4096},
      calls);
  BenchExperts(limits, "experts 256 of 2048 x 7168, 64 rows", 256, 64 * 8, 4096,
               7168, calls);
  BenchExperts(limits, "experts 64 of 1408 x 2048, 4096 rows", 64, 4096 * 6,
               2816, 2048, calls);
}
