// The other half of ExpressionParser: names, literals, brackets, and what can
// follow them.
//
// Tested by tests/runtime/chat_snippet_test.cc.
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/chat/expression_nodes.h"
#include "runtime/chat/expression_parser.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

absl::StatusOr<ExpressionPtr> MakeConstant(const TokenStream& stream,
                                           Value value) {
  auto node = MakeNode<Constant>(stream);
  node->value = std::move(value);
  return node;
}

}  // namespace

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePrimary() {
  switch (stream_.Current().kind) {
    case TokenKind::kName:
      return ParseNameOrConstant();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseNumber();
    case TokenKind::kString: {
      // Neighbours are one string.
      std::string text;
      while (stream_.At(TokenKind::kString)) text += stream_.Take().text;
      return MakeConstant(stream_, Value::Of(text));
    }
    default:
      break;
  }
  if (stream_.AtOperator("(")) return ParseParenthesized();
  if (stream_.AtOperator("[")) return ParseList();
  if (stream_.AtOperator("{")) return ParseDict();
  return stream_.Unexpected();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNumber() {
  const bool is_float = stream_.At(TokenKind::kFloat);
  const std::string& text = stream_.Current().text;
  const char* end = text.data() + text.size();
  int64_t integer = 0;
  double number = 0;
  const auto parsed = is_float ? std::from_chars(text.data(), end, number)
                               : std::from_chars(text.data(), end, integer);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return stream_.Error(absl::StrCat("number ", text, " is out of range"));
  }
  stream_.Take();
  return MakeConstant(stream_,
                      is_float ? Value::Of(number) : Value::Of(integer));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNameOrConstant() {
  auto variable = MakeNode<Variable>(stream_);
  variable->name = stream_.Take().text;
  const std::string& name = variable->name;
  if (name == "true" || name == "True") {
    return MakeConstant(stream_, Value::Of(true));
  }
  if (name == "false" || name == "False") {
    return MakeConstant(stream_, Value::Of(false));
  }
  if (name == "none" || name == "None") return MakeConstant(stream_, Value());
  return variable;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseParenthesized() {
  RETURN_IF_ERROR(stream_.ExpectOperator("("));
  if (stream_.SkipOperator(")")) {
    auto empty = MakeNode<ListDisplay>(stream_);
    empty->is_tuple = true;
    return empty;
  }
  ASSIGN_OR_RETURN(ExpressionPtr inside, ParseTuple(Conditionals::kAllowed));
  RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return inside;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseList() {
  auto list = MakeNode<ListDisplay>(stream_);
  RETURN_IF_ERROR(stream_.ExpectOperator("["));
  while (!stream_.AtOperator("]")) {
    ASSIGN_OR_RETURN(ExpressionPtr item, ParseExpression());
    list->items.push_back(Adopt(list.get(), std::move(item)));
    if (!stream_.SkipOperator(",")) break;
  }
  RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  return Finish(stream_, std::move(list));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseDict() {
  auto dict = MakeNode<DictDisplay>(stream_);
  RETURN_IF_ERROR(stream_.ExpectOperator("{"));
  while (!stream_.AtOperator("}")) {
    ASSIGN_OR_RETURN(ExpressionPtr key, ParseExpression());
    RETURN_IF_ERROR(stream_.ExpectOperator(":"));
    ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
    key = Adopt(dict.get(), std::move(key));
    dict->items.emplace_back(std::move(key),
                             Adopt(dict.get(), std::move(value)));
    if (!stream_.SkipOperator(",")) break;
  }
  RETURN_IF_ERROR(stream_.ExpectOperator("}"));
  return Finish(stream_, std::move(dict));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePostfix(
    ExpressionPtr expression) {
  while (true) {
    if (stream_.AtOperator(".")) {
      ASSIGN_OR_RETURN(expression, ParseAttribute(std::move(expression)));
    } else if (stream_.AtOperator("[")) {
      ASSIGN_OR_RETURN(expression, ParseSubscript(std::move(expression)));
    } else if (stream_.AtOperator("(")) {
      ASSIGN_OR_RETURN(expression, ParseCall(std::move(expression)));
    } else {
      return expression;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAttribute(
    ExpressionPtr object) {
  RETURN_IF_ERROR(stream_.ExpectOperator("."));
  if (stream_.At(TokenKind::kInteger)) {
    auto item = MakeNode<ItemAccess>(stream_);
    ASSIGN_OR_RETURN(ExpressionPtr index, ParseNumber());
    item->object = Adopt(item.get(), std::move(object));
    item->key = Adopt(item.get(), std::move(index));
    return Finish(stream_, std::move(item));
  }
  auto access = MakeNode<AttributeAccess>(stream_);
  ASSIGN_OR_RETURN(access->name, stream_.ExpectName());
  access->object = Adopt(access.get(), std::move(object));
  return Finish(stream_, std::move(access));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSubscript(
    ExpressionPtr object) {
  auto item = MakeNode<ItemAccess>(stream_);
  auto slice = MakeNode<SliceAccess>(stream_);
  RETURN_IF_ERROR(stream_.ExpectOperator("["));
  ExpressionPtr bounds[3];
  int colons = 0;
  while (!stream_.AtOperator("]")) {
    if (stream_.SkipOperator(":")) {
      if (++colons > 2) return stream_.Unexpected();
    } else if (bounds[colons] == nullptr) {
      ASSIGN_OR_RETURN(bounds[colons], ParseExpression());
    } else {
      return stream_.Unexpected();
    }
  }
  if (colons == 0 && bounds[0] == nullptr) return stream_.Unexpected();
  RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  if (colons == 0) {
    item->object = Adopt(item.get(), std::move(object));
    item->key = Adopt(item.get(), std::move(bounds[0]));
    return Finish(stream_, std::move(item));
  }
  slice->object = Adopt(slice.get(), std::move(object));
  ExpressionPtr* const parts[] = {&slice->start, &slice->stop, &slice->step};
  for (int i = 0; i < 3; ++i) {
    if (bounds[i] != nullptr) {
      *parts[i] = Adopt(slice.get(), std::move(bounds[i]));
    }
  }
  return Finish(stream_, std::move(slice));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCall(
    ExpressionPtr callee) {
  auto call = MakeNode<CallExpression>(stream_);
  ASSIGN_OR_RETURN(call->arguments, ParseArguments());
  AdoptArguments(call.get(), call->arguments);
  call->callee = Adopt(call.get(), std::move(callee));
  return Finish(stream_, std::move(call));
}

absl::StatusOr<CallArguments> ExpressionParser::ParseArguments() {
  CallArguments arguments;
  RETURN_IF_ERROR(stream_.ExpectOperator("("));
  while (!stream_.AtOperator(")")) {
    if (stream_.AtOperator("*") || stream_.AtOperator("**")) {
      return stream_.Unsupported("unpacking arguments");
    }
    const Token& ahead = stream_.Ahead();
    const bool named = stream_.At(TokenKind::kName) &&
                       ahead.kind == TokenKind::kOperator && ahead.text == "=";
    if (!named && !arguments.named.empty()) {
      return stream_.Error("a positional argument follows a named one");
    }
    std::string name;
    if (named) {
      name = stream_.Take().text;
      stream_.Take();
    }
    ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
    if (named) {
      arguments.named.emplace_back(std::move(name), std::move(value));
    } else {
      arguments.positional.push_back(std::move(value));
    }
    if (!stream_.SkipOperator(",")) break;
  }
  RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return arguments;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters(
    ExpressionPtr expression) {
  while (true) {
    if (stream_.SkipOperator("|")) {
      auto node = MakeNode<FilterExpression>(stream_);
      ASSIGN_OR_RETURN(node->filter, ParseFilterCall());
      AdoptArguments(node.get(), node->filter.arguments);
      node->value = Adopt(node.get(), std::move(expression));
      ASSIGN_OR_RETURN(expression, Finish(stream_, std::move(node)));
    } else if (stream_.AtName("is")) {
      ASSIGN_OR_RETURN(expression, ParseTest(std::move(expression)));
    } else if (stream_.AtOperator("(")) {
      ASSIGN_OR_RETURN(expression, ParseCall(std::move(expression)));
    } else {
      return Finish(stream_, std::move(expression));
    }
  }
}

absl::StatusOr<FilterCall> ExpressionParser::ParseFilterCall() {
  FilterCall filter;
  filter.line = stream_.Current().line;
  ASSIGN_OR_RETURN(filter.name, stream_.ExpectName());
  if (stream_.AtOperator("(")) {
    ASSIGN_OR_RETURN(filter.arguments, ParseArguments());
  }
  return filter;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr value) {
  auto node = MakeNode<TestExpression>(stream_);
  stream_.Take();  // is
  const bool negated = stream_.SkipName("not");
  ASSIGN_OR_RETURN(node->name, stream_.ExpectName());
  const TokenKind kind = stream_.Current().kind;
  const bool ends =
      stream_.AtName("else") || stream_.AtName("or") || stream_.AtName("and");
  const bool begins_argument =
      kind == TokenKind::kName || kind == TokenKind::kString ||
      kind == TokenKind::kInteger || kind == TokenKind::kFloat ||
      stream_.AtOperator("[") || stream_.AtOperator("{");
  if (stream_.AtOperator("(")) {
    ASSIGN_OR_RETURN(node->arguments, ParseArguments());
  } else if (begins_argument && !ends) {
    // One argument may stand without parentheses: `is divisibleby 3`.
    ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    node->arguments.positional.push_back(std::move(argument));
  }
  AdoptArguments(node.get(), node->arguments);
  node->value = Adopt(node.get(), std::move(value));
  if (!negated) return Finish(stream_, std::move(node));
  auto negation = MakeNode<Not>(stream_);
  negation->operand = Adopt(negation.get(), std::move(node));
  return Finish(stream_, std::move(negation));
}

}  // namespace mla::runtime::jinja
