// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/globals.h"

#include <limits>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "runtime/chat/context.h"
#include "runtime/chat/objects.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

// Jinja's sandbox has this limit too.
constexpr int64_t kMaxRange = 100'000;

using Body = absl::StatusOr<Value> (*)(Context& context,
                                       const Arguments& arguments);

class Function : public Callable {
 public:
  explicit Function(Body body) : body_(body) {}
  absl::StatusOr<Value> Call(Context& context,
                             const Arguments& arguments) override {
    return body_(context, arguments);
  }

 private:
  Body body_;
};

absl::StatusOr<int64_t> RangeBound(const Value* value, int64_t fallback) {
  if (value == nullptr) return fallback;
  if (value->IsUndefined()) return UndefinedError(*value);
  if (value->AsInt() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", value->TypeName(),
                     "' object cannot be interpreted as an integer"));
  }
  return *value->AsInt();
}

// How many numbers range(start, stop, step) has, without overflow.
uint64_t RangeSize(int64_t start, int64_t stop, int64_t step) {
  const bool up = step > 0;
  if (up ? start >= stop : start <= stop) return 0;
  const uint64_t distance =
      up ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
         : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride =
      up ? static_cast<uint64_t>(step) : -static_cast<uint64_t>(step);
  return (distance - 1) / stride + 1;
}

absl::StatusOr<Value> Range(Context& context, const Arguments& arguments) {
  const bool only_stop = arguments.positional.size() == 1;
  ASSIGN_OR_RETURN(const auto bound,
                   only_stop
                       ? arguments.Bind("range", {"stop"}, 1)
                       : arguments.Bind("range", {"start", "stop", "step"}, 2));
  ASSIGN_OR_RETURN(const int64_t first, RangeBound(bound[0], 0));
  ASSIGN_OR_RETURN(const int64_t second,
                   RangeBound(only_stop ? nullptr : bound[1], 0));
  ASSIGN_OR_RETURN(const int64_t step,
                   RangeBound(only_stop ? nullptr : bound[2], 1));
  if (step == 0) {
    return absl::InvalidArgumentError("range() arg 3 must not be zero");
  }
  const int64_t start = only_stop ? 0 : first;
  const uint64_t size = RangeSize(start, only_stop ? first : second, step);
  if (size > kMaxRange) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a range of ", size, " is longer than ", kMaxRange));
  }
  std::vector<Value> items;
  for (uint64_t i = 0; i < size; ++i) {
    // In unsigned arithmetic: i * step alone may leave the range.
    const uint64_t number =
        static_cast<uint64_t>(start) + i * static_cast<uint64_t>(step);
    items.push_back(Value::Of(static_cast<int64_t>(number)));
  }
  return MakeList(context.budget(), std::move(items));
}

absl::StatusOr<Value> MakeNamespace(Context& context,
                                    const Arguments& arguments) {
  RETURN_IF_ERROR(context.budget().Bytes(sizeof(Namespace)));
  const Value made = context.MakeNamespace();
  auto& attributes = made.AsObject<Namespace>()->attributes;
  for (const Value& initial : arguments.positional) {
    if (initial.AsDict() == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "namespace() takes dicts, not '", initial.TypeName(), "'"));
    }
    for (const auto& [key, value] : initial.AsDict()->items) {
      if (key.AsText() != nullptr) attributes[key.AsText()->str()] = value;
    }
  }
  for (const auto& [name, value] : arguments.named) attributes[name] = value;
  return made;
}

absl::StatusOr<Value> MakeDictOf(Context& context, const Arguments& arguments) {
  if (!arguments.positional.empty()) {
    return absl::UnimplementedError("dict() takes named arguments only");
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, value] : arguments.named) {
    items.emplace_back(Value::Of(name), value);
  }
  return MakeDict(context.budget(), std::move(items));
}

absl::StatusOr<Value> RaiseException(Context& context,
                                     const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("raise_exception", {"message"}, 1));
  ASSIGN_OR_RETURN(const MarkedText message,
                   ToText(context.budget(), *bound[0]));
  context.set_raised();
  return absl::InvalidArgumentError(message.str());
}

absl::StatusOr<Value> StrftimeNow(Context& context,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("strftime_now", {"format"}, 1));
  const MarkedText* format = bound[0]->AsText();
  if (format == nullptr) {
    return absl::InvalidArgumentError("strftime_now() takes a str");
  }
  RETURN_IF_ERROR(context.budget().Bytes(16 * format->size()));
  return Value::Of(MarkedText(
      absl::FormatTime(format->str(), context.now(), absl::LocalTimeZone()),
      format->AllTrusted()));
}

}  // namespace

std::shared_ptr<Object> FindGlobal(const std::string& name) {
  static const auto* const functions =
      new absl::flat_hash_map<std::string, std::shared_ptr<Object>>{
          {"range", std::make_shared<Function>(Range)},
          {"namespace", std::make_shared<Function>(MakeNamespace)},
          {"dict", std::make_shared<Function>(MakeDictOf)},
          {"raise_exception", std::make_shared<Function>(RaiseException)},
          {"strftime_now", std::make_shared<Function>(StrftimeNow)},
      };
  const auto it = functions->find(name);
  return it == functions->end() ? nullptr : it->second;
}

}  // namespace mla::runtime::jinja
