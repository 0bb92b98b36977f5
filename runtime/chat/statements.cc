// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/statements.h"

#include "absl/strings/str_cat.h"
#include "runtime/chat/objects.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

// A macro as a value. The template, which outlives every rendering, owns the
// definition.
class Macro : public Callable {
 public:
  explicit Macro(const MacroDefinition* definition) : definition_(definition) {}
  const char* type_name() const override { return "Macro"; }
  absl::StatusOr<Value> Call(Context& context,
                             const Arguments& arguments) override {
    return definition_->Call(context, arguments);
  }

 private:
  const MacroDefinition* definition_;
};

// What a block writes, as a text, after the filters.
absl::StatusOr<Value> CaptureBlock(Context& context, const Block& body,
                                   const std::vector<FilterCall>& filters) {
  Context::Capture capture(context);
  {
    const Context::Scope scope(context, Context::Sees::kEnclosing);
    RETURN_IF_ERROR(body.Execute(context).status());
  }
  Value value = Value::Of(capture.Take());
  for (const FilterCall& filter : filters) {
    ASSIGN_OR_RETURN(value, filter.ApplyTo(context, value));
  }
  return value;
}

absl::Status WriteValue(Context& context, const Value& value) {
  if (const MarkedText* text = value.AsText()) return context.Write(*text);
  ASSIGN_OR_RETURN(const MarkedText text, ToText(context.budget(), value));
  return context.Write(text);
}

}  // namespace

absl::StatusOr<Flow> Statement::Execute(Context& context) const {
  context.set_line(line);
  RETURN_IF_ERROR(context.budget().Steps(1));
  const Budget::Level level(context.budget());
  RETURN_IF_ERROR(level.Check());
  return Run(context);
}

absl::StatusOr<Flow> Block::Execute(Context& context) const {
  for (const StatementPtr& statement : statements) {
    ASSIGN_OR_RETURN(const Flow flow, statement->Execute(context));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::Status Target::Assign(Context& context, const Value& value) const {
  if (attribute.has_value()) {
    auto* space = context.Lookup(names[0]).AsObject<Namespace>();
    if (space == nullptr) {
      return absl::InvalidArgumentError(
          "cannot assign attribute on non-namespace object");
    }
    space->attributes[*attribute] = value;
    return absl::OkStatus();
  }
  if (!unpacks) {
    context.Set(names[0], value);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto values, Iterate(context.budget(), value));
  if (values.size() != names.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(values.size() < names.size() ? "not enough" : "too many",
                     " values to unpack (expected ", names.size(), ", got ",
                     values.size(), ")"));
  }
  for (size_t i = 0; i < names.size(); ++i) context.Set(names[i], values[i]);
  return absl::OkStatus();
}

absl::StatusOr<Flow> TemplateText::Run(Context& context) const {
  RETURN_IF_ERROR(context.Write(text));
  return Flow::kNext;
}

absl::StatusOr<Flow> Output::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, expression->Evaluate(context));
  RETURN_IF_ERROR(WriteValue(context, value));
  return Flow::kNext;
}

absl::StatusOr<Flow> If::Run(Context& context) const {
  for (const auto& [condition, body] : branches) {
    ASSIGN_OR_RETURN(const Value value, condition->Evaluate(context));
    if (value.IsTrue()) return body.Execute(context);
  }
  return otherwise.Execute(context);
}

absl::StatusOr<std::vector<Value>> For::SelectItems(Context& context) const {
  ASSIGN_OR_RETURN(const Value sequence, iterable->Evaluate(context));
  ASSIGN_OR_RETURN(auto items, Iterate(context.budget(), sequence));
  if (condition == nullptr) return items;
  std::vector<Value> selected;
  for (Value& item : items) {
    const Context::Scope scope(context, Context::Sees::kEnclosing);
    RETURN_IF_ERROR(target.Assign(context, item));
    ASSIGN_OR_RETURN(const Value wanted, condition->Evaluate(context));
    if (wanted.IsTrue()) selected.push_back(std::move(item));
  }
  return selected;
}

absl::StatusOr<Flow> For::Run(Context& context) const {
  ASSIGN_OR_RETURN(auto items, SelectItems(context));
  if (items.empty()) {
    const Context::Scope scope(context, Context::Sees::kEnclosing);
    return otherwise.Execute(context);
  }
  RETURN_IF_ERROR(context.budget().Bytes(sizeof(Loop)));
  const auto loop = std::make_shared<Loop>(std::move(items));
  for (; loop->index0 < loop->items.size(); ++loop->index0) {
    const Context::Scope scope(context, Context::Sees::kEnclosing);
    context.Set("loop", Value::Of(loop));
    RETURN_IF_ERROR(target.Assign(context, loop->items[loop->index0]));
    ASSIGN_OR_RETURN(const Flow flow, body.Execute(context));
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

absl::StatusOr<Flow> LoopControl::Run(Context&) const { return flow; }

absl::StatusOr<Flow> Set::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, expression->Evaluate(context));
  RETURN_IF_ERROR(target.Assign(context, value));
  return Flow::kNext;
}

absl::StatusOr<Flow> BlockSet::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, CaptureBlock(context, body, filters));
  RETURN_IF_ERROR(target.Assign(context, value));
  return Flow::kNext;
}

absl::StatusOr<Flow> FilterBlock::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, CaptureBlock(context, body, filters));
  RETURN_IF_ERROR(WriteValue(context, value));
  return Flow::kNext;
}

absl::StatusOr<Flow> With::Run(Context& context) const {
  // The values are evaluated outside the new scope.
  std::vector<Value> values;
  for (const auto& [target, expression] : assignments) {
    ASSIGN_OR_RETURN(Value value, expression->Evaluate(context));
    values.push_back(std::move(value));
  }
  const Context::Scope scope(context, Context::Sees::kEnclosing);
  for (size_t i = 0; i < values.size(); ++i) {
    RETURN_IF_ERROR(assignments[i].first.Assign(context, values[i]));
  }
  return body.Execute(context);
}

absl::StatusOr<Flow> MacroDefinition::Run(Context& context) const {
  context.Set(name, Value::Of(std::make_shared<Macro>(this)));
  return Flow::kNext;
}

absl::StatusOr<Value> MacroDefinition::Call(Context& context,
                                            const Arguments& arguments) const {
  std::vector<const char*> names;
  for (const Parameter& parameter : parameters) {
    names.push_back(parameter.name.c_str());
  }
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, names, 0));
  const Context::Scope scope(context, Context::Sees::kTopLevel);
  for (size_t i = 0; i < parameters.size(); ++i) {
    Value value = Value::MakeUndefined(
        absl::StrCat("parameter '", names[i], "' was not provided"));
    if (bound[i] != nullptr) {
      value = *bound[i];
    } else if (parameters[i].fallback != nullptr) {
      ASSIGN_OR_RETURN(value, parameters[i].fallback->Evaluate(context));
    }
    context.Set(names[i], std::move(value));
  }
  return CaptureBlock(context, body, {});
}

}  // namespace mla::runtime::jinja
