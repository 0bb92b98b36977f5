// What this machine can do at best, as JSON: bytes a second read from memory
// by N threads, and products a second in bf16, bytes and floats from registers.
// Each figure is the best of a few short runs.
//
//   machine_limits [THREADS]
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int kRuns = 5;
constexpr long kSteps = 4'000'000;
constexpr int kChains = 12;  // independent sums: more than a product's latency

#define MLA_TARGET \
  __attribute__((target("avx512f,avx512bw,avx512vnni,avx512bf16")))

// Seconds of the fastest of a few runs of fn(thread) on all threads.
template <typename Fn>
double Fastest(int threads, Fn fn) {
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back(fn, i);
    for (std::thread& worker : workers) worker.join();
    const auto end = std::chrono::steady_clock::now();
    best = std::min(best, std::chrono::duration<double>(end - start).count());
  }
  return best;
}

// Keeps the compiler from leaving out a step that nobody reads.
#define MLA_KEEP(s)                                                        \
  asm volatile("" ::"v"(s[0]), "v"(s[1]), "v"(s[2]), "v"(s[3]), "v"(s[4]), \
               "v"(s[5]), "v"(s[6]), "v"(s[7]), "v"(s[8]), "v"(s[9]),      \
               "v"(s[10]), "v"(s[11]))

MLA_TARGET void ReadAll(const char* first, size_t bytes) {
  __m512i sums[4] = {};
  for (size_t at = 0; at < bytes; at += 256) {
    for (int i = 0; i < 4; ++i) {
      sums[i] ^= _mm512_load_si512(first + at + 64 * i);
    }
  }
  asm volatile("" : : "v"(sums[0] ^ sums[1] ^ sums[2] ^ sums[3]));
}

MLA_TARGET void MultiplyBF16() {
  __m512 sums[kChains];  // different ones, or one would be computed for all
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(i);
  const auto x = (__m512bh)_mm512_set1_epi16(0x3f80);
  for (long step = 0; step < kSteps; ++step) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, x, x);
    MLA_KEEP(sums);
  }
}

MLA_TARGET void MultiplyBytes() {
  __m512i sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_epi32(i);
  const __m512i x = _mm512_set1_epi8(1);
  for (long step = 0; step < kSteps; ++step) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, x, x);
    MLA_KEEP(sums);
  }
}

MLA_TARGET void MultiplyFloats() {
  __m512 sums[kChains];  // different ones, or one would be computed for all
  for (int i = 0; i < kChains; ++i) sums[i] = _mm512_set1_ps(i);
  const __m512 x = _mm512_set1_ps(1e-20f);
  for (long step = 0; step < kSteps; ++step) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, x, x);
    MLA_KEEP(sums);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1) return 2;
  constexpr size_t kBytes = size_t{1} << 30;  // far more than a cache
  void* memory = std::aligned_alloc(size_t{2} << 20, kBytes);
  if (memory == nullptr) return 1;
  madvise(memory, kBytes, MADV_HUGEPAGE);
  std::memset(memory, 1, kBytes);
  const size_t share = kBytes / threads / 4096 * 4096;
  const double read = Fastest(threads, [&](int i) {
    ReadAll(static_cast<const char*>(memory) + i * share, share);
  });
  std::free(memory);
  std::printf("{\"threads\": %d, \"dram_bytes\": %.4g", threads,
              share * threads / read);
  const auto print = [&](const char* name, bool has, void (*fn)(),
                         double operations) {
    if (!has) return;
    const double seconds = Fastest(threads, [fn](int) { fn(); });
    std::printf(", \"%s\": %.4g", name,
                operations * kChains * kSteps * threads / seconds);
  };
  const bool avx512 = __builtin_cpu_supports("avx512bw");
  print("f32_flops", avx512, MultiplyFloats, 32);
  print("bf16_flops", avx512 && __builtin_cpu_supports("avx512bf16"),
        MultiplyBF16, 64);
  print("int8_ops", avx512 && __builtin_cpu_supports("avx512vnni"),
        MultiplyBytes, 128);
  std::printf("}\n");
}
