// Stand-in for <nccl.h>: what the CUDA backend uses of it, which nccl.cc beside
// this folder executes.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_NCCL_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_NCCL_H_

#include <cuda_runtime.h>

#include <cstddef>

extern "C" {

typedef struct ncclComm* ncclComm_t;

typedef enum {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
} ncclResult_t;

typedef enum { ncclFloat32 = 7, ncclFloat = 7 } ncclDataType_t;

ncclResult_t ncclCommInitAll(ncclComm_t* comm, int ndev, const int* devlist);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* asyncError);
const char* ncclGetErrorString(ncclResult_t result);
ncclResult_t ncclAllGather(const void* sendbuff, void* recvbuff,
                           size_t sendcount, ncclDataType_t datatype,
                           ncclComm_t comm, cudaStream_t stream);

}  // extern "C"

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_NCCL_H_
