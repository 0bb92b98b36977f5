// The rules of cublasLtMatmul that need no memory: the tables of its reference
// page for f32 accumulation, of which bf16 and f32 are here.
//
// Tested by tests/cuda/cublaslt_rules_test.cc.
#include <algorithm>

#include "cuda_host/cublaslt_problem.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

template <typename... Parts>
Verdict Invalid(const Parts&... why) {
  return {CUBLAS_STATUS_INVALID_VALUE, Text(why...)};
}

template <typename... Parts>
Verdict NotSupported(const Parts&... why) {
  return {CUBLAS_STATUS_NOT_SUPPORTED, Text(why...)};
}

Verdict CheckTypes(const Problem& p) {
  if (p.desc.scale != CUDA_R_32F) {
    return NotSupported("scale type ", p.desc.scale, " beside f32 compute");
  }
  const bool is_plain = p.desc.compute == CUBLAS_COMPUTE_32F ||
                        p.desc.compute == CUBLAS_COMPUTE_32F_PEDANTIC;
  const bool is_fast = p.desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                       p.desc.compute == CUBLAS_COMPUTE_32F_FAST_16BF;
  if (!is_plain && !is_fast) {
    return NotSupported("compute type ", p.desc.compute);
  }
  if (p.a.type != p.b.type || p.c.type != p.d.type) {
    return NotSupported("A is of type ", p.a.type, ", B of ", p.b.type,
                        "; C of ", p.c.type, ", D of ", p.d.type);
  }
  const bool is_bf16 = p.a.type == CUDA_R_16BF && is_plain &&
                       (p.d.type == CUDA_R_16BF || p.d.type == CUDA_R_32F);
  const bool is_f32 = p.a.type == CUDA_R_32F && p.d.type == CUDA_R_32F;
  if (!is_bf16 && !is_f32) {
    return NotSupported("inputs of type ", p.a.type, ", output of type ",
                        p.d.type, ", compute type ", p.desc.compute);
  }
  return {};
}

Verdict CheckLayout(const char* name, const LayoutData& x) {
  if (x.order != CUBLASLT_ORDER_COL && x.order != CUBLASLT_ORDER_ROW) {
    return NotSupported(name, ": order ", x.order);
  }
  if (x.rows == 0 || x.cols == 0 || x.rows > INT32_MAX || x.cols > INT32_MAX) {
    return Invalid(name, ": ", x.rows, " by ", x.cols);
  }
  if (x.ld < static_cast<int64_t>(x.run())) {
    return Invalid(name, ": leading dimension ", x.ld, " of ", x.run(),
                   " elements");
  }
  if (x.batch < 1 || x.stride < 0) {
    return Invalid(name, ": batch of ", x.batch, ", stride ", x.stride);
  }
  return {};
}

bool IsOp(int32_t op) {
  return op == CUBLAS_OP_N || op == CUBLAS_OP_T || op == CUBLAS_OP_C;
}

// D's matrices must be apart, or woven into each other's gaps.
bool IsBatchApart(const LayoutData& x) {
  if (x.batch == 1) return true;
  if (x.stride >= static_cast<int64_t>(x.extent())) return true;
  const uint64_t woven = (x.batch - 1) * x.stride + x.run();
  return x.stride >= static_cast<int64_t>(x.run()) &&
         woven <= static_cast<uint64_t>(x.ld);
}

Verdict CheckSizes(const Problem& p) {
  if (!IsOp(p.desc.op_a) || !IsOp(p.desc.op_b)) {
    return Invalid("transposes ", p.desc.op_a, " and ", p.desc.op_b);
  }
  if (p.desc.op_c != CUBLAS_OP_N) return NotSupported("a transposed C");
  const bool turn_a = p.desc.op_a != CUBLAS_OP_N;
  const bool turn_b = p.desc.op_b != CUBLAS_OP_N;
  const uint64_t m = turn_a ? p.a.cols : p.a.rows;
  const uint64_t k = turn_a ? p.a.rows : p.a.cols;
  const uint64_t k_b = turn_b ? p.b.cols : p.b.rows;
  const uint64_t n = turn_b ? p.b.rows : p.b.cols;
  if (k != k_b || p.d.rows != m || p.d.cols != n) {
    return Invalid("op(A) is ", m, " by ", k, ", op(B) ", k_b, " by ", n,
                   ", D ", p.d.rows, " by ", p.d.cols);
  }
  if (p.c.rows != m || p.c.cols != n || p.c.order != p.d.order) {
    return Invalid("C is ", p.c.rows, " by ", p.c.cols, ", D ", m, " by ", n,
                   ", or their orders differ");
  }
  if (p.b.batch != p.a.batch || p.c.batch != p.a.batch ||
      p.d.batch != p.a.batch) {
    return Invalid("batches of ", p.a.batch, ", ", p.b.batch, ", ", p.c.batch,
                   ", ", p.d.batch);
  }
  if (!IsBatchApart(p.d)) {
    return Invalid("D: a batch of stride ", p.d.stride, " overlaps itself");
  }
  return {};
}

Verdict CheckEpilogue(const Problem& p) {
  if (p.desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return {};
  if (!p.desc.has_bias()) {
    return NotSupported("these stand-ins have no epilogue ", p.desc.epilogue);
  }
  if (p.d.order != CUBLASLT_ORDER_COL) {
    return NotSupported("a bias beside rows: it goes along D's columns");
  }
  if (p.desc.bias_type != -1 && p.desc.bias_type != p.d.type) {
    return NotSupported("a bias of type ", p.desc.bias_type, " beside D of ",
                        p.d.type);
  }
  return {};
}

}  // namespace

Verdict CheckShapes(const Problem& p) {
  if (p.desc.pointer_mode != CUBLASLT_POINTER_MODE_HOST &&
      p.desc.pointer_mode != CUBLASLT_POINTER_MODE_DEVICE) {
    return NotSupported("pointer mode ", p.desc.pointer_mode);
  }
  Verdict v = CheckTypes(p);
  if (v.ok()) v = CheckLayout("A", p.a);
  if (v.ok()) v = CheckLayout("B", p.b);
  if (v.ok()) v = CheckLayout("C", p.c);
  if (v.ok()) v = CheckLayout("D", p.d);
  if (v.ok()) v = CheckSizes(p);
  if (v.ok()) v = CheckEpilogue(p);
  return v;
}

uint64_t Problem::Fingerprint() const {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, by words
  auto add = [&hash](uint64_t value) {
    hash = (hash ^ value) * 0x100000001b3;
    hash ^= hash >> 29;
  };
  for (const LayoutData* x : {&a, &b, &c, &d}) {
    for (uint64_t value :
         {uint64_t(x->type), uint64_t(x->order), x->rows, x->cols,
          uint64_t(x->ld), uint64_t(x->stride), uint64_t(x->batch)}) {
      add(value);
    }
  }
  for (int64_t value : {desc.compute, desc.op_a, desc.op_b,
                        static_cast<int32_t>(desc.epilogue)}) {
    add(value);
  }
  return hash;
}

}  // namespace cuda_host
