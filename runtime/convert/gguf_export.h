// WriteGguf: a converted model's folder as one GGUF file, for this server.
//   general.architecture   the config's model_type, mlaserve_...: nobody else's
//   ARCHITECTURE.config    the whole config.json, which is what is read back:
//                          ranks and frequencies of each layer are in it
//   the usual keys         for tools that show files
//   tokenizer.*            as the source's file has them
// Matrices are those of the folder, vectors are widened to f32, as GGUF has
// them; experts are stacked.
// Threads: blocking; any.
// Errors:  FAILED_PRECONDITION if the source is no GGUF file: only there is the
//          tokenizer spelt as GGUF does. Those of files.
#ifndef MLA_RUNTIME_CONVERT_GGUF_EXPORT_H_
#define MLA_RUNTIME_CONVERT_GGUF_EXPORT_H_

#include <string>

#include "absl/status/status.h"

namespace mla::runtime {

// Before anything is converted: whether WriteGguf could write it.
absl::Status CheckGgufSource(const std::string& source);

absl::Status WriteGguf(const std::string& folder, const std::string& source,
                       const std::string& path);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_GGUF_EXPORT_H_
