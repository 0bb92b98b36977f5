// From `or` down to unary minus: what has operators.
//
// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/expression_parser.h"

#include <algorithm>

#include "runtime/chat/expression_nodes.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
absl::StatusOr<ExpressionPtr> ExpressionParser::ParseExpression() {
  const TokenStream::Nesting nesting(stream_);
  RETURN_IF_ERROR(nesting.Check());
  ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
  while (stream_.SkipName("if")) {
    auto node = MakeNode<Conditional>(stream_);
    ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
    node->value = Adopt(node.get(), std::move(value));
    node->condition = Adopt(node.get(), std::move(condition));
    if (stream_.SkipName("else")) {
      ASSIGN_OR_RETURN(ExpressionPtr otherwise, ParseExpression());
      node->otherwise = Adopt(node.get(), std::move(otherwise));
    }
    ASSIGN_OR_RETURN(value, Finish(stream_, std::move(node)));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseWithoutConditional() {
  return ParseOr();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple(
    Conditionals conditionals) {
  auto tuple = MakeNode<ListDisplay>(stream_);
  tuple->is_tuple = true;
  bool comma = false;
  while (!AtTupleEnd()) {
    ASSIGN_OR_RETURN(ExpressionPtr item, conditionals == Conditionals::kAllowed
                                             ? ParseExpression()
                                             : ParseWithoutConditional());
    tuple->items.push_back(Adopt(tuple.get(), std::move(item)));
    if (!stream_.SkipOperator(",")) break;
    comma = true;
  }
  if (tuple->items.empty()) return stream_.Unexpected();
  if (!comma) return std::move(tuple->items.front());
  return Finish(stream_, std::move(tuple));
}

bool ExpressionParser::AtTupleEnd() const {
  return stream_.At(TokenKind::kVariableEnd) ||
         stream_.At(TokenKind::kBlockEnd) || stream_.AtOperator(")");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOr() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseAnd());
  while (stream_.SkipName("or")) {
    auto node = MakeNode<Logical>(stream_);
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
    node->left = Adopt(node.get(), std::move(left));
    node->right = Adopt(node.get(), std::move(right));
    ASSIGN_OR_RETURN(left, Finish(stream_, std::move(node)));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAnd() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseNot());
  while (stream_.SkipName("and")) {
    auto node = MakeNode<Logical>(stream_);
    node->is_and = true;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
    node->left = Adopt(node.get(), std::move(left));
    node->right = Adopt(node.get(), std::move(right));
    ASSIGN_OR_RETURN(left, Finish(stream_, std::move(node)));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNot() {
  if (!stream_.AtName("not")) return ParseComparison();
  const TokenStream::Nesting nesting(stream_);
  RETURN_IF_ERROR(nesting.Check());
  auto node = MakeNode<Not>(stream_);
  stream_.Take();
  ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
  node->operand = Adopt(node.get(), std::move(operand));
  return Finish(stream_, std::move(node));
}

std::optional<Comparison> ExpressionParser::TakeComparison() {
  static constexpr std::pair<std::string_view, Comparison> kOperators[] = {
      {"==", Comparison::kEqual},  {"!=", Comparison::kNotEqual},
      {"<", Comparison::kLess},    {"<=", Comparison::kLessOrEqual},
      {">", Comparison::kGreater}, {">=", Comparison::kGreaterOrEqual},
  };
  for (const auto& [op, comparison] : kOperators) {
    if (stream_.SkipOperator(op)) return comparison;
  }
  if (stream_.SkipName("in")) return Comparison::kIn;
  const Token& ahead = stream_.Ahead();
  if (stream_.AtName("not") && ahead.kind == TokenKind::kName &&
      ahead.text == "in") {
    stream_.Take();
    stream_.Take();
    return Comparison::kNotIn;
  }
  return std::nullopt;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseComparison() {
  ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
  auto node = MakeNode<ComparisonChain>(stream_);
  while (const auto comparison = TakeComparison()) {
    ASSIGN_OR_RETURN(ExpressionPtr operand, ParseSum());
    node->rest.emplace_back(*comparison, Adopt(node.get(), std::move(operand)));
  }
  if (node->rest.empty()) return first;
  node->first = Adopt(node.get(), std::move(first));
  return Finish(stream_, std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSum() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseConcatenation());
  while (stream_.AtOperator("+") || stream_.AtOperator("-")) {
    auto node = MakeNode<ArithmeticOperation>(stream_);
    node->op =
        stream_.Take().text == "+" ? Arithmetic::kAdd : Arithmetic::kSubtract;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseConcatenation());
    node->left = Adopt(node.get(), std::move(left));
    node->right = Adopt(node.get(), std::move(right));
    ASSIGN_OR_RETURN(left, Finish(stream_, std::move(node)));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConcatenation() {
  ASSIGN_OR_RETURN(ExpressionPtr first, ParseProduct());
  if (!stream_.AtOperator("~")) return first;
  auto node = MakeNode<Concatenation>(stream_);
  node->operands.push_back(Adopt(node.get(), std::move(first)));
  while (stream_.SkipOperator("~")) {
    ASSIGN_OR_RETURN(ExpressionPtr operand, ParseProduct());
    node->operands.push_back(Adopt(node.get(), std::move(operand)));
  }
  return Finish(stream_, std::move(node));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseProduct() {
  static constexpr std::pair<std::string_view, Arithmetic> kOperators[] = {
      {"*", Arithmetic::kMultiply},
      {"/", Arithmetic::kDivide},
      {"//", Arithmetic::kFloorDivide},
      {"%", Arithmetic::kModulo},
  };
  ASSIGN_OR_RETURN(ExpressionPtr left, ParsePower());
  while (true) {
    const auto* op = std::find_if(std::begin(kOperators), std::end(kOperators),
                                  [&](const auto& candidate) {
                                    return stream_.AtOperator(candidate.first);
                                  });
    if (op == std::end(kOperators)) return left;
    auto node = MakeNode<ArithmeticOperation>(stream_);
    node->op = op->second;
    stream_.Take();
    ASSIGN_OR_RETURN(ExpressionPtr right, ParsePower());
    node->left = Adopt(node.get(), std::move(left));
    node->right = Adopt(node.get(), std::move(right));
    ASSIGN_OR_RETURN(left, Finish(stream_, std::move(node)));
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePower() {
  ASSIGN_OR_RETURN(ExpressionPtr left, ParseUnary(/*with_filters=*/true));
  while (stream_.SkipOperator("**")) {
    auto node = MakeNode<ArithmeticOperation>(stream_);
    node->op = Arithmetic::kPower;
    ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary(/*with_filters=*/true));
    node->left = Adopt(node.get(), std::move(left));
    node->right = Adopt(node.get(), std::move(right));
    ASSIGN_OR_RETURN(left, Finish(stream_, std::move(node)));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseUnary(bool with_filters) {
  const TokenStream::Nesting nesting(stream_);
  RETURN_IF_ERROR(nesting.Check());
  ExpressionPtr expression;
  if (stream_.AtOperator("-")) {
    auto node = MakeNode<Negation>(stream_);
    stream_.Take();
    ASSIGN_OR_RETURN(ExpressionPtr operand, ParseUnary(false));
    node->operand = Adopt(node.get(), std::move(operand));
    expression = std::move(node);
  } else if (stream_.SkipOperator("+")) {
    ASSIGN_OR_RETURN(expression, ParseUnary(false));
  } else {
    ASSIGN_OR_RETURN(expression, ParsePrimary());
  }
  ASSIGN_OR_RETURN(expression, ParsePostfix(std::move(expression)));
  if (!with_filters) return Finish(stream_, std::move(expression));
  return ParseFilters(std::move(expression));
}

}  // namespace mla::runtime::jinja
