// InnerKernels for one Isa; kernels/CMakeLists.txt gives this file its flags.
#define MLA_ISA_TABLE kAvx512VnniKernels
#include "kernels/cpu/vector/blocks_avx512.inc"
#include "kernels/cpu/vector_kernels.inc"
