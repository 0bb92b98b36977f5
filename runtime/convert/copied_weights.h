// Weights that a conversion writes as it reads them.
// Threads: functions of their arguments; any.
// Errors:  WeightReader's and SafetensorsWriter's.
#ifndef MLA_RUNTIME_CONVERT_COPIED_WEIGHTS_H_
#define MLA_RUNTIME_CONVERT_COPIED_WEIGHTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/model_config.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

struct CopiedWeight {
  std::string name;  // Hugging Face's
  int rows = 0;
  int cols = 0;     // 0: a vector of `rows`
  int expert = -1;  // the name's %d
  int experts = 0;
  // Of queries, keys and values: rows of a head, else 0.
  int head_dim = 0;
  bool pairs = false;      // rotated rows that stand as (2i, 2i+1): they become
                           // (i, i + head_dim/2)
  std::string knock = {};  // KHA's matrix [head_dim, head_dim] of every head,
                           // which is folded into it; empty: none

  std::string saved_name = {};  // if it is not the source's

  std::string SavedName() const;
};

// A layer without its attention; its attention; what is outside of layers.
std::vector<CopiedWeight> CopiedOfLayer(const ModelConfig& c, int layer);
// UNIMPLEMENTED if it is not GQA.
absl::StatusOr<std::vector<CopiedWeight>> CopiedOfAttention(
    const WeightReader& reader, const ModelConfig& c, int layer);
std::vector<CopiedWeight> CopiedOfModel(const ModelConfig& c);

std::vector<TensorSpec> SpecsOf(const std::vector<CopiedWeight>& weights,
                                kernels::DType type);

absl::Status Copy(const WeightReader& reader, const CopiedWeight& weight,
                  SafetensorsWriter& writer);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_COPIED_WEIGHTS_H_
