// How long a prompt's text may be before it is tokenized or rendered.
#ifndef MLA_SERVER_PROMPT_LIMITS_H_
#define MLA_SERVER_PROMPT_LIMITS_H_

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/loaded_model.h"
#include "server/error_details.h"
#include "server/limits.h"

namespace mla::server {

// INVALID_ARGUMENT naming `field` when its text cannot fit in the context.
inline absl::Status CheckPromptBytes(const char* field, size_t bytes,
                                     const runtime::LoadedModel& model) {
  const size_t most =
      kMaxPromptBytesPerToken * static_cast<size_t>(model.config.max_position);
  if (bytes <= most) return absl::OkStatus();
  return InvalidField(
      field, absl::StrCat("has ", bytes, " bytes, more than the ", most,
                          " that a context of ", model.config.max_position,
                          " tokens is taken to hold"));
}

}  // namespace mla::server

#endif  // MLA_SERVER_PROMPT_LIMITS_H_
