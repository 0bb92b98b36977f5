// Tested by tests/server/wire_test.cc and tests/fuzz/request_fuzz.cc.
#include "server/wire.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/utf8.h"
#include "server/error_details.h"
#include "server/limits.h"

namespace mla::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Where a value stands: a field of the message that `parent` is.
struct Place {
  const Place* parent;
  const FieldDescriptor* field;
  int index;  // among the field's values, when it is repeated

  std::string Path() const {
    return absl::StrCat(
        parent == nullptr ? "" : parent->Path() + ".", field->name(),
        field->is_repeated() ? absl::StrCat("[", index, "]") : "");
  }
};

// Walks a message's bytes beside its type without building it: every length
// inside its parent, submessages and unknown fields counted, strings UTF-8.
class WireWalk {
 public:
  explicit WireWalk(std::string_view bytes)
      : input_(reinterpret_cast<const uint8_t*>(bytes.data()),
               static_cast<int>(bytes.size())) {
    input_.PushLimit(static_cast<int>(bytes.size()));
  }

  absl::Status Check(const Descriptor& type) {
    if (!Message(type, nullptr)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the request's bytes are not a message of type ", type.full_name()));
    }
    if (submessages_ > kMaxSubmessages) {
      return absl::InvalidArgumentError(
          absl::StrCat("the request holds ", submessages_,
                       " submessages, more than ", kMaxSubmessages));
    }
    if (unknown_fields_ > kMaxUnknownFields) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the request holds ", unknown_fields_, " fields that ",
          type.full_name(), " does not have, more than ", kMaxUnknownFields));
    }
    return violations_.ToStatus();
  }

 private:
  // False when the bytes up to the current limit are not a message.
  bool Message(const Descriptor& type, const Place* place) {
    std::vector<int> seen(type.field_count(), 0);
    while (input_.BytesUntilLimit() > 0) {
      const uint32_t tag = input_.ReadTagNoLastTag();
      if (tag == 0) return false;
      const FieldDescriptor* field =
          type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
      if (field == nullptr) ++unknown_fields_;
      const bool plain =
          field == nullptr || WireFormatLite::GetTagWireType(tag) !=
                                  WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
      if (plain) {
        if (!WireFormatLite::SkipField(&input_, tag)) return false;
      } else {
        const Place here{place, field, seen[field->index()]++};
        if (!Value(here)) return false;
      }
    }
    return true;
  }

  bool Value(const Place& place) {
    uint32_t size;
    if (!input_.ReadVarint32(&size)) return false;
    const int length = static_cast<int>(size);
    if (length < 0 || length > input_.BytesUntilLimit()) return false;
    switch (place.field->type()) {
      case FieldDescriptor::TYPE_MESSAGE: {
        ++submessages_;
        const auto outer = input_.PushLimit(length);
        if (!Message(*place.field->message_type(), &place)) return false;
        input_.PopLimit(outer);
        return true;
      }
      case FieldDescriptor::TYPE_STRING:
        CheckUtf8(static_cast<size_t>(length), place);
        return input_.Skip(length);
      default:
        return input_.Skip(length);
    }
  }

  void CheckUtf8(size_t length, const Place& place) {
    const void* data = nullptr;
    int available = 0;
    if (length == 0 || !input_.GetDirectBufferPointer(&data, &available)) {
      return;
    }
    const std::string_view text(static_cast<const char*>(data), length);
    const size_t invalid = runtime::FindInvalidUtf8(text);
    if (invalid != std::string_view::npos) {
      violations_.Add(place.Path(),
                      absl::StrCat("is not valid UTF-8 at byte ", invalid));
    }
  }

  CodedInputStream input_;
  int64_t submessages_ = 0;
  int64_t unknown_fields_ = 0;
  FieldViolations violations_;
};

}  // namespace

absl::Status ParseMessage(std::string_view bytes,
                          google::protobuf::Message& message) {
  if (bytes.size() > kMaxReceiveMessageBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request has ", bytes.size(), " bytes, more than ",
                     kMaxReceiveMessageBytes));
  }
  const Descriptor& type = *message.GetDescriptor();
  if (absl::Status status = WireWalk(bytes).Check(type); !status.ok()) {
    return status;
  }
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the request's bytes are not a message of type ", type.full_name()));
  }
  return absl::OkStatus();
}

absl::Status ParseMessage(const grpc::ByteBuffer& buffer,
                          google::protobuf::Message& message) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) {
    return absl::CancelledError("the call ended before its request arrived");
  }
  std::string bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return ParseMessage(bytes, message);
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  const std::string bytes = message.SerializeAsString();
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace mla::server
