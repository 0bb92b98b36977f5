// Any config.json: either a precise error, or a shape whose sizes can be taken
// without overflow.
#include <cstdint>
#include <string_view>

#include "runtime/json.h"
#include "runtime/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mla;
  const auto json = runtime::ParseJson(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!json.ok()) return 0;
  const auto config = runtime::ModelConfigFromHuggingFace(*json);
  if (!config.ok()) return 0;
  const int block = config->RoundBlockTokens(64);
  if (block < 1 || config->BlockBytes(kernels::DType::kF32, block) < 0 ||
      config->Parameters() < 0) {
    __builtin_trap();
  }
  for (const kernels::AttnLayout& layout : config->Layouts()) {
    for (int group = 0; group < layout.groups; ++group) {
      for (const auto* slices : {&layout.key, &layout.value}) {
        for (const kernels::Slice& slice : *slices) {
          const int64_t end = int64_t{slice.offset} +
                              int64_t{group} * slice.group_stride +
                              slice.length;
          if (layout.row_width > 0 && end > layout.row_width) __builtin_trap();
        }
      }
      if (layout.GroupHeads(group) < 1) __builtin_trap();
    }
  }
  return 0;
}
