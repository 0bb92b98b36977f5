// ConvertCached: a conversion that is made once and found again. Each lies in a
// folder of its own in the cache, named after the model and a digest of what
// makes the result what it is: the source's files, the method, the type of the
// weights, the calibration text and kConverterVersion.
//
// Processes that want the same one at once take turns by a lock on a file
// beside it, which the kernel lifts when its owner ends: one converts, and one
// that comes after an interruption goes on where it stopped.
//
// Threads: blocking; any.
// Errors:  FAILED_PRECONDITION if there is no place for a cache; those of
//          ConvertModel and of files, naming them.
#ifndef MLA_RUNTIME_CONVERT_CONVERSION_CACHE_H_
#define MLA_RUNTIME_CONVERT_CONVERSION_CACHE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/convert/convert_model.h"

namespace mla::runtime {

struct ConversionCacheOptions {
  // Empty: mlaserve/converted in $XDG_CACHE_HOME or in ~/.cache.
  std::string folder;
  // Called before waiting for another process that converts the same.
  std::function<void()> waiting = [] {};
};

// The folder of the converted model. options.out is not looked at;
// options.progress is called only if there is something to convert.
absl::StatusOr<std::string> ConvertCached(const ConvertOptions& options,
                                          const ConversionCacheOptions& cache);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERSION_CACHE_H_
