// A conversion's budget in bytes, turned into the ranks that keep it.
// Threads: a function of its arguments; any.
// Errors:  INVALID_ARGUMENT if nothing can be cached in so little, or if the
//          model caches less already.
#ifndef MLA_RUNTIME_CONVERT_CONVERSION_BUDGET_H_
#define MLA_RUNTIME_CONVERT_CONVERSION_BUDGET_H_

#include "absl/status/statusor.h"
#include "runtime/convert/conversion_spec.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// The same spec with kv_lora_rank and qk_rope_head_dim instead of `ratio` or
// `bytes_per_token`; unchanged if it has them. Methods that keep heads get a
// row's elements as kv_lora_rank: HeadSizes makes heads of them.
absl::StatusOr<ConversionSpec> WithinBudget(ConversionSpec spec,
                                            const ModelConfig& source);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERSION_BUDGET_H_
