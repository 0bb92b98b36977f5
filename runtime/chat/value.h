// Value is what an expression of a template evaluates to: Python's None, bool,
// int (64 bits), float, str, list, tuple and dict, Jinja's Undefined, and
// objects that only templates make (namespaces, loops, macros, bound methods).
//
// Texts, lists and dicts are immutable and shared, so copying a Value is cheap.
// Containers know their depth: nothing nests deeper than kMaxValueDepth, which
// bounds every recursion over values, destructors included. But sharing lets a
// few steps build a list that holds another 2^60 times: whoever walks a value
// pays a Budget for each item.
//
// Threads: values of one rendering stay on its thread.
#ifndef MLA_RUNTIME_CHAT_VALUE_H_
#define MLA_RUNTIME_CHAT_VALUE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/marked_text.h"

namespace mla::runtime::jinja {

inline constexpr int kMaxValueDepth = 100;

class Value;
struct List;
struct Dict;

// What only templates make; see objects.h.
class Object {
 public:
  virtual ~Object() = default;
  // As Python would name it in a message.
  virtual const char* type_name() const = 0;
  virtual int depth() const { return 0; }
};

class Value {
 public:
  struct None {};
  // `why` is the message of an error if the value is used: "'x' is undefined".
  struct Undefined {
    std::shared_ptr<const std::string> why;
  };

  Value() : data_(None()) {}
  static Value MakeUndefined(std::string why);
  static Value Of(bool b) { return Value(Data(b)); }
  static Value Of(int64_t i) { return Value(Data(i)); }
  static Value Of(double d) { return Value(Data(d)); }
  static Value Of(MarkedText text);
  // Text that the interpreter makes, trusted as the template itself is.
  static Value Of(std::string_view text);
  static Value Of(const char* text) { return Of(std::string_view(text)); }
  static Value Of(List list);  // made by MakeList
  static Value Of(Dict dict);  // made by MakeDict
  static Value Of(std::shared_ptr<Object> object) {
    return Value(Data(std::move(object)));
  }

  bool IsUndefined() const { return std::holds_alternative<Undefined>(data_); }
  bool IsNone() const { return std::holds_alternative<None>(data_); }

  // Null, or the content if it has that type.
  const bool* AsBool() const { return std::get_if<bool>(&data_); }
  const int64_t* AsInt() const { return std::get_if<int64_t>(&data_); }
  const double* AsFloat() const { return std::get_if<double>(&data_); }
  // Of a bool or an int.
  std::optional<int64_t> AsWhole() const;
  // Of a bool, an int or a float. An int beyond 2^53 is rounded.
  std::optional<double> AsNumber() const;
  const MarkedText* AsText() const { return Shared<MarkedText>(); }
  const List* AsList() const { return Shared<List>(); }
  const Dict* AsDict() const { return Shared<Dict>(); }
  template <typename T>
  T* AsObject() const {
    const auto* object = std::get_if<std::shared_ptr<Object>>(&data_);
    return object == nullptr ? nullptr : dynamic_cast<T*>(object->get());
  }
  const std::string& WhyUndefined() const {
    return *std::get<Undefined>(data_).why;
  }

  // Python's truth value.
  bool IsTrue() const;
  // "str", "int", "list", ...; "Undefined".
  const char* TypeName() const;
  // 0 unless it is a container.
  int depth() const;

 private:
  using Data =
      std::variant<None, Undefined, bool, int64_t, double,
                   std::shared_ptr<const MarkedText>,
                   std::shared_ptr<const List>, std::shared_ptr<const Dict>,
                   std::shared_ptr<Object>>;
  explicit Value(Data data) : data_(std::move(data)) {}

  template <typename T>
  const T* Shared() const {
    const auto* pointer = std::get_if<std::shared_ptr<const T>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  Data data_;
};

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  int depth = 1;
};

// In the order of insertion. Keys are texts, numbers, bools or None; unique.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;

  // Null if there is no such key.
  const Value* Find(std::string_view key) const;
};

// Wrap items into a value; an error if that nests too deep.
absl::StatusOr<Value> MakeList(Budget& budget, std::vector<Value> items,
                               bool is_tuple = false);
absl::StatusOr<Value> MakeDict(Budget& budget,
                               std::vector<std::pair<Value, Value>> items);

// ==, as Python compares: 1 == 1.0 == True; texts equal only texts.
absl::StatusOr<bool> Equal(Budget& budget, const Value& a, const Value& b);
absl::StatusOr<const Value*> Find(Budget& budget, const Dict& dict,
                                  const Value& key);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_VALUE_H_
