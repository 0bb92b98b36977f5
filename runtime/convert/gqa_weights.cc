// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/gqa_weights.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::StatusOr<DoubleMatrix> ReadMatrix(const WeightReader& reader,
                                        const std::string& name, int rows,
                                        int cols) {
  ASSIGN_OR_RETURN(const WeightMatrix source,
                   reader.Matrix(name + ".weight", rows, cols));
  DoubleMatrix m(rows, cols);
  Eigen::VectorXf row(cols);
  for (int i = 0; i < rows; ++i) {
    source.ReadRow(i, row.data());
    m.row(i) = row.cast<double>().transpose();
  }
  return m;
}

absl::StatusOr<DoubleVector> ReadBias(const WeightReader& reader,
                                      const std::string& name, int size) {
  if (!reader.Has(name + ".bias")) {
    return DoubleVector(DoubleVector::Zero(size));
  }
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   reader.Vector(name + ".bias", size));
  return DoubleVector(
      Eigen::Map<const Eigen::VectorXf>(values.data(), size).cast<double>());
}

// KHA's linear knocking (2510.23052): `name` [d, d] of every head, if the
// checkpoint has it, is part of the projection.
absl::Status Knock(const WeightReader& reader, const std::string& name, int d,
                   DoubleMatrix& rows, DoubleVector& bias) {
  if (!reader.Has(name + ".weight")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const DoubleMatrix knock, ReadMatrix(reader, name, d, d));
  for (Eigen::Index first = 0; first < rows.rows(); first += d) {
    rows.middleRows(first, d) = (knock * rows.middleRows(first, d)).eval();
    bias.segment(first, d) = (knock * bias.segment(first, d)).eval();
  }
  return absl::OkStatus();
}

// Rows of every head from pairs (2i, 2i+1) to (i, i + d/2).
template <typename Rows>
void Deinterleave(int d, Rows& rows) {
  const Rows pairs = rows;
  for (Eigen::Index first = 0; first < rows.rows(); first += d) {
    for (int i = 0; i < d / 2; ++i) {
      rows.row(first + i) = pairs.row(first + 2 * i);
      rows.row(first + d / 2 + i) = pairs.row(first + 2 * i + 1);
    }
  }
}

}  // namespace

absl::StatusOr<GqaWeights> ReadGqaWeights(const WeightReader& reader,
                                          const ModelConfig& config,
                                          int layer) {
  const AttentionConfig& a = config.attention[layer];
  const Rope& rope = config.ropes[a.rope];
  const auto unlike = [&](const char* what) {
    return absl::UnimplementedError(absl::StrCat(
        "layer ", layer, " has ", what, ": it can only be served as it is"));
  };
  if (a.kind != AttentionKind::kGqa) return unlike("no keys and values");
  if (a.qk_norm) return unlike("norms between its projections and RoPE");
  if (!a.kv_head_of.empty() || a.knocking_value_dim > 0) {
    return unlike("query heads or values of its own kind");
  }
  if (a.cache_layer >= 0) return unlike("another layer's keys and values");
  if (rope.amplitude != 1 || !rope.long_inv_freq.empty()) {
    return unlike("a RoPE whose angles depend on the prompt or are scaled");
  }
  GqaWeights w;
  w.heads = a.heads;
  w.kv_heads = a.kv_heads;
  w.head_dim = a.head_dim;
  const int q = a.heads * a.head_dim;
  const int kv = a.kv_heads * a.head_dim;
  const int hidden = config.hidden_size;
  const std::string prefix =
      absl::StrCat("model.layers.", layer, ".self_attn.");
  ASSIGN_OR_RETURN(w.q, ReadMatrix(reader, prefix + "q_proj", q, hidden));
  ASSIGN_OR_RETURN(w.k, ReadMatrix(reader, prefix + "k_proj", kv, hidden));
  ASSIGN_OR_RETURN(w.v, ReadMatrix(reader, prefix + "v_proj", kv, hidden));
  ASSIGN_OR_RETURN(w.o, ReadMatrix(reader, prefix + "o_proj", hidden, q));
  ASSIGN_OR_RETURN(w.q_bias, ReadBias(reader, prefix + "q_proj", q));
  ASSIGN_OR_RETURN(w.k_bias, ReadBias(reader, prefix + "k_proj", kv));
  ASSIGN_OR_RETURN(w.v_bias, ReadBias(reader, prefix + "v_proj", kv));
  ASSIGN_OR_RETURN(w.o_bias, ReadBias(reader, prefix + "o_proj", hidden));
  if (a.rope_interleaved) {
    Deinterleave(a.head_dim, w.q);
    Deinterleave(a.head_dim, w.k);
    Deinterleave(a.head_dim, w.q_bias);
    Deinterleave(a.head_dim, w.k_bias);
  }
  RETURN_IF_ERROR(Knock(reader, prefix + "q_knock", a.head_dim, w.q, w.q_bias));
  RETURN_IF_ERROR(Knock(reader, prefix + "k_knock", a.head_dim, w.k, w.k_bias));
  RETURN_IF_ERROR(Knock(reader, prefix + "v_knock", a.head_dim, w.v, w.v_bias));
  return w;
}

}  // namespace mla::runtime
