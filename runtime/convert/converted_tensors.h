// ConvertedTensors: a converted layer's attention as a checkpoint holds it,
// rounded to the type that it is saved in, so that what conversion measures is
// what will be served.
// Threads: immutable; any.
#ifndef MLA_RUNTIME_CONVERT_CONVERTED_TENSORS_H_
#define MLA_RUNTIME_CONVERT_CONVERTED_TENSORS_H_

#include <list>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "runtime/checkpoint/tensor.h"
#include "runtime/convert/mla_weights.h"
#include "runtime/model_config.h"

namespace mla::runtime {

class ConvertedTensors {
 public:
  // Named "model.layers.<layer>.self_attn...."; `type` is F32 or BF16.
  ConvertedTensors(const MlaWeights& weights, int layer, kernels::DType type);

  const std::string& prefix() const { return prefix_; }
  const TensorMap& tensors() const { return tensors_; }

 private:
  void Add(const char* name, const DoubleMatrix& m, bool vector);

  std::string prefix_;
  kernels::DType type_;
  std::list<std::vector<std::byte>> bytes_;
  TensorMap tensors_;
};

// The config of a model whose layer `layer` was converted to `shape`.
void SetConverted(const MlaShape& shape, int layer, ModelConfig& config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERTED_TENSORS_H_
