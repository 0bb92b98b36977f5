// Tested by tests/runtime/chat_expression_test.cc.
#include "runtime/chat/printing.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/chat/objects.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

// The digits of the shortest decimal that reads back as `value`, and where the
// point goes: 0.d1d2d3... x 10^exponent.
struct Decimal {
  std::string digits;
  int exponent;
};

Decimal ShortestDecimal(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view text(buffer, end - buffer);
  const size_t e = text.find('e');
  Decimal decimal;
  for (const char c : text.substr(0, e)) {
    if (c != '.') decimal.digits.push_back(c);
  }
  const char* exponent = text.data() + e + 1;
  if (*exponent == '+') ++exponent;
  std::from_chars(exponent, end, decimal.exponent);
  ++decimal.exponent;
  return decimal;
}

// str.isprintable(), but for the ASCII controls that repr() names.
bool IsPrintable(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

std::string ScalarText(const Value& value) {
  if (value.IsNone()) return "None";
  if (const bool* b = value.AsBool()) return *b ? "True" : "False";
  if (const int64_t* i = value.AsInt()) return absl::StrCat(*i);
  if (const double* d = value.AsFloat()) return FormatFloat(*d);
  if (value.IsUndefined()) return "Undefined";
  return absl::StrCat("<", value.TypeName(), ">");
}

// Writes one value after another into one text, paying for each.
class Writer {
 public:
  explicit Writer(Budget& budget) : budget_(budget) {}

  absl::StatusOr<MarkedText> Finish() {
    RETURN_IF_ERROR(budget_.Bytes(out_.size()));
    return MarkedText(std::move(out_), trusted_);
  }

 protected:
  absl::Status Pay(const Value& value) {
    RETURN_IF_ERROR(budget_.Steps(1));
    const MarkedText* text = value.AsText();
    if (text == nullptr) return absl::OkStatus();
    trusted_ = trusted_ && text->AllTrusted();
    return budget_.Bytes(text->size());
  }

  Budget& budget_;
  std::string out_;
  bool trusted_ = true;
};

class ReprWriter : public Writer {
 public:
  using Writer::Writer;

  absl::Status Write(const Value& value) {
    RETURN_IF_ERROR(Pay(value));
    if (const MarkedText* text = value.AsText()) {
      out_.append(Repr(text->str()));
    } else if (const List* list = value.AsList()) {
      return WriteList(*list);
    } else if (const Dict* dict = value.AsDict()) {
      return WriteDict(*dict);
    } else {
      out_.append(ScalarText(value));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status WriteList(const List& list) {
    out_.push_back(list.is_tuple ? '(' : '[');
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.append(", ");
      RETURN_IF_ERROR(Write(list.items[i]));
    }
    if (list.is_tuple && list.items.size() == 1) out_.push_back(',');
    out_.push_back(list.is_tuple ? ')' : ']');
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict) {
    out_.push_back('{');
    for (size_t i = 0; i < dict.items.size(); ++i) {
      if (i > 0) out_.append(", ");
      RETURN_IF_ERROR(Write(dict.items[i].first));
      out_.append(": ");
      RETURN_IF_ERROR(Write(dict.items[i].second));
    }
    out_.push_back('}');
    return absl::OkStatus();
  }
};

class JsonWriter : public Writer {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style)
      : Writer(budget), style_(style) {}

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

absl::StatusOr<MarkedText> ToText(Budget& budget, const Value& value) {
  if (value.IsUndefined()) return MarkedText();
  if (const MarkedText* text = value.AsText()) {
    RETURN_IF_ERROR(budget.Bytes(text->size()));
    return *text;
  }
  ReprWriter writer(budget);
  RETURN_IF_ERROR(writer.Write(value));
  return writer.Finish();
}

absl::StatusOr<MarkedText> ToJson(Budget& budget, const Value& value,
                                  const JsonStyle& style) {
  JsonWriter writer(budget, style);
  RETURN_IF_ERROR(writer.Write(value));
  return writer.Finish();
}

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  const std::string sign = std::signbit(value) ? "-" : "";
  const auto [digits, exponent] = ShortestDecimal(std::abs(value));
  const int count = static_cast<int>(digits.size());
  if (value == 0) return sign + "0.0";
  if (exponent > 16 || exponent < -3) {
    const std::string fraction = count > 1 ? "." + digits.substr(1) : "";
    return sign + digits[0] + fraction +
           absl::StrFormat("e%+03d", exponent - 1);
  }
  if (exponent <= 0) {
    return sign + "0." + std::string(-exponent, '0') + digits;
  }
  if (count <= exponent) {
    return sign + digits + std::string(exponent - count, '0') + ".0";
  }
  return sign + digits.substr(0, exponent) + "." + digits.substr(exponent);
}

std::string Repr(std::string_view text) {
  const bool double_quotes = text.find('\'') != std::string_view::npos &&
                             text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t c = NextCharacter(text, &pos);
    if (c == '\\' || c == static_cast<unsigned char>(quote)) {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n') {
      out.append("\\n");
    } else if (c == '\r') {
      out.append("\\r");
    } else if (c == '\t') {
      out.append("\\t");
    } else if (IsPrintable(c)) {
      out.append(text.substr(begin, pos - begin));
    } else {
      const uint32_t code = c;
      if (code < 0x100) {
        absl::StrAppendFormat(&out, "\\x%02x", code);
      } else if (code < 0x10000) {
        absl::StrAppendFormat(&out, "\\u%04x", code);
      } else {
        absl::StrAppendFormat(&out, "\\U%08x", code);
      }
    }
  }
  out.push_back(quote);
  return out;
}

}  // namespace mla::runtime::jinja
