// ExpressionParser reads one expression from a token stream, with the grammar
// and the precedences of Jinja 3.1 (parser.py).
// Threads: one. Errors: the stream's.
// Flow:    Tokenize -> TokenStream -> [here] -> Parser
#ifndef MLA_RUNTIME_CHAT_EXPRESSION_PARSER_H_
#define MLA_RUNTIME_CHAT_EXPRESSION_PARSER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/chat/expressions.h"
#include "runtime/chat/token_stream.h"

namespace mla::runtime::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  absl::StatusOr<ExpressionPtr> ParseExpression();
  // One without `a if b else c`, as stands after `for x in` and `if`.
  absl::StatusOr<ExpressionPtr> ParseWithoutConditional();
  // a, b: a tuple; a alone: an expression.
  enum class Conditionals { kAllowed, kNotAllowed };
  absl::StatusOr<ExpressionPtr> ParseTuple(Conditionals conditionals);
  // name(arguments), after the '|'.
  absl::StatusOr<FilterCall> ParseFilterCall();

 private:
  absl::StatusOr<ExpressionPtr> ParseOr();
  absl::StatusOr<ExpressionPtr> ParseAnd();
  absl::StatusOr<ExpressionPtr> ParseNot();
  absl::StatusOr<ExpressionPtr> ParseComparison();
  absl::StatusOr<ExpressionPtr> ParseSum();
  absl::StatusOr<ExpressionPtr> ParseConcatenation();
  absl::StatusOr<ExpressionPtr> ParseProduct();
  absl::StatusOr<ExpressionPtr> ParsePower();
  absl::StatusOr<ExpressionPtr> ParseUnary(bool with_filters);
  absl::StatusOr<ExpressionPtr> ParsePrimary();
  absl::StatusOr<ExpressionPtr> ParseNumber();
  absl::StatusOr<ExpressionPtr> ParseNameOrConstant();
  absl::StatusOr<ExpressionPtr> ParseParenthesized();
  absl::StatusOr<ExpressionPtr> ParseList();
  absl::StatusOr<ExpressionPtr> ParseDict();

  // What follows a primary: .name [key] (arguments).
  absl::StatusOr<ExpressionPtr> ParsePostfix(ExpressionPtr expression);
  absl::StatusOr<ExpressionPtr> ParseAttribute(ExpressionPtr object);
  absl::StatusOr<ExpressionPtr> ParseSubscript(ExpressionPtr object);
  absl::StatusOr<ExpressionPtr> ParseCall(ExpressionPtr callee);
  // ... and a unary: |filter, is test.
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr expression);
  absl::StatusOr<ExpressionPtr> ParseTest(ExpressionPtr value);

  absl::StatusOr<CallArguments> ParseArguments();
  std::optional<Comparison> TakeComparison();
  bool AtTupleEnd() const;

  TokenStream& stream_;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_EXPRESSION_PARSER_H_
