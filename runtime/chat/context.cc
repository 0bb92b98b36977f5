// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/context.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/chat/globals.h"
#include "runtime/chat/objects.h"

namespace mla::runtime::jinja {

Context::Context(absl::Time now)
    : now_(now), top_level_(*this, Sees::kEnclosing) {}

Context::~Context() = default;

Value Context::Lookup(const std::string& name) const {
  for (const Scope* scope = innermost_; scope != nullptr;
       scope = scope->parent_) {
    const auto it = scope->variables_.find(name);
    if (it != scope->variables_.end()) return it->second;
  }
  if (auto function = FindGlobal(name)) return Value::Of(std::move(function));
  return Value::MakeUndefined(absl::StrCat("'", name, "' is undefined"));
}

void Context::Set(const std::string& name, Value value) {
  innermost_->variables_[name] = std::move(value);
}

Context::Scope::Scope(Context& context, Sees sees)
    : context_(context),
      previous_(context.innermost_),
      parent_(sees == Sees::kTopLevel ? &context.top_level_
                                      : context.innermost_) {
  context_.innermost_ = this;
}

Context::Scope::~Scope() { context_.innermost_ = previous_; }

absl::Status Context::Write(const MarkedText& text) {
  if (absl::Status status = budget_.Bytes(text.cost()); !status.ok()) {
    return status;
  }
  output_->Append(text);
  return absl::OkStatus();
}

Context::Capture::Capture(Context& context)
    : context_(context), previous_(context.output_) {
  context_.output_ = &text_;
}

Context::Capture::~Capture() { context_.output_ = previous_; }

Value Context::MakeNamespace() {
  namespaces_.push_back(std::make_unique<Namespace>());
  // Not owning: a namespace that held itself would never be freed.
  return Value::Of(std::shared_ptr<Object>(std::shared_ptr<Object>(),
                                           namespaces_.back().get()));
}

}  // namespace mla::runtime::jinja
