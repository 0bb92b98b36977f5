// The statements of a parsed template. Each knows how to execute itself.
//
// Owns:    its expressions and the statements inside it. Immutable.
// Threads: any; each rendering brings its Context.
// Errors:  those of expressions.
// Flow:    Parser -> [here] -> Context's output
#ifndef MLA_RUNTIME_CHAT_STATEMENTS_H_
#define MLA_RUNTIME_CHAT_STATEMENTS_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/chat/context.h"
#include "runtime/chat/expressions.h"
#include "runtime/chat/marked_text.h"

namespace mla::runtime::jinja {

// How a statement ends: on to the next, or out of or around the loop.
enum class Flow { kNext, kBreak, kContinue };

class Statement {
 public:
  virtual ~Statement() = default;

  // Pays one step and one level, then runs.
  absl::StatusOr<Flow> Execute(Context& context) const;

  int line = 0;

 private:
  virtual absl::StatusOr<Flow> Run(Context& context) const = 0;
};

using StatementPtr = std::unique_ptr<Statement>;

struct Block {
  std::vector<StatementPtr> statements;

  absl::StatusOr<Flow> Execute(Context& context) const;
};

// Where a set or a for puts values: names, or one attribute of a namespace.
struct Target {
  std::vector<std::string> names;
  bool unpacks = false;                  // a, b: the value is taken apart
  std::optional<std::string> attribute;  // of the namespace names[0]

  absl::Status Assign(Context& context, const Value& value) const;
};

// Text between tags.
struct TemplateText : Statement {
  MarkedText text;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

// {{ expression }}
struct Output : Statement {
  ExpressionPtr expression;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

struct If : Statement {
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  Block otherwise;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

struct For : Statement {
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  // null: every item
  Block body;
  Block otherwise;  // when there is no item

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
  absl::StatusOr<std::vector<Value>> SelectItems(Context& context) const;
};

struct LoopControl : Statement {
  Flow flow = Flow::kBreak;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

struct Set : Statement {
  Target target;
  ExpressionPtr expression;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

// {% set target | filters %} body {% endset %}
struct BlockSet : Statement {
  Target target;
  std::vector<FilterCall> filters;
  Block body;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

// {% filter filters %} body {% endfilter %}
struct FilterBlock : Statement {
  std::vector<FilterCall> filters;
  Block body;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

// {% with names = values %} body {% endwith %}, and {% generation %}, which
// only marks what the assistant says.
struct With : Statement {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Block body;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

struct MacroDefinition : Statement {
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // null: Undefined if it is not given
  };
  std::string name;
  std::vector<Parameter> parameters;
  Block body;

  absl::StatusOr<Value> Call(Context& context,
                             const Arguments& arguments) const;

 private:
  absl::StatusOr<Flow> Run(Context& context) const override;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_STATEMENTS_H_
