#include "runtime/checkpoint/safetensors_header.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"

namespace mla::runtime {
namespace {

using Json = nlohmann::json;

// Follows the events of the parser through the only nesting that the format
// has. Every event that the present place does not expect ends the parse.
class HeaderReader : public Json::json_sax_t {
 public:
  const absl::Status& status() const { return status_; }
  std::map<std::string, SafetensorsEntry> TakeEntries() {
    return std::move(entries_);
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return Enter(Place::kHeader);
    if (place_ != Place::kHeader) return Unexpected("an object");
    if (name_ == "__metadata__") return Enter(Place::kMetadata);
    const auto [entry, inserted] = entries_.try_emplace(name_);
    if (!inserted) return Fail(absl::StrCat(Where(), " is there twice"));
    entry_ = &entry->second;
    fields_seen_ = 0;
    return Enter(Place::kTensor);
  }

  bool key(std::string& key) override {
    if (place_ == Place::kHeader) name_ = key;
    if (place_ != Place::kTensor) return true;
    field_ = key == "dtype"          ? kDtype
             : key == "shape"        ? kShape
             : key == "data_offsets" ? kDataOffsets
                                     : kNoField;
    if (field_ == kNoField || (fields_seen_ & field_) != 0) {
      return Fail(absl::StrCat(Where(), ": field ", Quote(key),
                               field_ ? " is there twice" : " is unknown"));
    }
    fields_seen_ |= field_;
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return true;  // nothing here needs it
    if (place_ != Place::kTensor || field_ != kDtype) {
      return Unexpected("a string");
    }
    entry_->dtype = value;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::kTensor && field_ != kDtype) {
      return Enter(Place::kNumbers);
    }
    return Unexpected("an array");
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ != Place::kNumbers) return Unexpected("a number");
    if (value > std::numeric_limits<int64_t>::max()) {
      return Fail(absl::StrCat(Where(), ": ", value, " is too large"));
    }
    auto& numbers = field_ == kShape ? entry_->shape : entry_->data_offsets;
    numbers.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool end_array() override { return Enter(Place::kTensor); }

  bool end_object() override {
    if (place_ == Place::kHeader) return Enter(Place::kEnd);
    if (place_ == Place::kTensor) {
      if (fields_seen_ != (kDtype | kShape | kDataOffsets)) {
        return Fail(absl::StrCat(
            Where(), " needs the fields dtype, shape and data_offsets"));
      }
      if (entry_->data_offsets.size() != 2) {
        return Fail(absl::StrCat(Where(), ": data_offsets has ",
                                 entry_->data_offsets.size(),
                                 " numbers instead of 2"));
      }
    }
    return Enter(Place::kHeader);
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(int64_t) override {
    return Unexpected("a negative number");
  }
  bool number_float(double, const std::string&) override {
    return Unexpected("a fraction or a number past 2^64");
  }
  bool binary(Json::binary_t&) override { return Unexpected("binary data"); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("header is not valid JSON at byte ", position));
  }

 private:
  enum class Place { kStart, kHeader, kMetadata, kTensor, kNumbers, kEnd };
  enum Field { kNoField = 0, kDtype = 1, kShape = 2, kDataOffsets = 4 };

  bool Enter(Place place) {
    place_ = place;
    return true;
  }
  bool Fail(const std::string& message) {
    status_ = absl::InvalidArgumentError(message);
    return false;
  }
  bool Unexpected(const char* what) {
    return Fail(absl::StrCat(Where(), ": unexpected ", what));
  }
  std::string Where() const {
    if (place_ == Place::kStart || place_ == Place::kEnd) return "header";
    return absl::StrCat("tensor ", Quote(name_));
  }

  Place place_ = Place::kStart;
  std::string name_;                   // last key of the header
  SafetensorsEntry* entry_ = nullptr;  // that tensor, inside kTensor, kNumbers
  Field field_ = kNoField;             // last key of the tensor
  int fields_seen_ = 0;
  std::map<std::string, SafetensorsEntry> entries_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::map<std::string, SafetensorsEntry>> ParseSafetensorsHeader(
    std::string_view json) {
  HeaderReader reader;
  if (Json::sax_parse(json.begin(), json.end(), &reader)) {
    return reader.TakeEntries();
  }
  return reader.status();
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_test.cc.
