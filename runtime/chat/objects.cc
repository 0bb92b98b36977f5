// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/objects.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/chat/methods.h"

namespace mla::runtime::jinja {

Loop::Loop(std::vector<Value> loop_items) : items(std::move(loop_items)) {
  for (const Value& item : items) depth_ = std::max(depth_, item.depth() + 1);
}

Value Loop::Attribute(std::string_view name) const {
  const auto number = [](size_t n) {
    return Value::Of(static_cast<int64_t>(n));
  };
  const bool last = index0 + 1 == items.size();
  if (name == "index") return number(index0 + 1);
  if (name == "index0") return number(index0);
  if (name == "revindex") return number(items.size() - index0);
  if (name == "revindex0") return number(items.size() - index0 - 1);
  if (name == "first") return Value::Of(index0 == 0);
  if (name == "last") return Value::Of(last);
  if (name == "length") return number(items.size());
  // Only recursive loops, which there are none of here, have other depths.
  if (name == "depth") return number(1);
  if (name == "depth0") return number(0);
  if (name == "previtem") {
    return index0 == 0 ? Value::MakeUndefined("there is no previous item")
                       : items[index0 - 1];
  }
  if (name == "nextitem") {
    return last ? Value::MakeUndefined("there is no next item")
                : items[index0 + 1];
  }
  return Value::MakeUndefined(absl::StrCat(
      "'LoopContext object' has no attribute '", std::string(name), "'"));
}

absl::StatusOr<Value> BoundMethod::Call(Context& context,
                                        const Arguments& arguments) {
  return CallMethod(context, self_, name_, arguments);
}

}  // namespace mla::runtime::jinja
