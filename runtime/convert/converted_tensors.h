// ConvertedTensors: a converted layer's attention as a checkpoint holds it,
// rounded to the type that it is saved in, so that what conversion measures is
// what will be served.
// Threads: immutable; any.
#ifndef MLA_RUNTIME_CONVERT_CONVERTED_TENSORS_H_
#define MLA_RUNTIME_CONVERT_CONVERTED_TENSORS_H_

#include <list>
#include <string>
#include <variant>
#include <vector>

#include "kernels/dtype.h"
#include "runtime/checkpoint/tensor.h"
#include "runtime/convert/head_weights.h"
#include "runtime/convert/mla_weights.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// What a layer's attention became, and its sizes alone.
using ConvertedWeights = std::variant<MlaWeights, HeadWeights>;
using ConvertedShape = std::variant<MlaShape, HeadShape>;

ConvertedShape ShapeOf(const ConvertedWeights& weights);

class ConvertedTensors {
 public:
  // Named "model.layers.<layer>.self_attn...."; `type` is F32 or BF16.
  ConvertedTensors(const ConvertedWeights& weights, int layer,
                   kernels::DType type);

  const std::string& prefix() const { return prefix_; }
  const TensorMap& tensors() const { return tensors_; }

 private:
  void AddAttention(const MlaWeights& weights);
  void AddAttention(const HeadWeights& weights);
  // With its bias, unless that is all zeros.
  void AddProjection(const char* name, const DoubleMatrix& weight,
                     const DoubleVector& bias);
  void Add(const std::string& name, const DoubleMatrix& m, bool vector);

  std::string prefix_;
  kernels::DType type_;
  std::list<std::vector<std::byte>> bytes_;
  TensorMap tensors_;
};

// The config of a model whose layer `layer` was converted to `shape`.
void SetConverted(const ConvertedShape& shape, int layer, ModelConfig& config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERTED_TENSORS_H_
