// Arguments are what a call in a template passes to a function, filter or test.
// Threads: one rendering's. Errors: InvalidArgument in Python's words.
#ifndef MLA_RUNTIME_CHAT_ARGUMENTS_H_
#define MLA_RUNTIME_CHAT_ARGUMENTS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // Assigns the arguments to `parameters`, of which the first `required` must
  // be given. Absent ones stay null.
  absl::StatusOr<std::vector<const Value*>> Bind(
      const std::string& function, const std::vector<const char*>& parameters,
      size_t required) const;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_ARGUMENTS_H_
