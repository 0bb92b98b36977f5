// How much of keys and values each layer keeps, for methods that keep heads.
//   lorc   a row's elements. Progressive, as the paper (2410.03111, section 4)
//          has it: by the product of the condition numbers of a layer's and all
//          later layers' key and value weights, on a logarithmic scale from
//          the most at the first layer to the least at the last. The least is
//          half the mean: the paper leaves it to the user.
//   qcqa   KV heads. The budget is the model's: where heads share one with
//          least error, they do first. kv_heads gives all layers as many.
//   effkv  KV heads, as many in all layers as the budget allows.
// Threads: functions of their arguments; any.
// Errors:  INVALID_ARGUMENT if a budget or size does not fit the model.
#ifndef MLA_RUNTIME_CONVERT_HEAD_SIZES_H_
#define MLA_RUNTIME_CONVERT_HEAD_SIZES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/convert/conversion_spec.h"
#include "runtime/model_config.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

// By layer. `spec`: WithinBudget's. Reads all layers' weights, one at a time.
absl::StatusOr<std::vector<int>> HeadSizes(const WeightReader& reader,
                                           const ModelConfig& config,
                                           const ConversionSpec& spec);

// LoRC's: `log_conditions` of each layer, its keys' and values' together;
// `mean` of the sizes and `most` that one may be.
std::vector<int> ProgressiveSizes(absl::Span<const double> log_conditions,
                                  int mean, int most);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_HEAD_SIZES_H_
