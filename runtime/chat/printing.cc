// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/printing.h"

#include <utf8proc.h>

#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/chat/value_writer.h"
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

std::string NumericEscape(uint32_t c) {
  if (c < 0x100) return absl::StrFormat("\\x%02x", c);
  if (c < 0x10000) return absl::StrFormat("\\u%04x", c);
  return absl::StrFormat("\\U%08x", c);
}

std::string ScalarText(const Value& value) {
  if (value.IsNone()) return "None";
  if (const bool* b = value.AsBool()) return *b ? "True" : "False";
  if (const int64_t* i = value.AsInt()) return absl::StrCat(*i);
  if (const double* d = value.AsFloat()) return FormatFloat(*d);
  if (value.IsUndefined()) return "Undefined";
  return absl::StrCat("<", value.TypeName(), ">");
}

class ReprWriter : public ValueWriter {
 public:
  using ValueWriter::ValueWriter;

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

}  // namespace

absl::StatusOr<MarkedText> ToText(Budget& budget, const Value& value) {
  if (value.IsUndefined()) return MarkedText();
  if (const MarkedText* text = value.AsText()) {
    RETURN_IF_ERROR(budget.Bytes(text->cost()));
    return *text;
  }
  ReprWriter writer(budget);
  RETURN_IF_ERROR(writer.Write(value));
  return writer.Finish();
}

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string out;
  if (std::signbit(value)) out.push_back('-');
  if (value == 0) return out.append("0.0");
  auto [digits, exponent] = ShortestDecimal(std::abs(value));
  const int count = static_cast<int>(digits.size());
  if (exponent > 16 || exponent < -3) {
    if (count > 1) digits.insert(1, 1, '.');
    return absl::StrCat(out, digits, absl::StrFormat("e%+03d", exponent - 1));
  }
  if (exponent <= 0) {
    return absl::StrCat(out, "0.", std::string(-exponent, '0'), digits);
  }
  if (count <= exponent) {
    return absl::StrCat(out, digits, std::string(exponent - count, '0'), ".0");
  }
  digits.insert(exponent, 1, '.');
  return out.append(digits);
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
      out.append(NumericEscape(c));
    }
  }
  out.push_back(quote);
  return out;
}

}  // namespace mla::runtime::jinja
