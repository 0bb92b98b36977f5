// The expressions of a parsed template. Each knows how to evaluate itself.
//
// Owns:    its operands. Immutable.
// Threads: any; each rendering brings its Context.
// Errors:  InvalidArgument in Python's words, Unimplemented for names of
//          filters and tests that do not exist here, ResourceExhausted.
// Flow:    Parser -> [here] -> Statement::Execute
#ifndef MLA_RUNTIME_CHAT_EXPRESSIONS_H_
#define MLA_RUNTIME_CHAT_EXPRESSIONS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/chat/arguments.h"
#include "runtime/chat/arithmetic.h"
#include "runtime/chat/comparison.h"
#include "runtime/chat/context.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

class Expression {
 public:
  virtual ~Expression() = default;

  // Pays one step and one level, then runs.
  absl::StatusOr<Value> Evaluate(Context& context) const;

  int line = 0;
  // Expressions inside expressions, itself included: what bounds the recursion
  // of evaluating and of destroying it.
  int depth = 1;

 private:
  virtual absl::StatusOr<Value> Run(Context& context) const = 0;
};

using ExpressionPtr = std::unique_ptr<Expression>;

struct Constant : Expression {
  Value value;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

struct Variable : Expression {
  std::string name;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

struct ListDisplay : Expression {
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

struct DictDisplay : Expression {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

struct ArithmeticOperation : Expression {
  Arithmetic op = Arithmetic::kAdd;
  ExpressionPtr left, right;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// -x, and +x, which changes nothing.
struct Negation : Expression {
  ExpressionPtr operand;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// a ~ b ~ c
struct Concatenation : Expression {
  std::vector<ExpressionPtr> operands;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// `and`, `or`: the value of the operand that decides.
struct Logical : Expression {
  bool is_and = false;
  ExpressionPtr left, right;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

struct Not : Expression {
  ExpressionPtr operand;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// a < b <= c
struct ComparisonChain : Expression {
  ExpressionPtr first;
  std::vector<std::pair<Comparison, ExpressionPtr>> rest;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// value if condition else otherwise; Undefined without the `else`.
struct Conditional : Expression {
  ExpressionPtr condition, value, otherwise;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// object.name
struct AttributeAccess : Expression {
  ExpressionPtr object;
  std::string name;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// object[key]
struct ItemAccess : Expression {
  ExpressionPtr object, key;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// object[start:stop:step]; null for a bound that is not written.
struct SliceAccess : Expression {
  ExpressionPtr object, start, stop, step;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// What stands between the parentheses of a call.
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;

  absl::StatusOr<Arguments> Evaluate(Context& context) const;
};

struct CallExpression : Expression {
  ExpressionPtr callee;
  CallArguments arguments;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// | name(arguments)
struct FilterCall {
  int line = 0;
  std::string name;
  CallArguments arguments;

  absl::StatusOr<Value> ApplyTo(Context& context, const Value& input) const;
};

// value | name(arguments)
struct FilterExpression : Expression {
  ExpressionPtr value;
  FilterCall filter;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

// value is name(arguments)
struct TestExpression : Expression {
  ExpressionPtr value;
  std::string name;
  CallArguments arguments;

 private:
  absl::StatusOr<Value> Run(Context& context) const override;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_EXPRESSIONS_H_
