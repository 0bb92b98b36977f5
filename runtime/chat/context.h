// Context is the state of one rendering: variables, output, budget.
//
// Owns:    the scopes, the output and the namespaces that the template makes.
// Threads: one.
// Errors:  Write passes on the budget's.
// Flow:    ChatTemplate::Render -> Statement::Execute(context)
#ifndef MLA_RUNTIME_CHAT_CONTEXT_H_
#define MLA_RUNTIME_CHAT_CONTEXT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/marked_text.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

class Namespace;

class Context {
 public:
  explicit Context(absl::Time now);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Budget& budget() { return budget_; }
  absl::Time now() const { return now_; }

  // The innermost variable of that name, else the global function, else an
  // Undefined that says so.
  Value Lookup(const std::string& name) const;
  // Sets a variable of the innermost scope.
  void Set(const std::string& name, Value value);

  // A new innermost scope while it lives. A macro's scope sees the variables
  // of the template's top level, not those around the call.
  enum class Sees { kEnclosing, kTopLevel };
  class Scope {
   public:
    Scope(Context& context, Sees sees);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    friend class Context;
    Context& context_;
    Scope* const previous_;  // innermost before this one
    Scope* const parent_;    // where a lookup goes on
    absl::flat_hash_map<std::string, Value> variables_;
  };

  absl::Status Write(const MarkedText& text);
  MarkedText TakeOutput() { return std::move(*output_); }

  // While it lives, what is written goes here and not to the output.
  class Capture {
   public:
    explicit Capture(Context& context);
    ~Capture();
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    MarkedText Take() { return std::move(text_); }

   private:
    Context& context_;
    MarkedText* const previous_;
    MarkedText text_;
  };

  // A value that points to a new namespace, which lives as long as the context.
  Value MakeNamespace();

  // For error messages: the line of what is being evaluated, and whether the
  // error is the template's own raise_exception.
  void set_line(int line) { line_ = line; }
  int line() const { return line_; }
  void set_raised() { raised_ = true; }
  bool raised() const { return raised_; }

 private:
  Budget budget_;
  absl::Time now_;
  MarkedText final_output_;
  MarkedText* output_ = &final_output_;
  // Declared before the scopes: their values point into it.
  std::vector<std::unique_ptr<Namespace>> namespaces_;
  Scope* innermost_ = nullptr;
  Scope top_level_;
  int line_ = 0;
  bool raised_ = false;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_CONTEXT_H_
