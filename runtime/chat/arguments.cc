// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/arguments.h"

#include "absl/strings/str_cat.h"

namespace mla::runtime::jinja {

absl::StatusOr<std::vector<const Value*>> Arguments::Bind(
    const std::string& function, const std::vector<const char*>& parameters,
    size_t required) const {
  if (positional.size() > parameters.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(function, "() takes at most ", parameters.size(),
                     " arguments, not ", positional.size()));
  }
  std::vector<const Value*> bound(parameters.size(), nullptr);
  for (size_t i = 0; i < positional.size(); ++i) bound[i] = &positional[i];
  for (const auto& [name, value] : named) {
    size_t i = 0;
    while (i < parameters.size() && name != parameters[i]) ++i;
    if (i == parameters.size() || bound[i] != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(function, "() got ",
                       i == parameters.size() ? "an unexpected argument '"
                                              : "several values for '",
                       name, "'"));
    }
    bound[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound[i] != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(function, "() misses its argument '", parameters[i], "'"));
  }
  return bound;
}

}  // namespace mla::runtime::jinja
