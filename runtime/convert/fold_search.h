// TransMLA's search for FreqFold (2502.07864, `--freqfold auto`): begin with
// the smallest that qk_rope_head_dim allows and double it while the converted
// model's perplexity falls. Every fourth calibration window is held out from
// fitting to measure that.
// Memory:  Converter's. Threads: as Converter.
// Errors:  Converter's; INVALID_ARGUMENT if there are fewer than two windows.
#ifndef MLA_RUNTIME_CONVERT_FOLD_SEARCH_H_
#define MLA_RUNTIME_CONVERT_FOLD_SEARCH_H_

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/convert/converter.h"

namespace mla::runtime {

// The folds that give heads a ladder of rope_dim, smallest first.
// INVALID_ARGUMENT if there is none.
absl::StatusOr<std::vector<int>> FoldsOf(int head_dim, int rope_dim);

// The spec's freqfold. Sequential conversions are searched in one shot.
absl::StatusOr<int> SearchFreqfold(const Checkpoint& checkpoint,
                                   const ModelConfig& config,
                                   const Windows& calibration,
                                   ConversionSpec spec, int threads);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_FOLD_SEARCH_H_
