// Tested by tests/server/request_conversion_test.cc and
// tests/fuzz/request_fuzz.cc.
#include "server/chat_conversion.h"

#include "absl/status/status.h"

namespace mla::server {

absl::StatusOr<RenderedChat> RenderChat(const serving::v1::ChatInput& chat,
                                        const runtime::LoadedModel& model) {
  return absl::UnimplementedError("chat");
}

}  // namespace mla::server
