#include "kernels/cpu/inner_kernels.h"

namespace mla::kernels {

extern const InnerKernels kReferenceKernels;
extern const InnerKernels kPortableKernels;
#if defined(__x86_64__)
extern const InnerKernels kAvx2Kernels;
extern const InnerKernels kAvx512Kernels;
extern const InnerKernels kAvx512VnniKernels;
extern const InnerKernels kAvx512Bf16Kernels;
#endif

const InnerKernels& GetInnerKernels(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return kReferenceKernels;
    case Isa::kPortable:
      return kPortableKernels;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return kAvx2Kernels;
    case Isa::kAvx512:
      return kAvx512Kernels;
    case Isa::kAvx512Vnni:
      return kAvx512VnniKernels;
    case Isa::kAvx512Bf16:
      return kAvx512Bf16Kernels;
#else
    default:
      break;
#endif
  }
  return kPortableKernels;
}

}  // namespace mla::kernels
