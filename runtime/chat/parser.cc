// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/parser.h"

#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "runtime/chat/expression_parser.h"
#include "runtime/chat/lexer.h"
#include "runtime/chat/token_stream.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

using EndTags = std::initializer_list<const char*>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens)
      : stream_(std::move(tokens)), expressions_(stream_) {}

  absl::StatusOr<Block> ParseAll() {
    ASSIGN_OR_RETURN(Block block, ParseBlock({}));
    if (!stream_.At(TokenKind::kEnd)) return stream_.Unexpected();
    return block;
  }

 private:
  template <typename Node>
  std::unique_ptr<Node> MakeNode() const {
    auto node = std::make_unique<Node>();
    node->line = stream_.Current().line;
    return node;
  }

  // Statements up to one of the end tags, whose name is then current, or up to
  // the end of the source.
  absl::StatusOr<Block> ParseBlock(EndTags end_tags) {
    const TokenStream::Nesting nesting(stream_);
    RETURN_IF_ERROR(nesting.Check());
    Block block;
    while (!stream_.At(TokenKind::kEnd)) {
      if (stream_.At(TokenKind::kBlockBegin)) {
        stream_.Take();
        for (const char* end_tag : end_tags) {
          if (stream_.AtName(end_tag)) return block;
        }
      }
      ASSIGN_OR_RETURN(StatementPtr statement, ParseStatement());
      block.statements.push_back(std::move(statement));
    }
    return block;
  }

  // A block up to `end_tag`, and that tag.
  absl::StatusOr<Block> ParseBody(const char* end_tag) {
    ASSIGN_OR_RETURN(Block body, ParseBlock({end_tag}));
    RETURN_IF_ERROR(TakeTag(end_tag));
    return body;
  }

  absl::Status TakeTag(const char* name) {
    if (!stream_.SkipName(name)) {
      return stream_.Error(absl::StrCat("expected {% ", name, " %}"));
    }
    return ExpectTagEnd();
  }

  absl::Status ExpectTagEnd() {
    return stream_.Expect(TokenKind::kBlockEnd, "'%}'");
  }

  absl::StatusOr<StatementPtr> ParseStatement() {
    if (stream_.At(TokenKind::kText)) {
      auto node = MakeNode<TemplateText>();
      node->text = MarkedText(stream_.Take().text, /*trusted=*/true);
      return node;
    }
    if (stream_.At(TokenKind::kVariableBegin)) return ParseOutput();
    if (!stream_.At(TokenKind::kName)) return stream_.Unexpected();
    return ParseTag();
  }

  absl::StatusOr<StatementPtr> ParseOutput() {
    auto node = MakeNode<Output>();
    stream_.Take();
    ASSIGN_OR_RETURN(node->expression, ParseTuple());
    RETURN_IF_ERROR(stream_.Expect(TokenKind::kVariableEnd, "'}}'"));
    return node;
  }

  absl::StatusOr<ExpressionPtr> ParseTuple() {
    return expressions_.ParseTuple(ExpressionParser::Conditionals::kAllowed);
  }
  absl::StatusOr<ExpressionPtr> ParseTupleWithoutConditional() {
    return expressions_.ParseTuple(ExpressionParser::Conditionals::kNotAllowed);
  }

  absl::StatusOr<StatementPtr> ParseTag() {
    if (stream_.AtName("if")) return ParseIf();
    if (stream_.AtName("for")) return ParseFor();
    if (stream_.AtName("set")) return ParseSet();
    if (stream_.AtName("macro")) return ParseMacro();
    if (stream_.AtName("break")) return ParseLoopControl(Flow::kBreak);
    if (stream_.AtName("continue")) return ParseLoopControl(Flow::kContinue);
    if (stream_.AtName("generation")) return ParseGeneration();
    if (stream_.AtName("filter")) return ParseFilterBlock();
    if (stream_.AtName("with")) return ParseWith();
    if (stream_.Current().text.starts_with("end") || stream_.AtName("else") ||
        stream_.AtName("elif")) {
      return stream_.Unexpected();
    }
    return stream_.Unsupported(
        absl::StrCat("tag '", stream_.Current().text, "'"));
  }

  absl::StatusOr<StatementPtr> ParseIf() {
    auto node = MakeNode<If>();
    while (stream_.SkipName("if") || stream_.SkipName("elif")) {
      ASSIGN_OR_RETURN(ExpressionPtr condition, ParseTupleWithoutConditional());
      RETURN_IF_ERROR(ExpectTagEnd());
      ASSIGN_OR_RETURN(Block body, ParseBlock({"elif", "else", "endif"}));
      node->branches.emplace_back(std::move(condition), std::move(body));
    }
    if (stream_.SkipName("else")) {
      RETURN_IF_ERROR(ExpectTagEnd());
      ASSIGN_OR_RETURN(node->otherwise, ParseBlock({"endif"}));
    }
    RETURN_IF_ERROR(TakeTag("endif"));
    return node;
  }

  absl::StatusOr<StatementPtr> ParseFor() {
    auto node = MakeNode<For>();
    stream_.Take();
    ASSIGN_OR_RETURN(node->target, ParseTarget());
    if (!stream_.SkipName("in")) return stream_.Error("expected 'in'");
    ASSIGN_OR_RETURN(node->iterable, ParseTupleWithoutConditional());
    if (stream_.SkipName("if")) {
      ASSIGN_OR_RETURN(node->condition, expressions_.ParseExpression());
    }
    if (stream_.AtName("recursive")) {
      return stream_.Unsupported("a recursive for");
    }
    RETURN_IF_ERROR(ExpectTagEnd());
    ++loops_;
    ASSIGN_OR_RETURN(node->body, ParseBlock({"else", "endfor"}));
    --loops_;
    if (stream_.SkipName("else")) {
      RETURN_IF_ERROR(ExpectTagEnd());
      ASSIGN_OR_RETURN(node->otherwise, ParseBlock({"endfor"}));
    }
    RETURN_IF_ERROR(TakeTag("endfor"));
    return node;
  }

  // a | a, b | (a, b) | space.a
  absl::StatusOr<Target> ParseTarget() {
    Target target;
    const bool parenthesized = stream_.SkipOperator("(");
    do {
      if (!stream_.At(TokenKind::kName) || stream_.AtName("in")) break;
      target.names.push_back(stream_.Take().text);
    } while (stream_.SkipOperator(",") && (target.unpacks = true));
    if (parenthesized) RETURN_IF_ERROR(stream_.ExpectOperator(")"));
    if (target.names.empty()) return stream_.Unexpected();
    if (!target.unpacks && stream_.SkipOperator(".")) {
      ASSIGN_OR_RETURN(target.attribute, stream_.ExpectName());
    }
    return target;
  }

  absl::StatusOr<StatementPtr> ParseSet() {
    const int line = stream_.Current().line;
    stream_.Take();
    ASSIGN_OR_RETURN(Target target, ParseTarget());
    if (stream_.SkipOperator("=")) {
      auto node = MakeNode<Set>();
      node->target = std::move(target);
      ASSIGN_OR_RETURN(node->expression, ParseTuple());
      RETURN_IF_ERROR(ExpectTagEnd());
      return node;
    }
    auto node = MakeNode<BlockSet>();
    node->line = line;
    node->target = std::move(target);
    while (stream_.SkipOperator("|")) {
      ASSIGN_OR_RETURN(FilterCall filter, expressions_.ParseFilterCall());
      node->filters.push_back(std::move(filter));
    }
    RETURN_IF_ERROR(ExpectTagEnd());
    ASSIGN_OR_RETURN(node->body, ParseCapturedBody("endset"));
    return node;
  }

  // What is captured cannot be left by break or continue.
  absl::StatusOr<Block> ParseCapturedBody(const char* end_tag) {
    const int loops = std::exchange(loops_, 0);
    ASSIGN_OR_RETURN(Block body, ParseBody(end_tag));
    loops_ = loops;
    return body;
  }

  absl::StatusOr<StatementPtr> ParseFilterBlock() {
    auto node = MakeNode<FilterBlock>();
    stream_.Take();
    do {
      ASSIGN_OR_RETURN(FilterCall filter, expressions_.ParseFilterCall());
      node->filters.push_back(std::move(filter));
    } while (stream_.SkipOperator("|"));
    RETURN_IF_ERROR(ExpectTagEnd());
    ASSIGN_OR_RETURN(node->body, ParseCapturedBody("endfilter"));
    return node;
  }

  absl::StatusOr<StatementPtr> ParseMacro() {
    auto node = MakeNode<MacroDefinition>();
    stream_.Take();
    // A macro sees the variables of the top level only.
    if (loops_ > 0 || in_macro_) {
      return stream_.Unsupported("a macro inside a for or another macro");
    }
    ASSIGN_OR_RETURN(node->name, stream_.ExpectName());
    RETURN_IF_ERROR(stream_.ExpectOperator("("));
    while (!stream_.AtOperator(")")) {
      MacroDefinition::Parameter parameter;
      ASSIGN_OR_RETURN(parameter.name, stream_.ExpectName());
      if (stream_.SkipOperator("=")) {
        ASSIGN_OR_RETURN(parameter.fallback, expressions_.ParseExpression());
      }
      node->parameters.push_back(std::move(parameter));
      if (!stream_.SkipOperator(",")) break;
    }
    RETURN_IF_ERROR(stream_.ExpectOperator(")"));
    RETURN_IF_ERROR(ExpectTagEnd());
    in_macro_ = true;
    ASSIGN_OR_RETURN(node->body, ParseCapturedBody("endmacro"));
    in_macro_ = false;
    return node;
  }

  absl::StatusOr<StatementPtr> ParseLoopControl(Flow flow) {
    auto node = MakeNode<LoopControl>();
    node->flow = flow;
    if (loops_ == 0) return stream_.Unexpected();
    stream_.Take();
    RETURN_IF_ERROR(ExpectTagEnd());
    return node;
  }

  absl::StatusOr<StatementPtr> ParseGeneration() {
    auto node = MakeNode<With>();
    stream_.Take();
    RETURN_IF_ERROR(ExpectTagEnd());
    ASSIGN_OR_RETURN(node->body, ParseBody("endgeneration"));
    return node;
  }

  absl::StatusOr<StatementPtr> ParseWith() {
    auto node = MakeNode<With>();
    stream_.Take();
    while (!stream_.At(TokenKind::kBlockEnd)) {
      ASSIGN_OR_RETURN(std::string name, stream_.ExpectName());
      RETURN_IF_ERROR(stream_.ExpectOperator("="));
      ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseExpression());
      node->assignments.emplace_back(Target{{std::move(name)}, false, {}},
                                     std::move(value));
      if (!stream_.SkipOperator(",")) break;
    }
    RETURN_IF_ERROR(ExpectTagEnd());
    ASSIGN_OR_RETURN(node->body, ParseBody("endwith"));
    return node;
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;  // for statements around this point
  bool in_macro_ = false;
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source) {
  if (source.size() > kMaxTemplateBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a template of ", source.size(), " bytes is longer than ",
                     kMaxTemplateBytes));
  }
  const size_t invalid = FindInvalidUtf8(source);
  if (invalid != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("not valid UTF-8 at byte ", invalid));
  }
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).ParseAll();
}

}  // namespace mla::runtime::jinja
