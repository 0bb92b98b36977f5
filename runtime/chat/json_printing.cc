// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/json_printing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/value_writer.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

class JsonWriter : public ValueWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style)
      : ValueWriter(budget), style_(style) {}

  absl::Status Write(const Value& value) {
    RETURN_IF_ERROR(Pay(value));
    if (const MarkedText* text = value.AsText()) {
      WriteText(text->str());
    } else if (const List* list = value.AsList()) {
      return WriteList(*list);
    } else if (const Dict* dict = value.AsDict()) {
      return WriteDict(*dict);
    } else if (const auto scalar = Scalar(value)) {
      out_.append(*scalar);
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "Object of type ", value.TypeName(), " is not JSON serializable"));
    }
    return absl::OkStatus();
  }

 private:
  static std::optional<std::string> Scalar(const Value& value) {
    if (value.IsNone()) return "null";
    if (const bool* b = value.AsBool()) return *b ? "true" : "false";
    if (const int64_t* i = value.AsInt()) return absl::StrCat(*i);
    const double* d = value.AsFloat();
    if (d == nullptr) return std::nullopt;
    if (std::isnan(*d)) return "NaN";
    if (std::isinf(*d)) return *d < 0 ? "-Infinity" : "Infinity";
    return FormatFloat(*d);
  }

  absl::Status NewLine() {
    if (!style_.indent.has_value()) return absl::OkStatus();
    const size_t size = 1 + level_ * style_.indent->size();
    RETURN_IF_ERROR(budget_.Bytes(size));
    out_.push_back('\n');
    for (int i = 0; i < level_; ++i) out_.append(*style_.indent);
    return absl::OkStatus();
  }

  absl::Status WriteList(const List& list) {
    if (list.items.empty()) {
      out_.append("[]");
      return absl::OkStatus();
    }
    out_.push_back('[');
    ++level_;
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      RETURN_IF_ERROR(NewLine());
      RETURN_IF_ERROR(Write(list.items[i]));
    }
    --level_;
    RETURN_IF_ERROR(NewLine());
    out_.push_back(']');
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict) {
    if (dict.items.empty()) {
      out_.append("{}");
      return absl::OkStatus();
    }
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto* a, const auto* b) {
                         return KeyText(a->first) < KeyText(b->first);
                       });
    }
    out_.push_back('{');
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      RETURN_IF_ERROR(NewLine());
      RETURN_IF_ERROR(Pay(items[i]->first));
      WriteText(KeyText(items[i]->first));
      out_.append(style_.key_separator);
      RETURN_IF_ERROR(Write(items[i]->second));
    }
    --level_;
    RETURN_IF_ERROR(NewLine());
    out_.push_back('}');
    return absl::OkStatus();
  }

  static std::string KeyText(const Value& key) {
    if (const MarkedText* text = key.AsText()) return text->str();
    return Scalar(key).value_or("");
  }

  void WriteText(std::string_view text) {
    out_.push_back('"');
    for (size_t pos = 0; pos < text.size();) {
      const size_t begin = pos;
      const char32_t c = NextCharacter(text, &pos);
      if (const char* escape = Escape(c)) {
        out_.append(escape);
      } else if (c < 0x20) {
        absl::StrAppendFormat(&out_, "\\u%04x", static_cast<uint32_t>(c));
      } else if (c < 0x80 || !style_.ensure_ascii) {
        out_.append(text.substr(begin, pos - begin));
      } else {
        WriteUtf16Escapes(c);
      }
    }
    out_.push_back('"');
  }

  static const char* Escape(char32_t c) {
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\b':
        return "\\b";
      case '\f':
        return "\\f";
      default:
        return nullptr;
    }
  }

  void WriteUtf16Escapes(char32_t c) {
    uint32_t unit = c;
    if (c >= 0x10000) {
      absl::StrAppendFormat(&out_, "\\u%04x",
                            0xD800 + ((unit - 0x10000) >> 10));
      unit = 0xDC00 + ((unit - 0x10000) & 0x3FF);
    }
    absl::StrAppendFormat(&out_, "\\u%04x", unit);
  }

  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

absl::StatusOr<MarkedText> ToJson(Budget& budget, const Value& value,
                                  const JsonStyle& style) {
  JsonWriter writer(budget, style);
  RETURN_IF_ERROR(writer.Write(value));
  return writer.Finish();
}

}  // namespace mla::runtime::jinja
