// Holds the stand-ins of tests/support/cuda_host/include and the genuine CUDA
// headers to the same interface: this file compiles with either, and states
// every signature, value and size that both must have. Nothing runs.
//
// The build compiles it with the stand-ins. With the toolkit's headers:
//   g++ -std=c++20 -fsyntax-only -I/usr/local/cuda/include
//   tests/cuda/api_usage.cc
#include <cublasLt.h>
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace {

// Compiles if a function, of those of its name, has just that signature.
template <typename Signature>
constexpr bool Has(Signature*) {
  return true;
}

#define SAME(function, ...) static_assert(Has<__VA_ARGS__>(&function))

SAME(cudaGetLastError, cudaError_t());
SAME(cudaPeekAtLastError, cudaError_t());
SAME(cudaGetErrorName, const char*(cudaError_t));
SAME(cudaGetErrorString, const char*(cudaError_t));
SAME(cudaGetDeviceCount, cudaError_t(int*));
SAME(cudaSetDevice, cudaError_t(int));
SAME(cudaGetDevice, cudaError_t(int*));
SAME(cudaGetDeviceProperties, cudaError_t(cudaDeviceProp*, int));
SAME(cudaDeviceGetAttribute, cudaError_t(int*, cudaDeviceAttr, int));
SAME(cudaDeviceGetStreamPriorityRange, cudaError_t(int*, int*));
SAME(cudaRuntimeGetVersion, cudaError_t(int*));
SAME(cudaDriverGetVersion, cudaError_t(int*));
SAME(cudaDeviceSynchronize, cudaError_t());
SAME(cudaGetDriverEntryPointByVersion,
     cudaError_t(const char*, void**, unsigned, unsigned long long,
                 cudaDriverEntryPointQueryResult*));
SAME(cudaMemGetInfo, cudaError_t(size_t*, size_t*));
SAME(cudaMalloc, cudaError_t(void**, size_t));
SAME(cudaMalloc, cudaError_t(float**, size_t));
SAME(cudaFree, cudaError_t(void*));
SAME(cudaMallocAsync, cudaError_t(void**, size_t, cudaStream_t));
SAME(cudaMallocAsync, cudaError_t(float**, size_t, cudaStream_t));
SAME(cudaFreeAsync, cudaError_t(void*, cudaStream_t));
SAME(cudaMallocHost, cudaError_t(void**, size_t));
SAME(cudaMallocHost, cudaError_t(float**, size_t, unsigned));
SAME(cudaHostAlloc, cudaError_t(void**, size_t, unsigned));
SAME(cudaHostAlloc, cudaError_t(float**, size_t, unsigned));
SAME(cudaFreeHost, cudaError_t(void*));
SAME(cudaPointerGetAttributes,
     cudaError_t(cudaPointerAttributes*, const void*));
SAME(cudaMemcpy, cudaError_t(void*, const void*, size_t, cudaMemcpyKind));
SAME(cudaMemcpyAsync,
     cudaError_t(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t));
SAME(cudaMemcpy2D, cudaError_t(void*, size_t, const void*, size_t, size_t,
                               size_t, cudaMemcpyKind));
SAME(cudaMemcpy2DAsync, cudaError_t(void*, size_t, const void*, size_t, size_t,
                                    size_t, cudaMemcpyKind, cudaStream_t));
SAME(cudaMemset, cudaError_t(void*, int, size_t));
SAME(cudaMemsetAsync, cudaError_t(void*, int, size_t, cudaStream_t));
SAME(cudaStreamCreate, cudaError_t(cudaStream_t*));
SAME(cudaStreamCreateWithFlags, cudaError_t(cudaStream_t*, unsigned));
SAME(cudaStreamCreateWithPriority, cudaError_t(cudaStream_t*, unsigned, int));
SAME(cudaStreamDestroy, cudaError_t(cudaStream_t));
SAME(cudaStreamSynchronize, cudaError_t(cudaStream_t));
SAME(cudaStreamQuery, cudaError_t(cudaStream_t));
SAME(cudaStreamWaitEvent, cudaError_t(cudaStream_t, cudaEvent_t, unsigned));
SAME(cudaLaunchHostFunc, cudaError_t(cudaStream_t, cudaHostFn_t, void*));
SAME(cudaEventCreate, cudaError_t(cudaEvent_t*));
SAME(cudaEventCreate, cudaError_t(cudaEvent_t*, unsigned));
SAME(cudaEventCreateWithFlags, cudaError_t(cudaEvent_t*, unsigned));
SAME(cudaEventDestroy, cudaError_t(cudaEvent_t));
SAME(cudaEventRecord, cudaError_t(cudaEvent_t, cudaStream_t));
SAME(cudaEventSynchronize, cudaError_t(cudaEvent_t));
SAME(cudaEventQuery, cudaError_t(cudaEvent_t));
SAME(cudaEventElapsedTime, cudaError_t(float*, cudaEvent_t, cudaEvent_t));
SAME(cudaFuncSetAttribute, cudaError_t(const void*, cudaFuncAttribute, int));
SAME(cudaFuncGetAttributes, cudaError_t(cudaFuncAttributes*, const void*));
SAME(cudaStreamBeginCapture, cudaError_t(cudaStream_t, cudaStreamCaptureMode));
SAME(cudaStreamEndCapture, cudaError_t(cudaStream_t, cudaGraph_t*));
SAME(cudaStreamIsCapturing,
     cudaError_t(cudaStream_t, cudaStreamCaptureStatus*));
SAME(cudaGraphGetNodes, cudaError_t(cudaGraph_t, cudaGraphNode_t*, size_t*));
SAME(cudaGraphInstantiate,
     cudaError_t(cudaGraphExec_t*, cudaGraph_t, unsigned long long));
SAME(cudaGraphExecUpdate,
     cudaError_t(cudaGraphExec_t, cudaGraph_t, cudaGraphExecUpdateResultInfo*));
SAME(cudaGraphUpload, cudaError_t(cudaGraphExec_t, cudaStream_t));
SAME(cudaGraphLaunch, cudaError_t(cudaGraphExec_t, cudaStream_t));
SAME(cudaGraphExecDestroy, cudaError_t(cudaGraphExec_t));
SAME(cudaGraphDestroy, cudaError_t(cudaGraph_t));

SAME(cuTensorMapEncodeTiled,
     CUresult(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
              const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
              const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
              CUtensorMapL2promotion, CUtensorMapFloatOOBfill));

SAME(cublasLtCreate, cublasStatus_t(cublasLtHandle_t*));
SAME(cublasLtDestroy, cublasStatus_t(cublasLtHandle_t));
SAME(cublasLtGetStatusName, const char*(cublasStatus_t));
SAME(cublasLtGetStatusString, const char*(cublasStatus_t));
SAME(cublasLtGetVersion, size_t());
SAME(cublasLtMatrixLayoutCreate,
     cublasStatus_t(cublasLtMatrixLayout_t*, cudaDataType, uint64_t, uint64_t,
                    int64_t));
SAME(cublasLtMatrixLayoutDestroy, cublasStatus_t(cublasLtMatrixLayout_t));
SAME(cublasLtMatrixLayoutSetAttribute,
     cublasStatus_t(cublasLtMatrixLayout_t, cublasLtMatrixLayoutAttribute_t,
                    const void*, size_t));
SAME(cublasLtMatmulDescCreate,
     cublasStatus_t(cublasLtMatmulDesc_t*, cublasComputeType_t,
                    cudaDataType_t));
SAME(cublasLtMatmulDescDestroy, cublasStatus_t(cublasLtMatmulDesc_t));
SAME(cublasLtMatmulDescSetAttribute,
     cublasStatus_t(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t,
                    const void*, size_t));
SAME(cublasLtMatmulPreferenceCreate,
     cublasStatus_t(cublasLtMatmulPreference_t*));
SAME(cublasLtMatmulPreferenceDestroy,
     cublasStatus_t(cublasLtMatmulPreference_t));
SAME(cublasLtMatmulPreferenceSetAttribute,
     cublasStatus_t(cublasLtMatmulPreference_t,
                    cublasLtMatmulPreferenceAttributes_t, const void*, size_t));
SAME(cublasLtMatmulAlgoGetHeuristic,
     cublasStatus_t(cublasLtHandle_t, cublasLtMatmulDesc_t,
                    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                    cublasLtMatmulPreference_t, int,
                    cublasLtMatmulHeuristicResult_t*, int*));
SAME(cublasLtMatmul,
     cublasStatus_t(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*,
                    const void*, cublasLtMatrixLayout_t, const void*,
                    cublasLtMatrixLayout_t, const void*, const void*,
                    cublasLtMatrixLayout_t, void*, cublasLtMatrixLayout_t,
                    const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t));

#undef SAME

// ---- values

static_assert(cudaSuccess == 0);
static_assert(cudaErrorInvalidValue == 1);
static_assert(cudaErrorMemoryAllocation == 2);
static_assert(cudaErrorInitializationError == 3);
static_assert(cudaErrorInvalidConfiguration == 9);
static_assert(cudaErrorInvalidPitchValue == 12);
static_assert(cudaErrorInvalidDevicePointer == 17);
static_assert(cudaErrorInvalidMemcpyDirection == 21);
static_assert(cudaErrorInsufficientDriver == 35);
static_assert(cudaErrorInvalidDeviceFunction == 98);
static_assert(cudaErrorNoDevice == 100);
static_assert(cudaErrorInvalidDevice == 101);
static_assert(cudaErrorNoKernelImageForDevice == 209);
static_assert(cudaErrorECCUncorrectable == 214);
static_assert(cudaErrorInvalidResourceHandle == 400);
static_assert(cudaErrorIllegalState == 401);
static_assert(cudaErrorNotReady == 600);
static_assert(cudaErrorIllegalAddress == 700);
static_assert(cudaErrorLaunchOutOfResources == 701);
static_assert(cudaErrorLaunchTimeout == 702);
static_assert(cudaErrorAssert == 710);
static_assert(cudaErrorHardwareStackError == 714);
static_assert(cudaErrorIllegalInstruction == 715);
static_assert(cudaErrorMisalignedAddress == 716);
static_assert(cudaErrorLaunchFailure == 719);
static_assert(cudaErrorNotPermitted == 800);
static_assert(cudaErrorNotSupported == 801);
static_assert(cudaErrorStreamCaptureUnsupported == 900);
static_assert(cudaErrorStreamCaptureInvalidated == 901);
static_assert(cudaErrorStreamCaptureMerge == 902);
static_assert(cudaErrorStreamCaptureUnmatched == 903);
static_assert(cudaErrorStreamCaptureUnjoined == 904);
static_assert(cudaErrorStreamCaptureIsolation == 905);
static_assert(cudaErrorStreamCaptureImplicit == 906);
static_assert(cudaErrorCapturedEvent == 907);
static_assert(cudaErrorStreamCaptureWrongThread == 908);
static_assert(cudaErrorGraphExecUpdateFailure == 910);
static_assert(cudaErrorUnknown == 999);

static_assert(cudaStreamDefault == 0 && cudaStreamNonBlocking == 1);
static_assert(cudaEventDefault == 0 && cudaEventBlockingSync == 1);
static_assert(cudaEventDisableTiming == 2 && cudaEventInterprocess == 4);
static_assert(cudaHostAllocDefault == 0 && cudaHostAllocPortable == 1);
static_assert(cudaHostAllocMapped == 2 && cudaHostAllocWriteCombined == 4);
static_assert(cudaMemcpyHostToHost == 0 && cudaMemcpyHostToDevice == 1);
static_assert(cudaMemcpyDeviceToHost == 2 && cudaMemcpyDeviceToDevice == 3);
static_assert(cudaMemcpyDefault == 4);
static_assert(cudaMemoryTypeUnregistered == 0 && cudaMemoryTypeHost == 1);
static_assert(cudaMemoryTypeDevice == 2 && cudaMemoryTypeManaged == 3);
static_assert(cudaStreamCaptureStatusNone == 0);
static_assert(cudaStreamCaptureStatusActive == 1);
static_assert(cudaStreamCaptureStatusInvalidated == 2);
static_assert(cudaStreamCaptureModeGlobal == 0);
static_assert(cudaStreamCaptureModeThreadLocal == 1);
static_assert(cudaStreamCaptureModeRelaxed == 2);
static_assert(cudaFuncAttributeMaxDynamicSharedMemorySize == 8);
static_assert(cudaFuncAttributePreferredSharedMemoryCarveout == 9);
static_assert(cudaLaunchAttributeIgnore == 0);
static_assert(cudaLaunchAttributeCooperative == 2);
static_assert(cudaLaunchAttributeClusterDimension == 4);
static_assert(cudaLaunchAttributeProgrammaticStreamSerialization == 6);
static_assert(cudaLaunchAttributePriority == 8);
static_assert(sizeof(cudaLaunchAttribute) == 72);
static_assert(sizeof(cudaLaunchConfig_t) == 56);
static_assert(cudaGraphExecUpdateSuccess == 0);
static_assert(cudaGraphExecUpdateError == 1);
static_assert(cudaGraphExecUpdateErrorTopologyChanged == 2);
static_assert(cudaGraphExecUpdateErrorNodeTypeChanged == 3);
static_assert(cudaGraphExecUpdateErrorFunctionChanged == 4);
static_assert(cudaGraphExecUpdateErrorParametersChanged == 5);

static_assert(cudaEnableDefault == 0 && cudaDriverEntryPointSuccess == 0);
static_assert(cudaDriverEntryPointSymbolNotFound == 1);
static_assert(CUDA_SUCCESS == 0 && CUDA_ERROR_INVALID_VALUE == 1);
static_assert(sizeof(CUtensorMap) == 128);
static_assert(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 == 9);
static_assert(CU_TENSOR_MAP_INTERLEAVE_NONE == 0);
static_assert(CU_TENSOR_MAP_SWIZZLE_NONE == 0);
static_assert(CU_TENSOR_MAP_SWIZZLE_128B == 3);
static_assert(CU_TENSOR_MAP_L2_PROMOTION_NONE == 0);
static_assert(CU_TENSOR_MAP_L2_PROMOTION_L2_128B == 2);
static_assert(CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE == 0);
static_assert(sizeof(cudaFuncAttributes::maxThreadsPerBlock) == 4);

static_assert(cudaDevAttrMaxThreadsPerBlock == 1);
static_assert(cudaDevAttrMaxBlockDimX == 2 && cudaDevAttrMaxBlockDimY == 3);
static_assert(cudaDevAttrMaxBlockDimZ == 4 && cudaDevAttrMaxGridDimX == 5);
static_assert(cudaDevAttrMaxGridDimY == 6 && cudaDevAttrMaxGridDimZ == 7);
static_assert(cudaDevAttrMaxSharedMemoryPerBlock == 8);
static_assert(cudaDevAttrWarpSize == 10);
static_assert(cudaDevAttrMaxRegistersPerBlock == 12);
static_assert(cudaDevAttrMultiProcessorCount == 16);
static_assert(cudaDevAttrL2CacheSize == 38);
static_assert(cudaDevAttrMaxThreadsPerMultiProcessor == 39);
static_assert(cudaDevAttrUnifiedAddressing == 41);
static_assert(cudaDevAttrComputeCapabilityMajor == 75);
static_assert(cudaDevAttrComputeCapabilityMinor == 76);
static_assert(cudaDevAttrMaxSharedMemoryPerMultiprocessor == 81);
static_assert(cudaDevAttrMaxRegistersPerMultiprocessor == 82);
static_assert(cudaDevAttrMaxSharedMemoryPerBlockOptin == 97);
static_assert(cudaDevAttrMaxBlocksPerMultiprocessor == 106);
static_assert(cudaDevAttrReservedSharedMemoryPerBlock == 111);
static_assert(cudaDevAttrMemoryPoolsSupported == 115);

static_assert(CUDA_R_32F == 0 && CUDA_R_64F == 1 && CUDA_R_16F == 2);
static_assert(CUDA_R_8I == 3 && CUDA_R_32I == 10 && CUDA_R_16BF == 14);
static_assert(CUDA_R_8F_E4M3 == 28 && CUDA_R_8F_E5M2 == 29);
static_assert(CUBLAS_STATUS_SUCCESS == 0);
static_assert(CUBLAS_STATUS_NOT_INITIALIZED == 1);
static_assert(CUBLAS_STATUS_ALLOC_FAILED == 3);
static_assert(CUBLAS_STATUS_INVALID_VALUE == 7);
static_assert(CUBLAS_STATUS_ARCH_MISMATCH == 8);
static_assert(CUBLAS_STATUS_MAPPING_ERROR == 11);
static_assert(CUBLAS_STATUS_EXECUTION_FAILED == 13);
static_assert(CUBLAS_STATUS_INTERNAL_ERROR == 14);
static_assert(CUBLAS_STATUS_NOT_SUPPORTED == 15);
static_assert(CUBLAS_STATUS_LICENSE_ERROR == 16);
static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1 && CUBLAS_OP_C == 2);
static_assert(CUBLAS_COMPUTE_16F == 64 && CUBLAS_COMPUTE_16F_PEDANTIC == 65);
static_assert(CUBLAS_COMPUTE_32F == 68 && CUBLAS_COMPUTE_32F_PEDANTIC == 69);
static_assert(CUBLAS_COMPUTE_64F == 70 && CUBLAS_COMPUTE_64F_PEDANTIC == 71);
static_assert(CUBLAS_COMPUTE_32I == 72 && CUBLAS_COMPUTE_32I_PEDANTIC == 73);
static_assert(CUBLAS_COMPUTE_32F_FAST_16F == 74);
static_assert(CUBLAS_COMPUTE_32F_FAST_16BF == 75);
static_assert(CUBLAS_COMPUTE_32F_FAST_TF32 == 77);
static_assert(CUBLASLT_POINTER_MODE_HOST == 0);
static_assert(CUBLASLT_POINTER_MODE_DEVICE == 1);
static_assert(CUBLASLT_POINTER_MODE_DEVICE_VECTOR == 2);
static_assert(CUBLASLT_ORDER_COL == 0 && CUBLASLT_ORDER_ROW == 1);
static_assert(CUBLASLT_ORDER_COL32 == 2);
static_assert(CUBLASLT_MATRIX_LAYOUT_TYPE == 0);
static_assert(CUBLASLT_MATRIX_LAYOUT_ORDER == 1);
static_assert(CUBLASLT_MATRIX_LAYOUT_ROWS == 2);
static_assert(CUBLASLT_MATRIX_LAYOUT_COLS == 3);
static_assert(CUBLASLT_MATRIX_LAYOUT_LD == 4);
static_assert(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT == 5);
static_assert(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET == 6);
static_assert(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE == 0);
static_assert(CUBLASLT_MATMUL_DESC_SCALE_TYPE == 1);
static_assert(CUBLASLT_MATMUL_DESC_POINTER_MODE == 2);
static_assert(CUBLASLT_MATMUL_DESC_TRANSA == 3);
static_assert(CUBLASLT_MATMUL_DESC_TRANSB == 4);
static_assert(CUBLASLT_MATMUL_DESC_TRANSC == 5);
static_assert(CUBLASLT_MATMUL_DESC_EPILOGUE == 7);
static_assert(CUBLASLT_MATMUL_DESC_BIAS_POINTER == 8);
static_assert(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE == 10);
static_assert(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE == 26);
static_assert(CUBLASLT_EPILOGUE_DEFAULT == 1 && CUBLASLT_EPILOGUE_RELU == 2);
static_assert(CUBLASLT_EPILOGUE_BIAS == 4 && CUBLASLT_EPILOGUE_RELU_BIAS == 6);
static_assert(CUBLASLT_EPILOGUE_GELU == 32);
static_assert(CUBLASLT_EPILOGUE_GELU_BIAS == 36);
static_assert(CUBLASLT_MATMUL_PREF_SEARCH_MODE == 0);
static_assert(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == 1);
static_assert(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK == 3);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES == 5);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES == 6);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES == 7);
static_assert(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES == 8);
static_assert(sizeof(cublasLtMatrixLayoutOpaque_t) == 64);
static_assert(sizeof(cublasLtMatmulDescOpaque_t) == 256);
static_assert(sizeof(cublasLtMatmulPreferenceOpaque_t) == 64);
static_assert(sizeof(cublasLtMatmulAlgo_t) == 64);
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) == 64);
static_assert(offsetof(cublasLtMatmulHeuristicResult_t, state) == 72);
static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == 96);

// ---- default arguments, fields and templates, as callers write them

void Kernel(const float*, float*, int) {}

[[maybe_unused]] cudaError_t Use(cudaStream_t stream, cudaEvent_t event) {
  float* p = nullptr;
  cudaMalloc(&p, 16);
  cudaMallocAsync(&p, 16, stream);
  cudaMallocHost(&p, 16);
  cudaMemcpyAsync(p, p, 0, cudaMemcpyDefault);
  cudaMemsetAsync(p, 0, 16);
  cudaMemcpy2DAsync(p, 4, p, 4, 4, 1, cudaMemcpyDefault);
  cudaEventRecord(event);
  cudaStreamWaitEvent(stream, event);
  cudaStreamSynchronize(cudaStreamLegacy);

  cudaDeviceProp prop;
  cudaGetDeviceProperties(&prop, 0);
  static_assert(sizeof(prop.name) == 256);
  [[maybe_unused]] const size_t bytes =
      prop.totalGlobalMem + prop.sharedMemPerBlock +
      prop.sharedMemPerBlockOptin + prop.sharedMemPerMultiprocessor +
      prop.reservedSharedMemPerBlock;
  [[maybe_unused]] const int figures =
      prop.major + prop.minor + prop.multiProcessorCount + prop.warpSize +
      prop.maxThreadsPerBlock + prop.maxThreadsDim[2] + prop.maxGridSize[2] +
      prop.regsPerBlock + prop.regsPerMultiprocessor + prop.l2CacheSize +
      prop.memoryBusWidth + prop.maxThreadsPerMultiProcessor +
      prop.maxBlocksPerMultiProcessor + prop.concurrentKernels +
      prop.unifiedAddressing + prop.pciBusID + prop.pciDeviceID +
      prop.pciDomainID;
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, p);
  [[maybe_unused]] const bool is_device =
      attributes.type == cudaMemoryTypeDevice && attributes.device == 0 &&
      attributes.devicePointer == p && attributes.hostPointer == nullptr;

  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  attribute.val.clusterDim.x = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(1, 2, 3);
  config.blockDim = 32;
  config.dynamicSmemBytes = 1024;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  cudaFuncSetAttribute(reinterpret_cast<const void*>(&Kernel),
                       cudaFuncAttributeMaxDynamicSharedMemorySize, 1024);
  return cudaLaunchKernelEx(&config, Kernel, p, p, 3);
}

[[maybe_unused]] void UseGraph(cudaGraph_t graph) {
  cudaGraphExec_t exec;
  cudaGraphInstantiate(&exec, graph);
  cudaGraphExecUpdateResultInfo info;
  cudaGraphExecUpdate(exec, graph, &info);
  [[maybe_unused]] const bool is_same =
      info.result == cudaGraphExecUpdateSuccess && info.errorNode == nullptr;
}

}  // namespace
