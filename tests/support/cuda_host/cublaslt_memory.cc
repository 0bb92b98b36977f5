// The rules of cublasLtMatmul about memory.
// Tested by tests/cuda/cublaslt_rules_test.cc.
#include <algorithm>
#include <utility>
#include <vector>

#include "cuda_host/cublaslt_problem.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

struct Operand {
  const char* name;
  const void* p;
  const LayoutData* layout;
};

std::vector<Operand> List(const Problem& p, const Operands& o) {
  return {
      {"A", o.a, &p.a}, {"B", o.b, &p.b}, {"C", o.c, &p.c}, {"D", o.d, &p.d}};
}

uintptr_t Address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

using Span = std::pair<uintptr_t, uintptr_t>;  // first byte, behind the last

// The bytes that the operand's elements take.
std::vector<Span> Spans(const Operand& x) {
  std::vector<Span> spans;
  for (int i = 0; i < x.layout->batch; ++i) {
    for (uint64_t run = 0; run < x.layout->runs(); ++run) {
      const uint64_t first = i * x.layout->stride + run * x.layout->ld;
      const uintptr_t begin = Address(x.p) + first * x.layout->element();
      spans.emplace_back(begin, begin + x.layout->run() * x.layout->element());
    }
  }
  std::sort(spans.begin(), spans.end());
  return spans;
}

// Whether elements share bytes: gaps of one may hold the other.
bool Overlap(const Operand& x, const Operand& y) {
  if (Address(x.p) + x.layout->bytes() <= Address(y.p) ||
      Address(y.p) + y.layout->bytes() <= Address(x.p)) {
    return false;
  }
  const std::vector<Span> a = Spans(x);
  const std::vector<Span> b = Spans(y);
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (a[i].second <= b[j].first) {
      ++i;
    } else if (b[j].second <= a[i].first) {
      ++j;
    } else {
      return true;
    }
  }
  return false;
}

bool IsSame(const LayoutData& x, const LayoutData& y) {
  return x.type == y.type && x.order == y.order && x.ld == y.ld &&
         x.stride == y.stride;
}

size_t BiasBytes(const Problem& p) {
  return ((p.d.batch - 1) * p.desc.bias_stride + p.d.rows) * p.d.element();
}

}  // namespace

std::string CheckLive(AddressSpace& memory, const Problem& p, const Operands& o,
                      Moment moment) {
  for (const Operand& x : List(p, o)) {
    const std::string wrong =
        memory.Check(x.p, x.layout->bytes(), MemoryKind::kDevice, moment);
    if (!wrong.empty()) return Text(x.name, ": ", wrong);
  }
  if (p.desc.has_bias()) {
    const std::string wrong =
        memory.Check(p.desc.bias, BiasBytes(p), MemoryKind::kDevice, moment);
    if (!wrong.empty()) return Text("bias: ", wrong);
  }
  if (p.desc.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE) {
    for (const void* scalar : {o.alpha, o.beta}) {
      const std::string wrong =
          memory.Check(scalar, 4, MemoryKind::kDevice, moment);
      if (!wrong.empty()) return Text("alpha or beta: ", wrong);
    }
  }
  return "";
}

Verdict CheckMemory(AddressSpace& memory, const Problem& p, const Operands& o,
                    const Alignments& alignments) {
  auto invalid = [](const auto&... why) {
    return Verdict{CUBLAS_STATUS_INVALID_VALUE, Text(why...)};
  };
  if (o.alpha == nullptr || o.beta == nullptr) return invalid("no alpha, beta");
  const std::string wrong = CheckLive(memory, p, o, Moment::kCall);
  if (!wrong.empty()) return invalid(wrong);
  const std::vector<Operand> all = List(p, o);
  for (size_t i = 0; i < all.size(); ++i) {
    if (Address(all[i].p) % alignments.bytes[i] != 0) {
      return invalid(all[i].name, ": ", all[i].p, " is not a multiple of ",
                     alignments.bytes[i],
                     " bytes, which CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_",
                     all[i].name, "_BYTES promised (256 if not set)");
    }
  }
  if (p.desc.has_bias() && Address(p.desc.bias) % 16 != 0) {
    return invalid("bias: ", p.desc.bias, " is not a multiple of 16 bytes");
  }
  const Operand& d = all[3];
  if (Overlap(all[0], d)) return invalid("D overlaps A");
  if (Overlap(all[1], d)) return invalid("D overlaps B");
  if (Overlap(all[2], d) && !(o.c == o.d && IsSame(p.c, p.d))) {
    return invalid("D overlaps C without being it");
  }
  return {};
}

bool IsAligned(const Problem& p, const Operands& o) {
  for (const Operand& x : List(p, o)) {
    if (Address(x.p) % 16 != 0 ||
        x.layout->ld * x.layout->element() % 16 != 0 ||
        x.layout->stride * x.layout->element() % 16 != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace cuda_host
