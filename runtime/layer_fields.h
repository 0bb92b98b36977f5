// LayerFields reads config.json's fields for one layer: each may be one value
// for all layers, or a list with a value for each. Errors: INVALID_ARGUMENT
// names the field.
#ifndef MLA_RUNTIME_LAYER_FIELDS_H_
#define MLA_RUNTIME_LAYER_FIELDS_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/model_config.h"

namespace mla::runtime {

class LayerFields {
 public:
  LayerFields(const nlohmann::json& config, int layer, int layers)
      : config_(config), layer_(layer), layers_(layers) {}

  const nlohmann::json& config() const { return config_; }
  int layer() const { return layer_; }
  bool Has(const char* field) const;
  absl::StatusOr<int> Int(const char* field, int fallback) const;
  // A list for all layers, or a list of lists; empty: there is none.
  absl::StatusOr<std::vector<int>> Ints(const char* field) const;
  // A positive integer up to kMaxModelSize.
  absl::StatusOr<int> Size(const char* field) const;
  // The rope of `dim` rotated elements.
  absl::StatusOr<Rope> ReadRope(int dim, int max_position) const;

 private:
  absl::StatusOr<Rope> ReadListedRope(int dim) const;

  const nlohmann::json& config_;
  const int layer_;
  const int layers_;
};

// The number of this rope among the model's, which it joins if it is new.
int AddRope(const Rope& rope, ModelConfig& c);

// MHA2MLA's part of a layer (2502.14837): which frequencies turn, what ranks
// its latents have. `a` has heads, kv_heads, head_dim and the scale.
absl::Status ReadMha2MlaObject(const LayerFields& fields, ModelConfig& c,
                               AttentionConfig& a);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_LAYER_FIELDS_H_
