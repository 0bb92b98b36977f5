// Tested by tests/cuda/backend_parts_test.cc.
//
// cuBLASLt's matrices stand in columns: rows of ours are columns of its, so it
// is asked for y^T = w x^T, w transposed as it lies.
#include "runtime/cuda/gemm.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr int64_t kAlignment = 16;  // more of it makes nothing faster

cudaDataType TypeOf(kernels::DType type) {
  return type == kernels::DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

// What all of an operand's matrices are aligned to, in bytes.
int64_t AlignmentOf(const GemmOperand& x, kernels::DType type) {
  const auto address =
      reinterpret_cast<uintptr_t>(x.data) |
      static_cast<uint64_t>(x.batch_stride) * kernels::SizeOf(type) |
      static_cast<uintptr_t>(kAlignment);
  return static_cast<int64_t>(address & -address);
}

}  // namespace

Gemm::Gemm(Device& device) : device_(device), workspace_(device) {
  device_.Check(cublasLtCreate(&handle_), "cublasLtCreate");
  device_.Check(cublasLtMatmulPreferenceCreate(&preference_),
                "cublasLtMatmulPreferenceCreate");
  workspace_.Reserve<char>(kWorkspaceBytes);
}

Gemm::~Gemm() {
  for (auto& [key, product] : products_) Destroy(product);
  if (preference_ != nullptr) cublasLtMatmulPreferenceDestroy(preference_);
  if (handle_ != nullptr) cublasLtDestroy(handle_);
}

void Gemm::Destroy(Product& product) {
  for (cublasLtMatrixLayout_t layout : {product.w, product.x, product.y}) {
    if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
  }
  if (product.desc != nullptr) cublasLtMatmulDescDestroy(product.desc);
}

Gemm::Key Gemm::KeyOf(const GemmArgs& a) {
  return {a.rows,
          a.outputs,
          a.inputs,
          a.batch,
          static_cast<int64_t>(a.in),
          static_cast<int64_t>(a.out),
          a.add,
          a.bias != nullptr,
          a.x.stride,
          a.x.batch_stride,
          AlignmentOf(a.x, a.in),
          a.w.stride,
          a.w.batch_stride,
          AlignmentOf(a.w, a.in),
          a.y.stride,
          a.y.batch_stride,
          AlignmentOf(a.y, a.out)};
}

bool Gemm::Describe(const GemmArgs& a, const Key& key, Product& p) {
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    return device_.Check(cublasLtMatmulDescSetAttribute(p.desc, attribute,
                                                        &value, sizeof(value)),
                         "cublasLtMatmulDescSetAttribute");
  };
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute,
                          auto value) {
    return device_.Check(cublasLtMatmulPreferenceSetAttribute(
                             preference_, attribute, &value, sizeof(value)),
                         "cublasLtMatmulPreferenceSetAttribute");
  };
  const auto layout = [&](cublasLtMatrixLayout_t* to, kernels::DType type,
                          int rows, int cols, const GemmOperand& x) {
    const int32_t batch = a.batch;
    return device_.Check(cublasLtMatrixLayoutCreate(to, TypeOf(type), rows,
                                                    cols, x.stride),
                         "cublasLtMatrixLayoutCreate") &&
           device_.Check(cublasLtMatrixLayoutSetAttribute(
                             *to, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                             sizeof(batch)),
                         "cublasLtMatrixLayoutSetAttribute") &&
           device_.Check(cublasLtMatrixLayoutSetAttribute(
                             *to, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                             &x.batch_stride, sizeof(x.batch_stride)),
                         "cublasLtMatrixLayoutSetAttribute");
  };
  const auto alignment = [](int64_t bytes) {
    return static_cast<uint32_t>(bytes);
  };
  const uint32_t epilogue =
      a.bias != nullptr ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (!device_.Check(
          cublasLtMatmulDescCreate(&p.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate") ||
      !set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t{CUBLAS_OP_T}) ||
      !set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue) ||
      !set(CUBLASLT_MATMUL_DESC_BIAS_POINTER,
           static_cast<const void*>(a.bias)) ||
      !layout(&p.w, a.in, a.inputs, a.outputs, a.w) ||
      !layout(&p.x, a.in, a.inputs, a.rows, a.x) ||
      !layout(&p.y, a.out, a.outputs, a.rows, a.y) ||
      !prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
              uint64_t{kWorkspaceBytes}) ||
      !prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(key[13])) ||
      !prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(key[10])) ||
      !prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(key[16])) ||
      !prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(key[16]))) {
    return false;
  }
  cublasLtMatmulHeuristicResult_t chosen = {};
  int found = 0;
  if (!device_.Check(
          cublasLtMatmulAlgoGetHeuristic(handle_, p.desc, p.w, p.x, p.y, p.y,
                                         preference_, 1, &chosen, &found),
          "cublasLtMatmulAlgoGetHeuristic")) {
    return false;
  }
  if (found == 0) {
    device_.Fail(absl::UnimplementedError(
        absl::StrCat("cuBLASLt has no kernel for ", a.rows, " rows of ",
                     a.inputs, " inputs and ", a.outputs, " outputs")));
    return false;
  }
  p.algo = chosen.algo;
  return true;
}

Gemm::Product* Gemm::Find(const GemmArgs& args) {
  const Key key = KeyOf(args);
  const auto known = products_.find(key);
  if (known != products_.end()) return &known->second;
  Product product;
  if (!Describe(args, key, product)) {
    Destroy(product);
    return nullptr;
  }
  return &products_.emplace(key, product).first->second;
}

void Gemm::Run(const GemmArgs& args) {
  if (!device_.ok()) return;
  Product* p = Find(args);
  if (p == nullptr) return;
  if (args.bias != nullptr) {
    const void* bias = args.bias;
    device_.Check(
        cublasLtMatmulDescSetAttribute(
            p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)),
        "cublasLtMatmulDescSetAttribute");
  }
  const float alpha = 1.0f, beta = args.add ? 1.0f : 0.0f;
  device_.Check(
      cublasLtMatmul(handle_, p->desc, &alpha, args.w.data, p->w, args.x.data,
                     p->x, &beta, args.y.data, p->y, args.y.data, p->y,
                     &p->algo, workspace_.data<void>(), workspace_.bytes(),
                     device_.stream()),
      "cublasLtMatmul");
}

}  // namespace mla::runtime
