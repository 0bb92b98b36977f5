// The calls of cuBLASLt: the handle, the choice of an algorithm, the matmul.
//
// An algorithm here is what its caller relied on when it was chosen: the
// problem, the workspace, the alignments. Matmul holds its caller to that.
//
// Tested by tests/cuda/cublaslt_standin_test.cc, cublaslt_rules_test.cc.
#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "cuda_host/cublaslt_call.h"
#include "cuda_host/cublaslt_problem.h"
#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

struct cublasLtContext {
  int device = 0;
};

namespace cuda_host {
namespace {

// Guarded by the runtime's lock.
std::set<cublasLtHandle_t>& Handles() {
  static auto* const handles = new std::set<cublasLtHandle_t>;
  return *handles;
}

Verdict ReadProblem(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                    cublasLtMatrixLayout_t d, Problem* p) {
  if (!Read(desc, &p->desc) || !Read(a, &p->a) || !Read(b, &p->b) ||
      !Read(c, &p->c) || !Read(d, &p->d)) {
    return Invalid("a descriptor that was never made, or destroyed");
  }
  return CheckShapes(*p);
}

// What a fast algorithm would like: partial sums of D.
uint64_t WantedWorkspace(const Problem& p) {
  const uint64_t bytes = p.m() * p.n() * p.d.batch * sizeof(float);
  return std::min((bytes + 255) / 256 * 256, uint64_t{4} << 20);
}

Verdict Choose(const Problem& p, const PreferenceData& preference,
               int requested, cublasLtMatmulHeuristicResult_t* results,
               int* count) {
  const LayoutData* layouts[4] = {&p.a, &p.b, &p.c, &p.d};
  for (int i = 0; i < 4; ++i) {
    if (preference.alignments.bytes[i] < layouts[i]->element()) {
      return {CUBLAS_STATUS_NOT_SUPPORTED, "alignments less than elements"};
    }
  }
  for (uint64_t workspace : {WantedWorkspace(p), uint64_t{0}}) {
    if (workspace > preference.workspace_bytes || *count == requested) continue;
    AlgoData algo;
    algo.fingerprint = p.Fingerprint();
    algo.workspace_bytes = workspace;
    algo.alignments = preference.alignments;
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {};
    result.workspaceSize = workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1;
    Write(algo, &result.algo);
  }
  return {};
}

Verdict CheckWorkspace(Context& c, uint64_t needed, const void* workspace,
                       size_t bytes) {
  if (bytes < needed) {
    return Invalid("a workspace of ", bytes, " bytes, of ", needed,
                   " that the algorithm takes");
  }
  if (bytes == 0) return {};
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0) {
    return Invalid("the workspace is not at a multiple of 256 bytes");
  }
  const std::string wrong =
      c.memory.Check(workspace, bytes, MemoryKind::kDevice, Moment::kCall);
  return wrong.empty() ? Verdict{} : Invalid("workspace: ", wrong);
}

int SplitOf(const Context& c, const Problem& p) {
  constexpr int kSplits[] = {1, 2, 4};
  return c.settings.split_gemms ? kSplits[p.Fingerprint() % 3] : 1;
}

float ReadScalar(const void* p) {
  float value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// `alpha` and `beta` are the host's values, if the pointer mode is the host's.
Work MakeWork(Context& c, const Problem& p, const Operands& o, float alpha,
              float beta, void* workspace, uint64_t workspace_bytes) {
  Work work;
  work.kind = Work::Kind::kMatmul;
  work.name = Text("cublasLtMatmul, m = ", p.m(), ", n = ", p.n(),
                   ", k = ", p.k(), ", batch = ", p.d.batch);
  work.run = [&c, p, o, alpha, beta, workspace, workspace_bytes] {
    const std::string wrong = CheckLive(c.memory, p, o, Moment::kRun);
    if (!wrong.empty()) throw Fault(cudaErrorIllegalAddress, wrong);
    const bool on_device = p.desc.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE;
    if (workspace_bytes > 0) std::memset(workspace, 0xFF, workspace_bytes);
    Compute(p, o, on_device ? ReadScalar(o.alpha) : alpha,
            on_device ? ReadScalar(o.beta) : beta, SplitOf(c, p));
    ++c.counters.matmuls_executed;
  };
  return work;
}

Verdict Matmul(Context& c, cublasLtHandle_t handle, const Problem& p,
               const Operands& o, const cublasLtMatmulAlgo_t* algo,
               void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  const CUstream_st* s = c.Resolve(stream);
  if (s == nullptr || Handles().count(handle) == 0 ||
      s->device != handle->device) {
    return Invalid("no such handle or stream, or of two devices");
  }
  AlgoData chosen;
  if (algo == nullptr) {
    // The library looks for one that takes these operands as they are.
    chosen.alignments = {{16, 16, 16, 16}};
  } else if (!Read(algo, &chosen)) {
    return Invalid("the algorithm is none that the heuristic gave");
  } else if (chosen.fingerprint != p.Fingerprint()) {
    return Invalid("the algorithm was chosen for another problem");
  }
  Verdict v = CheckMemory(c.memory, p, o, chosen.alignments);
  if (v.ok()) {
    v = CheckWorkspace(c, chosen.workspace_bytes, workspace, workspace_bytes);
  }
  if (!v.ok()) return v;
  const int due = Context::Due(c.matmul_injections, "");
  if (due != 0) {
    return {static_cast<cublasStatus_t>(due),
            "a failure that the test asked for"};
  }
  if (!IsAligned(p, o)) ++c.counters.matmuls_unaligned;
  const bool on_host = p.desc.pointer_mode == CUBLASLT_POINTER_MODE_HOST;
  const float alpha = on_host ? ReadScalar(o.alpha) : 0;
  const float beta = on_host ? ReadScalar(o.beta) : 0;
  const cudaError_t code = c.Enqueue(
      stream,
      MakeWork(c, p, o, alpha, beta, workspace, chosen.workspace_bytes));
  if (code != cudaSuccess) return {StatusOf(code), c.message};
  return {};
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Context;
using cuda_host::Invalid;
using cuda_host::Lt;
using cuda_host::Needs;
using cuda_host::PreferenceData;
using cuda_host::Problem;
using cuda_host::Verdict;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* lightHandle) {
  return Lt("cublasLtCreate", [&](Context& c) -> Verdict {
    if (lightHandle == nullptr) return Invalid("null");
    if (c.RefuseUnderCapture("cublasLtCreate") != cudaSuccess) {
      return {CUBLAS_STATUS_NOT_INITIALIZED, c.message};
    }
    *lightHandle = new cublasLtContext{cuda_host::CurrentDevice()};
    cuda_host::Handles().insert(*lightHandle);
    ++c.counters.cublaslt_objects;
    return {};
  });
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle) {
  return Lt(
      "cublasLtDestroy",
      [&](Context& c) -> Verdict {
        if (cuda_host::Handles().erase(lightHandle) == 0) {
          return Invalid("no such handle");
        }
        delete lightHandle;
        --c.counters.cublaslt_objects;
        return {};
      },
      Needs::kNothing);
}

size_t cublasLtGetVersion(void) { return 130100; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_LICENSE_ERROR:
      return "CUBLAS_STATUS_LICENSE_ERROR";
  }
  return "CUBLAS_STATUS_UNKNOWN";
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return cublasLtGetStatusName(status);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc,
    cublasLtMatrixLayout_t Adesc, cublasLtMatrixLayout_t Bdesc,
    cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
    cublasLtMatmulPreference_t preference, int requestedAlgoCount,
    cublasLtMatmulHeuristicResult_t heuristicResultsArray[],
    int* returnAlgoCount) {
  return Lt("cublasLtMatmulAlgoGetHeuristic", [&](Context&) -> Verdict {
    PreferenceData data;
    if (cuda_host::Handles().count(lightHandle) == 0 ||
        !cuda_host::Read(preference, &data) || requestedAlgoCount < 1 ||
        heuristicResultsArray == nullptr || returnAlgoCount == nullptr) {
      return Invalid("no such handle or preference, or nowhere for a result");
    }
    *returnAlgoCount = 0;
    Problem p;
    const Verdict v =
        cuda_host::ReadProblem(operationDesc, Adesc, Bdesc, Cdesc, Ddesc, &p);
    if (!v.ok()) return v;
    return cuda_host::Choose(p, data, requestedAlgoCount, heuristicResultsArray,
                             returnAlgoCount);
  });
}

cublasStatus_t cublasLtMatmul(
    cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc,
    const void* alpha, const void* A, cublasLtMatrixLayout_t Adesc,
    const void* B, cublasLtMatrixLayout_t Bdesc, const void* beta,
    const void* C, cublasLtMatrixLayout_t Cdesc, void* D,
    cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t* algo,
    void* workspace, size_t workspaceSizeInBytes, cudaStream_t stream) {
  return Lt("cublasLtMatmul", [&](Context& c) {
    Problem p;
    const Verdict v =
        cuda_host::ReadProblem(computeDesc, Adesc, Bdesc, Cdesc, Ddesc, &p);
    if (!v.ok()) return v;
    return cuda_host::Matmul(c, lightHandle, p, {alpha, beta, A, B, C, D}, algo,
                             workspace, workspaceSizeInBytes, stream);
  });
}

}  // extern "C"
