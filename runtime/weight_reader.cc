// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/weight_reader.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "kernels/dequantize.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Suffixes of one layer's tensors, Hugging Face -> GGUF. An expert's "%d" has
// no counterpart: GGUF stacks experts in one tensor. Every family's experts are
// asked for by Mixtral's names, since GGUF has one set of them.
constexpr std::pair<const char*, const char*> kGgufNames[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"model.layers.", "blk."},
    {".input_layernorm.", ".attn_norm."},
    {".post_attention_layernorm.", ".ffn_norm."},
    {".self_attn.q_proj.", ".attn_q."},
    {".self_attn.k_proj.", ".attn_k."},
    {".self_attn.v_proj.", ".attn_v."},
    {".self_attn.o_proj.", ".attn_output."},
    {".self_attn.q_norm.", ".attn_q_norm."},
    {".self_attn.k_norm.", ".attn_k_norm."},
    {".self_attn.q_a_proj.", ".attn_q_a."},
    {".self_attn.q_a_layernorm.", ".attn_q_a_norm."},
    {".self_attn.q_b_proj.", ".attn_q_b."},
    {".self_attn.kv_a_proj_with_mqa.", ".attn_kv_a_mqa."},
    {".self_attn.kv_a_layernorm.", ".attn_kv_a_norm."},
    {".self_attn.kv_b_proj.", ".attn_kv_b."},
    {".self_attn.k_b_proj.", ".attn_k_b."},
    {".self_attn.v_b_proj.", ".attn_v_b."},
    {".mlp.gate_proj.", ".ffn_gate."},
    {".mlp.up_proj.", ".ffn_up."},
    {".mlp.down_proj.", ".ffn_down."},
    {".block_sparse_moe.gate.e_score_correction_bias", ".exp_probs_b.bias"},
    {".block_sparse_moe.gate.", ".ffn_gate_inp."},
    {".block_sparse_moe.shared_experts.gate_proj.", ".ffn_gate_shexp."},
    {".block_sparse_moe.shared_experts.up_proj.", ".ffn_up_shexp."},
    {".block_sparse_moe.shared_experts.down_proj.", ".ffn_down_shexp."},
    {".block_sparse_moe.experts.%d.w1.", ".ffn_gate_exps."},
    {".block_sparse_moe.experts.%d.w2.", ".ffn_down_exps."},
    {".block_sparse_moe.experts.%d.w3.", ".ffn_up_exps."},
};

// The same to the MLRA authors' names (github.com/SongtaoLiu0823/MLRA).
constexpr std::pair<const char*, const char*> kMlraNames[] = {
    {"model.embed_tokens.weight", "transformer.wte.weight"},
    {"model.norm.weight", "layernorm.weight"},
    {"model.layers.", "transformer.h."},
    {".self_attn.", ".attn."},
    {".mlp.gate_proj.", ".mlp.c_fc1."},
    {".mlp.up_proj.", ".mlp.c_fc2."},
    {".mlp.down_proj.", ".mlp.c_proj."},
};

template <typename Names>
std::string Translated(std::string name, const Names& names) {
  for (const auto& [from, to] : names) {
    absl::StrReplaceAll({{from, to}}, &name);
  }
  return name;
}

constexpr int kFp8Block = 128;  // DeepSeek-V3, 2412.19437, section 3.3.2

absl::Status WrongShape(const std::string& name, const TensorView& tensor,
                        absl::Span<const int64_t> wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", name, "': shape ", ShapeToString(tensor.shape),
                   ", the config asks for ", ShapeToString(wanted)));
}

// Integers travel in checkpoints too, but are no weights.
absl::Status CheckWeightType(const std::string& name, kernels::DType type) {
  if (type != kernels::DType::kI32 && type != kernels::DType::kI64) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor '", name, "': type ", kernels::Name(type), " is no weight"));
}

}  // namespace

std::string GgufTensorName(const std::string& name) {
  return Translated(name, kGgufNames);
}

void WeightMatrix::ReadRow(int row, float* dst) const {
  kernels::Dequantize(type_, data_ + row * row_bytes_, cols_, dst);
  if (scales_ == nullptr) return;
  const float* scales = &(*scales_)[size_t(row / kFp8Block) * scale_cols_];
  for (int c = 0; c < cols_; ++c) dst[c] *= scales[c / kFp8Block];
}

absl::StatusOr<const TensorView*> WeightReader::Find(
    const std::string& name) const {
  if (tensors_ != nullptr && absl::StartsWith(name, prefix_)) {
    const auto tensor = tensors_->find(name);
    if (tensor != tensors_->end()) return &tensor->second;
    return absl::NotFoundError(absl::StrCat("no tensor '", name, "'"));
  }
  std::string own = name;
  if (checkpoint_.format() == CheckpointFormat::kGguf) {
    own = GgufTensorName(name);
  } else if (checkpoint_.Find("transformer.h.0.attn.c_proj.weight")) {
    own = Translated(name, kMlraNames);
  }
  return checkpoint_.Get(own);
}

bool WeightReader::Has(const std::string& name) const {
  return Find(name).ok();
}

absl::StatusOr<WeightMatrix> WeightReader::Matrix(const std::string& name,
                                                  int rows, int cols) const {
  ASSIGN_OR_RETURN(const TensorView* tensor, Find(name));
  RETURN_IF_ERROR(CheckWeightType(name, tensor->type));
  if (tensor->shape != std::vector<int64_t>{rows, cols}) {
    return WrongShape(name, *tensor, {rows, cols});
  }
  WeightMatrix matrix;
  matrix.type_ = tensor->type;
  matrix.data_ = tensor->bytes.data();
  matrix.rows_ = rows;
  matrix.cols_ = cols;
  matrix.row_bytes_ = tensor->bytes.size() / rows;
  if (tensor->type == kernels::DType::kF8E4M3) {
    RETURN_IF_ERROR(ReadScales(name, matrix));
  }
  return matrix;
}

absl::Status WeightReader::ReadScales(const std::string& name,
                                      WeightMatrix& matrix) const {
  const auto blocks = [](int n) { return (n + kFp8Block - 1) / kFp8Block; };
  matrix.scale_cols_ = blocks(matrix.cols_);
  ASSIGN_OR_RETURN(
      const WeightMatrix scales,
      Matrix(name + "_scale_inv", blocks(matrix.rows_), matrix.scale_cols_));
  auto values = std::make_shared<std::vector<float>>(size_t(scales.rows()) *
                                                     scales.cols());
  for (int row = 0; row < scales.rows(); ++row) {
    scales.ReadRow(row, &(*values)[size_t(row) * scales.cols()]);
  }
  matrix.scales_ = std::move(values);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> WeightReader::Vector(const std::string& name,
                                                        int size) const {
  ASSIGN_OR_RETURN(const TensorView* tensor, Find(name));
  RETURN_IF_ERROR(CheckWeightType(name, tensor->type));
  if (tensor->shape != std::vector<int64_t>{size}) {
    return WrongShape(name, *tensor, {size});
  }
  std::vector<float> values(size);
  kernels::Dequantize(tensor->type, tensor->bytes.data(), size, values.data());
  return values;
}

absl::StatusOr<WeightMatrix> WeightReader::Expert(const std::string& name,
                                                  int expert, int experts,
                                                  int rows, int cols) const {
  if (checkpoint_.format() != CheckpointFormat::kGguf &&
      absl::StrContains(name, "%d")) {
    return Matrix(absl::StrReplaceAll(name, {{"%d", absl::StrCat(expert)}}),
                  rows, cols);
  }
  ASSIGN_OR_RETURN(const TensorView* tensor, Find(name));
  RETURN_IF_ERROR(CheckWeightType(name, tensor->type));
  if (tensor->type == kernels::DType::kF8E4M3) {
    return absl::UnimplementedError(
        absl::StrCat("tensor '", name, "': stacked experts in f8_e4m3"));
  }
  if (tensor->shape != std::vector<int64_t>{experts, rows, cols}) {
    return WrongShape(name, *tensor, {experts, rows, cols});
  }
  WeightMatrix matrix;
  matrix.type_ = tensor->type;
  const size_t bytes = tensor->bytes.size() / experts;
  matrix.data_ = tensor->bytes.data() + expert * bytes;
  matrix.rows_ = rows;
  matrix.cols_ = cols;
  matrix.row_bytes_ = bytes / rows;
  return matrix;
}

}  // namespace mla::runtime
