// Tested by tests/runtime/model_config_test.cc.
#include "runtime/layer_fields.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/json_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {

using nlohmann::json;

bool LayerFields::Has(const char* field) const {
  return config_.contains(field) && !config_[field].is_null();
}

absl::StatusOr<int> LayerFields::Int(const char* field, int fallback) const {
  if (!config_.contains(field) || !config_[field].is_array()) {
    return ReadInt(config_, field, fallback);
  }
  ASSIGN_OR_RETURN(const std::vector<int> values, ReadInts(config_, field));
  if (static_cast<int>(values.size()) == layers_) return values[layer_];
  return absl::InvalidArgumentError(
      absl::StrCat("config field '", field, "': has ", values.size(),
                   " values for ", layers_, " layers"));
}

absl::StatusOr<std::vector<int>> LayerFields::Ints(const char* field) const {
  const auto found = config_.find(field);
  const bool lists = found != config_.end() && found->is_array() &&
                     !found->empty() && found->front().is_array();
  if (!lists) return ReadInts(config_, field);
  if (static_cast<int>(found->size()) == layers_) {
    return ReadInts(json{{field, (*found)[layer_]}}, field);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("config field '", field, "': has ", found->size(),
                   " lists for ", layers_, " layers"));
}

absl::StatusOr<int> LayerFields::Size(const char* field) const {
  ASSIGN_OR_RETURN(const int value, Int(field, 0));
  if (value > 0 && value <= kMaxModelSize) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("config field '", field, "': missing or not in [1, ",
                   kMaxModelSize, "] (", value, ")"));
}

// Ours, of converted models: [layers][dim / 2].
absl::StatusOr<Rope> LayerFields::ReadListedRope(int dim) const {
  const json& layers = config_["rope_inv_freq"];
  Rope rope;
  rope.dim = dim;
  if (layers.is_array() && static_cast<int>(layers.size()) == layers_) {
    ASSIGN_OR_RETURN(
        const std::vector<double> listed,
        ReadNumbers(json{{"rope_inv_freq", layers[layer_]}}, "rope_inv_freq"));
    for (const double f : listed) {
      if (!(f >= 0 && f <= 4)) break;  // radians a token
      rope.inv_freq.push_back(static_cast<float>(f));
    }
  }
  if (static_cast<int>(rope.inv_freq.size()) * 2 == dim) return rope;
  return absl::InvalidArgumentError(
      absl::StrCat("config field 'rope_inv_freq': must list, for every layer, ",
                   dim / 2, " frequencies from 0 to 4"));
}

// transformers 4 writes rope_theta and rope_scaling, 5 writes both into
// rope_parameters.
absl::StatusOr<Rope> LayerFields::ReadRope(int dim, int max_position) const {
  if (Has("rope_inv_freq")) return ReadListedRope(dim);
  const json& scaling = config_.contains("rope_parameters") &&
                                config_["rope_parameters"].is_object()
                            ? config_["rope_parameters"]
                        : config_.contains("rope_scaling")
                            ? config_["rope_scaling"]
                            : json();
  ASSIGN_OR_RETURN(double theta, ReadNumber(config_, "rope_theta", 10000.0));
  ASSIGN_OR_RETURN(theta, ReadNumber(scaling, "rope_theta", theta));
  return RopeFromConfig(dim, theta, max_position, scaling);
}

int AddRope(const Rope& rope, ModelConfig& c) {
  for (size_t i = 0; i < c.ropes.size(); ++i) {
    const Rope& other = c.ropes[i];
    if (other.dim == rope.dim && other.sets == rope.sets &&
        other.inv_freq == rope.inv_freq) {
      return static_cast<int>(i);
    }
  }
  c.ropes.push_back(rope);
  return static_cast<int>(c.ropes.size()) - 1;
}

}  // namespace mla::runtime
