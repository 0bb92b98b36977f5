// cuBLASLt's descriptors: made, given attributes, destroyed.
// Tested by tests/cuda/cublaslt_rules_test.cc.
#include <cublasLt.h>

#include <cstring>

#include "cuda_host/cublaslt_call.h"
#include "cuda_host/cublaslt_problem.h"

namespace cuda_host {
namespace {

template <typename Data, typename Opaque>
Verdict Create(Context& c, const Data& data, Opaque** out) {
  if (out == nullptr) return Invalid("null");
  *out = new Opaque{};
  Write(data, *out);
  ++c.counters.cublaslt_objects;
  return {};
}

template <typename Data, typename Opaque>
Verdict Destroy(Context& c, Opaque* opaque) {
  Data data;
  if (!Read(opaque, &data)) return Invalid("no such object");
  data.magic = 0;
  Write(data, opaque);
  delete opaque;
  --c.counters.cublaslt_objects;
  return {};
}

// Sets one field from the caller's buffer, whose size must be the field's.
template <typename Field>
Verdict Assign(Field* field, const void* buf, size_t bytes) {
  if (buf == nullptr || bytes != sizeof(Field)) {
    return Invalid("an attribute of ", sizeof(Field), " bytes is given in ",
                   bytes);
  }
  std::memcpy(field, buf, bytes);
  return {};
}

Verdict Set(LayoutData* x, cublasLtMatrixLayoutAttribute_t attr,
            const void* buf, size_t bytes) {
  switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return Assign(&x->type, buf, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return Assign(&x->order, buf, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return Assign(&x->rows, buf, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return Assign(&x->cols, buf, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return Assign(&x->ld, buf, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return Assign(&x->batch, buf, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return Assign(&x->stride, buf, bytes);
  }
  return Invalid("no layout attribute ", static_cast<int>(attr));
}

Verdict Set(DescData* x, cublasLtMatmulDescAttributes_t attr, const void* buf,
            size_t bytes) {
  switch (attr) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return Assign(&x->compute, buf, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return Assign(&x->scale, buf, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return Assign(&x->pointer_mode, buf, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return Assign(&x->op_a, buf, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return Assign(&x->op_b, buf, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return Assign(&x->op_c, buf, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return Assign(&x->epilogue, buf, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return Assign(&x->bias, buf, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return Assign(&x->bias_stride, buf, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return Assign(&x->bias_type, buf, bytes);
  }
  return Invalid("no matmul attribute ", static_cast<int>(attr));
}

Verdict Set(PreferenceData* x, cublasLtMatmulPreferenceAttributes_t attr,
            const void* buf, size_t bytes) {
  uint32_t ignored = 0;
  switch (attr) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return Assign(&ignored, buf, bytes);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Assign(&x->workspace_bytes, buf, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: {
      uint32_t value = 0;
      const Verdict v = Assign(&value, buf, bytes);
      if (!v.ok()) return v;
      if (value == 0 || value > 256 || (value & (value - 1)) != 0) {
        return Invalid("an alignment of ", value, " bytes");
      }
      x->alignments.bytes[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] =
          value;
      return {};
    }
  }
  return Invalid("no preference ", static_cast<int>(attr));
}

template <typename Data, typename Opaque, typename Attribute>
cublasStatus_t SetAttribute(const char* name, Opaque* opaque, Attribute attr,
                            const void* buf, size_t bytes) {
  return Lt(
      name,
      [&](Context&) {
        Data data;
        if (!Read(opaque, &data)) return Invalid("no such object");
        const Verdict v = Set(&data, attr, buf, bytes);
        if (v.ok()) Write(data, opaque);
        return v;
      },
      Needs::kNothing);
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Context;
using cuda_host::DescData;
using cuda_host::LayoutData;
using cuda_host::Lt;
using cuda_host::Needs;
using cuda_host::PreferenceData;

extern "C" {

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* matLayout,
                                          cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld) {
  return Lt(
      "cublasLtMatrixLayoutCreate",
      [&](Context& c) {
        LayoutData data;
        data.type = type;
        data.rows = rows;
        data.cols = cols;
        data.ld = ld;
        return cuda_host::Create(c, data, matLayout);
      },
      Needs::kNothing);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout) {
  return Lt(
      "cublasLtMatrixLayoutDestroy",
      [&](Context& c) { return cuda_host::Destroy<LayoutData>(c, matLayout); },
      Needs::kNothing);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(
    cublasLtMatrixLayout_t matLayout, cublasLtMatrixLayoutAttribute_t attr,
    const void* buf, size_t sizeInBytes) {
  return cuda_host::SetAttribute<LayoutData>("cublasLtMatrixLayoutSetAttribute",
                                             matLayout, attr, buf, sizeInBytes);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* matmulDesc,
                                        cublasComputeType_t computeType,
                                        cudaDataType_t scaleType) {
  return Lt(
      "cublasLtMatmulDescCreate",
      [&](Context& c) {
        DescData data;
        data.compute = computeType;
        data.scale = scaleType;
        return cuda_host::Create(c, data, matmulDesc);
      },
      Needs::kNothing);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc) {
  return Lt(
      "cublasLtMatmulDescDestroy",
      [&](Context& c) { return cuda_host::Destroy<DescData>(c, matmulDesc); },
      Needs::kNothing);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(
    cublasLtMatmulDesc_t matmulDesc, cublasLtMatmulDescAttributes_t attr,
    const void* buf, size_t sizeInBytes) {
  return cuda_host::SetAttribute<DescData>("cublasLtMatmulDescSetAttribute",
                                           matmulDesc, attr, buf, sizeInBytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(
    cublasLtMatmulPreference_t* pref) {
  return Lt(
      "cublasLtMatmulPreferenceCreate",
      [&](Context& c) { return cuda_host::Create(c, PreferenceData{}, pref); },
      Needs::kNothing);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(
    cublasLtMatmulPreference_t pref) {
  return Lt(
      "cublasLtMatmulPreferenceDestroy",
      [&](Context& c) { return cuda_host::Destroy<PreferenceData>(c, pref); },
      Needs::kNothing);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t attr,
    const void* buf, size_t sizeInBytes) {
  return cuda_host::SetAttribute<PreferenceData>(
      "cublasLtMatmulPreferenceSetAttribute", pref, attr, buf, sizeInBytes);
}

}  // extern "C"
