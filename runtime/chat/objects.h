// The objects that templates make: namespaces, the `loop` variable, macros,
// and methods and global functions as values.
// Threads: one rendering's.
#ifndef MLA_RUNTIME_CHAT_OBJECTS_H_
#define MLA_RUNTIME_CHAT_OBJECTS_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/chat/arguments.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

class Context;

// namespace(): the one thing that a template can change. It may come to hold
// itself, so values only point to it; the Context owns it.
class Namespace : public Object {
 public:
  const char* type_name() const override { return "Namespace"; }
  absl::flat_hash_map<std::string, Value> attributes;
};

// The variable `loop` of a for statement.
class Loop : public Object {
 public:
  explicit Loop(std::vector<Value> loop_items);
  const char* type_name() const override { return "LoopContext"; }
  int depth() const override { return depth_; }

  // Undefined for a name that it does not have.
  Value Attribute(std::string_view name) const;

  const std::vector<Value> items;
  size_t index0 = 0;

 private:
  int depth_ = 1;
};

// Whatever can be called.
class Callable : public Object {
 public:
  const char* type_name() const override { return "function"; }
  virtual absl::StatusOr<Value> Call(Context& context,
                                     const Arguments& arguments) = 0;
};

// `text.strip`, ready to be called.
class BoundMethod : public Callable {
 public:
  BoundMethod(Value self, std::string name)
      : self_(std::move(self)), name_(std::move(name)) {}
  const char* type_name() const override { return "method"; }
  int depth() const override { return self_.depth() + 1; }
  absl::StatusOr<Value> Call(Context& context,
                             const Arguments& arguments) override;

 private:
  Value self_;
  std::string name_;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_OBJECTS_H_
