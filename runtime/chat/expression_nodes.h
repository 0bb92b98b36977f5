// How the parser makes the nodes of expressions: with the line they stand on,
// and with a bound on how deep they nest.
// Threads: any. Errors: Finish gives InvalidArgument with the line.
#ifndef MLA_RUNTIME_CHAT_EXPRESSION_NODES_H_
#define MLA_RUNTIME_CHAT_EXPRESSION_NODES_H_

#include <algorithm>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "runtime/chat/expressions.h"
#include "runtime/chat/token_stream.h"

namespace mla::runtime::jinja {

// a + b + c + ... nests to the left without any parenthesis.
inline constexpr int kMaxExpressionDepth = 200;

// Counts an operand into the depth of the expression that will own it.
inline ExpressionPtr Adopt(Expression* owner, ExpressionPtr operand) {
  owner->depth = std::max(owner->depth, operand->depth + 1);
  return operand;
}

inline void AdoptArguments(Expression* owner, const CallArguments& arguments) {
  for (const auto& argument : arguments.positional) {
    owner->depth = std::max(owner->depth, argument->depth + 1);
  }
  for (const auto& [name, argument] : arguments.named) {
    owner->depth = std::max(owner->depth, argument->depth + 1);
  }
}

inline absl::StatusOr<ExpressionPtr> Finish(const TokenStream& stream,
                                            ExpressionPtr expression) {
  if (expression->depth <= kMaxExpressionDepth) return expression;
  return stream.Error(
      absl::StrCat("an expression nests deeper than ", kMaxExpressionDepth));
}

template <typename Node>
std::unique_ptr<Node> MakeNode(const TokenStream& stream) {
  auto node = std::make_unique<Node>();
  node->line = stream.Current().line;
  return node;
}

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_EXPRESSION_NODES_H_
