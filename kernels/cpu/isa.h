// Isa names the CPU implementations of the inner kernels; all compute the same
// functions, and tests hold each against the others.
// Threads: any.
#ifndef MLA_KERNELS_CPU_ISA_H_
#define MLA_KERNELS_CPU_ISA_H_

#include <cstdint>

namespace mla::kernels {

enum class Isa : uint8_t {
  kReference,   // naive loops, sums in double: the truth, never tuned
  kPortable,    // the vector code, compiled for the baseline
  kAvx2,        // AVX2 + FMA
  kAvx512,      // AVX-512 F/BW/DQ/VL
  kAvx512Vnni,  // and AVX512-VNNI: bytes meet bytes
  kAvx512Bf16,  // and AVX512-BF16: bf16 weights meet bf16 activations
};

inline constexpr Isa kAllIsas[] = {Isa::kReference,  Isa::kPortable,
                                   Isa::kAvx2,       Isa::kAvx512,
                                   Isa::kAvx512Vnni, Isa::kAvx512Bf16};

const char* Name(Isa isa);
bool IsSupported(Isa isa);  // by this build and this machine
Isa BestIsa();

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_ISA_H_
