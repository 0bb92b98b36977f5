// InnerKernels for one Isa; kernels/CMakeLists.txt gives this file its flags.
#define MLA_ISA_TABLE kAvx512Bf16Kernels
#define MLA_LANES 16
#define MLA_GEMM_ROWS 8  // rows x panels of accumulators fit the registers
#define MLA_GEMM_PANELS 2
#define MLA_BYTE_ROWS 4  // of whole numbers and of floats do
#define MLA_BYTE_PANELS 3
#define MLA_ATTEND_ROWS 6  // rows x 4 vectors do
#include "kernels/cpu/vector_kernels.inc"
