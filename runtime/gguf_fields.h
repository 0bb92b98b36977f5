// GgufFields: the metadata keys that carry the architecture's name, typed and
// in range. Keys are given without it: "attention.head_count".
// Threads: immutable; any. The metadata must outlive it.
// Errors:  INVALID_ARGUMENT or NOT_FOUND; both name the whole key.
// Source:  github.com/ggml-org/ggml, docs/gguf.md.
#ifndef MLA_RUNTIME_GGUF_FIELDS_H_
#define MLA_RUNTIME_GGUF_FIELDS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/rope.h"

namespace mla::runtime {

class GgufFields {
 public:
  GgufFields(const GgufMetadata& metadata, const std::string& architecture)
      : metadata_(metadata), prefix_(architecture + ".") {}

  std::string Key(const char* key) const { return prefix_ + key; }
  bool Has(const char* key) const { return metadata_.Has(Key(key)); }

  // At most 2^30, so that two of them add up.
  absl::StatusOr<int> Int(const char* key) const;
  // Absent keys take the fallback.
  absl::StatusOr<int> Int(const char* key, int fallback) const;
  absl::StatusOr<int> Between(const char* key, int low, int high) const;
  absl::StatusOr<float> Float(const char* key, float fallback) const;  // finite
  absl::StatusOr<bool> Bool(const char* key, bool fallback) const;
  absl::StatusOr<std::string> String(const char* key,
                                     const char* fallback) const;

 private:
  const GgufMetadata& metadata_;
  const std::string prefix_;
};

// The rope.* keys. `divisors`: the tensor rope_freqs.weight, or empty.
// `mscale`: YaRN's, of every dimension; 0: none, see RopeFromConfig.
absl::StatusOr<Rope> ReadGgufRope(const GgufFields& fields, int dim,
                                  int max_position,
                                  absl::Span<const float> divisors,
                                  double mscale);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_GGUF_FIELDS_H_
