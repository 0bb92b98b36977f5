// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/expressions.h"

#include "absl/strings/str_cat.h"
#include "runtime/chat/access.h"
#include "runtime/chat/filters.h"
#include "runtime/chat/objects.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/value_tests.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

// The value of an operand that may not be written; None then.
absl::StatusOr<Value> EvaluateOptional(const ExpressionPtr& expression,
                                       Context& context) {
  if (expression == nullptr) return Value();
  return expression->Evaluate(context);
}

}  // namespace

absl::StatusOr<Value> Expression::Evaluate(Context& context) const {
  context.set_line(line);
  RETURN_IF_ERROR(context.budget().Steps(1));
  const Budget::Level level(context.budget());
  RETURN_IF_ERROR(level.Check());
  return Run(context);
}

absl::StatusOr<Value> Constant::Run(Context&) const { return value; }

absl::StatusOr<Value> Variable::Run(Context& context) const {
  return context.Lookup(name);
}

absl::StatusOr<Value> ListDisplay::Run(Context& context) const {
  std::vector<Value> values;
  for (const ExpressionPtr& item : items) {
    ASSIGN_OR_RETURN(Value value, item->Evaluate(context));
    values.push_back(std::move(value));
  }
  return MakeList(context.budget(), std::move(values), is_tuple);
}

absl::StatusOr<Value> DictDisplay::Run(Context& context) const {
  Dict dict;
  for (const auto& [key_expression, value_expression] : items) {
    ASSIGN_OR_RETURN(Value key, key_expression->Evaluate(context));
    ASSIGN_OR_RETURN(Value value, value_expression->Evaluate(context));
    if (key.depth() > 0 || key.IsUndefined()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a key of a dict cannot be a ", key.TypeName()));
    }
    ASSIGN_OR_RETURN(const Value* seen, Find(context.budget(), dict, key));
    if (seen == nullptr) {
      dict.items.emplace_back(std::move(key), std::move(value));
      continue;
    }
    for (auto& [other, old] : dict.items) {
      if (&old == seen) old = value;
    }
  }
  return MakeDict(context.budget(), std::move(dict.items));
}

absl::StatusOr<Value> ArithmeticOperation::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value a, left->Evaluate(context));
  ASSIGN_OR_RETURN(const Value b, right->Evaluate(context));
  return Apply(context.budget(), op, a, b);
}

absl::StatusOr<Value> Negation::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, operand->Evaluate(context));
  return Negate(value);
}

absl::StatusOr<Value> Concatenation::Run(Context& context) const {
  MarkedText joined;
  for (const ExpressionPtr& operand : operands) {
    ASSIGN_OR_RETURN(const Value value, operand->Evaluate(context));
    ASSIGN_OR_RETURN(const MarkedText text, ToText(context.budget(), value));
    RETURN_IF_ERROR(context.budget().Bytes(text.cost()));
    joined.Append(text);
  }
  return Value::Of(std::move(joined));
}

absl::StatusOr<Value> Logical::Run(Context& context) const {
  ASSIGN_OR_RETURN(Value value, left->Evaluate(context));
  if (value.IsTrue() != is_and) return value;
  return right->Evaluate(context);
}

absl::StatusOr<Value> Not::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, operand->Evaluate(context));
  return Value::Of(!value.IsTrue());
}

absl::StatusOr<Value> ComparisonChain::Run(Context& context) const {
  ASSIGN_OR_RETURN(Value left, first->Evaluate(context));
  for (const auto& [op, operand] : rest) {
    ASSIGN_OR_RETURN(Value right, operand->Evaluate(context));
    ASSIGN_OR_RETURN(const bool holds,
                     Compare(context.budget(), op, left, right));
    if (!holds) return Value::Of(false);
    left = std::move(right);
  }
  return Value::Of(true);
}

absl::StatusOr<Value> Conditional::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value chosen, condition->Evaluate(context));
  if (chosen.IsTrue()) return value->Evaluate(context);
  if (otherwise != nullptr) return otherwise->Evaluate(context);
  return Value::MakeUndefined(
      absl::StrCat("the inline if-expression on line ", line,
                   " evaluated to false and no else section was defined."));
}

absl::StatusOr<Value> AttributeAccess::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, object->Evaluate(context));
  return GetAttribute(context, value, name);
}

absl::StatusOr<Value> ItemAccess::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, object->Evaluate(context));
  ASSIGN_OR_RETURN(const Value index, key->Evaluate(context));
  return GetItem(context, value, index);
}

absl::StatusOr<Value> SliceAccess::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value value, object->Evaluate(context));
  ASSIGN_OR_RETURN(const Value first, EvaluateOptional(start, context));
  ASSIGN_OR_RETURN(const Value end, EvaluateOptional(stop, context));
  ASSIGN_OR_RETURN(const Value stride, EvaluateOptional(step, context));
  return GetSlice(context, value, first, end, stride);
}

absl::StatusOr<Arguments> CallArguments::Evaluate(Context& context) const {
  Arguments arguments;
  for (const ExpressionPtr& expression : positional) {
    ASSIGN_OR_RETURN(Value value, expression->Evaluate(context));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expression] : named) {
    ASSIGN_OR_RETURN(Value value, expression->Evaluate(context));
    arguments.named.emplace_back(name, std::move(value));
  }
  return arguments;
}

absl::StatusOr<Value> CallExpression::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value function, callee->Evaluate(context));
  if (function.IsUndefined()) return UndefinedError(function);
  auto* callable = function.AsObject<Callable>();
  if (callable == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", function.TypeName(), "' object is not callable"));
  }
  ASSIGN_OR_RETURN(const Arguments evaluated, arguments.Evaluate(context));
  return callable->Call(context, evaluated);
}

absl::StatusOr<Value> FilterCall::ApplyTo(Context& context,
                                          const Value& input) const {
  context.set_line(line);
  ASSIGN_OR_RETURN(const Arguments evaluated, arguments.Evaluate(context));
  return ApplyFilter(context, name, input, evaluated);
}

absl::StatusOr<Value> FilterExpression::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value input, value->Evaluate(context));
  return filter.ApplyTo(context, input);
}

absl::StatusOr<Value> TestExpression::Run(Context& context) const {
  ASSIGN_OR_RETURN(const Value subject, value->Evaluate(context));
  ASSIGN_OR_RETURN(const Arguments evaluated, arguments.Evaluate(context));
  ASSIGN_OR_RETURN(const bool passes,
                   ApplyTest(context, name, subject, evaluated));
  return Value::Of(passes);
}

}  // namespace mla::runtime::jinja
