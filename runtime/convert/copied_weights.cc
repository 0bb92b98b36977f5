// Tested by tests/runtime/exact_conversion_test.cc and
// tests/e2e/convert_test.py.
#include "runtime/convert/copied_weights.h"

#include <Eigen/Core>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using RowMajor =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

absl::StatusOr<RowMajor> ReadVector(const WeightReader& reader,
                                    const std::string& name, int size) {
  ASSIGN_OR_RETURN(const std::vector<float> values, reader.Vector(name, size));
  return RowMajor(Eigen::Map<const RowMajor>(values.data(), size, 1));
}

absl::StatusOr<RowMajor> ReadMatrix(const WeightReader& reader,
                                    const std::string& name, int rows,
                                    int cols) {
  ASSIGN_OR_RETURN(const WeightMatrix source, reader.Matrix(name, rows, cols));
  RowMajor m(rows, cols);
  for (int i = 0; i < rows; ++i) source.ReadRow(i, m.row(i).data());
  return m;
}

absl::Status Append(const RowMajor& m, const CopiedWeight& weight,
                    SafetensorsWriter& writer) {
  return writer.Append(weight.SavedName(),
                       {m.data(), static_cast<size_t>(m.size())});
}

// Head by head, with rotated rows and knocking matrices where ours are.
absl::Status CopyHeads(const WeightReader& reader, const CopiedWeight& weight,
                       SafetensorsWriter& writer) {
  absl::StatusOr<RowMajor> read =
      weight.cols == 0
          ? ReadVector(reader, weight.name, weight.rows)
          : ReadMatrix(reader, weight.name, weight.rows, weight.cols);
  RETURN_IF_ERROR(read.status());
  RowMajor& m = *read;
  const int d = weight.head_dim;
  if (weight.pairs) {
    const RowMajor pairs = m;
    for (int first = 0; first < weight.rows; first += d) {
      for (int i = 0; i < d / 2; ++i) {
        m.row(first + i) = pairs.row(first + 2 * i);
        m.row(first + d / 2 + i) = pairs.row(first + 2 * i + 1);
      }
    }
  }
  if (!weight.knock.empty()) {
    ASSIGN_OR_RETURN(const RowMajor knock,
                     ReadMatrix(reader, weight.knock, d, d));
    for (int first = 0; first < weight.rows; first += d) {
      m.middleRows(first, d) =
          (knock.cast<double>() * m.middleRows(first, d).cast<double>())
              .cast<float>()
              .eval();
    }
  }
  return Append(m, weight, writer);
}

}  // namespace

std::string CopiedWeight::SavedName() const {
  if (!saved_name.empty()) return saved_name;
  return absl::StrReplaceAll(name, {{"%d", absl::StrCat(expert)}});
}

std::vector<CopiedWeight> CopiedOfLayer(const ModelConfig& c, int layer) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const int hidden = c.hidden_size;
  const int inner = c.intermediate_size;
  std::vector<CopiedWeight> weights = {
      {prefix + "input_layernorm.weight", hidden},
      {prefix + "post_attention_layernorm.weight", hidden}};
  if (!c.IsMoe(layer)) {
    weights.push_back({prefix + "mlp.gate_proj.weight", inner, hidden});
    weights.push_back({prefix + "mlp.up_proj.weight", inner, hidden});
    weights.push_back({prefix + "mlp.down_proj.weight", hidden, inner});
    return weights;
  }
  const int experts = c.moe->experts;
  weights.push_back({prefix + "block_sparse_moe.gate.weight", experts, hidden});
  const std::string name = prefix + "block_sparse_moe.experts.%d.";
  for (int e = 0; e < experts; ++e) {
    weights.push_back({name + "w1.weight", inner, hidden, e, experts});
    weights.push_back({name + "w2.weight", hidden, inner, e, experts});
    weights.push_back({name + "w3.weight", inner, hidden, e, experts});
  }
  return weights;
}

absl::StatusOr<std::vector<CopiedWeight>> CopiedOfAttention(
    const WeightReader& reader, const ModelConfig& c, int layer) {
  const AttentionConfig& a = c.attention[layer];
  if (a.kind != AttentionKind::kGqa) {
    return absl::UnimplementedError(
        absl::StrCat("layer ", layer, " has no keys and values: it is no GQA"));
  }
  const std::string prefix =
      absl::StrCat("model.layers.", layer, ".self_attn.");
  const int d = a.head_dim;
  std::vector<CopiedWeight> weights;
  const auto add = [&](const char* x, int heads, bool rotated) {
    for (const char* part : {".weight", ".bias"}) {
      const std::string name = absl::StrCat(prefix, x, "_proj", part);
      const bool bias = std::string(part) == ".bias";
      if (bias && !reader.Has(name)) continue;
      CopiedWeight weight{name, heads * d, bias ? 0 : c.hidden_size};
      weight.head_dim = d;
      weight.pairs = rotated && a.rope_interleaved;
      const std::string knock = absl::StrCat(prefix, x, "_knock.weight");
      if (reader.Has(knock)) weight.knock = knock;
      weights.push_back(weight);
    }
  };
  add("q", a.heads, true);
  if (a.cache_layer < 0) {
    add("k", a.kv_heads, true);
    add("v", a.kv_heads, false);
  }
  weights.push_back({prefix + "o_proj.weight", c.hidden_size, a.heads * d});
  if (reader.Has(prefix + "o_proj.bias")) {
    weights.push_back({prefix + "o_proj.bias", c.hidden_size});
  }
  if (a.qk_norm) {
    weights.push_back({prefix + "q_norm.weight", d});
    if (a.cache_layer < 0) weights.push_back({prefix + "k_norm.weight", d});
  }
  if (a.knocking_value_dim > 0 && a.cache_layer < 0) {
    const int width = a.knocking_value_dim;
    weights.push_back({prefix + "v_knock_gate.weight", width, d});
    weights.push_back({prefix + "v_knock_up.weight", width, d});
    weights.push_back({prefix + "v_knock_down.weight", d, width});
  }
  return weights;
}

std::vector<CopiedWeight> CopiedOfModel(const ModelConfig& c) {
  std::vector<CopiedWeight> weights = {
      {"model.embed_tokens.weight", c.vocab_size, c.hidden_size},
      {"model.norm.weight", c.hidden_size}};
  if (!c.tied_embeddings) {
    weights.push_back({"lm_head.weight", c.vocab_size, c.hidden_size});
  }
  return weights;
}

std::vector<TensorSpec> SpecsOf(const std::vector<CopiedWeight>& weights,
                                kernels::DType type) {
  std::vector<TensorSpec> specs;
  for (const CopiedWeight& weight : weights) {
    TensorSpec spec{weight.SavedName(), type, {weight.rows}};
    if (weight.cols > 0) spec.shape.push_back(weight.cols);
    specs.push_back(std::move(spec));
  }
  return specs;
}

absl::Status Copy(const WeightReader& reader, const CopiedWeight& weight,
                  SafetensorsWriter& writer) {
  if (weight.head_dim > 0) return CopyHeads(reader, weight, writer);
  if (weight.cols == 0) {
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     reader.Vector(weight.name, weight.rows));
    return writer.Append(weight.SavedName(), values);
  }
  absl::StatusOr<WeightMatrix> matrix =
      weight.expert < 0
          ? reader.Matrix(weight.name, weight.rows, weight.cols)
          : reader.Expert(weight.name, weight.expert, weight.experts,
                          weight.rows, weight.cols);
  RETURN_IF_ERROR(matrix.status());
  std::vector<float> row(weight.cols);
  for (int i = 0; i < weight.rows; ++i) {
    matrix->ReadRow(i, row.data());
    RETURN_IF_ERROR(writer.Append(weight.SavedName(), row));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime
