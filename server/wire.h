// Request bytes to messages and back. The services take raw bytes (gRPC's raw
// methods) for two reasons. gRPC answers a message that it cannot parse with
// UNIMPLEMENTED and no reason; here it is INVALID_ARGUMENT, and a string that
// is not UTF-8 is named by its path. And two bytes on the wire can cost a
// hundred in memory (an empty submessage), so the bytes are walked and counted
// before anything is allocated for them.
// Threads: any.
#ifndef MLA_SERVER_WIRE_H_
#define MLA_SERVER_WIRE_H_

#include <string_view>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}
namespace grpc {
class ByteBuffer;
}

namespace mla::server {

// Replaces `message`; after an error it holds nothing of use.
absl::Status ParseMessage(std::string_view bytes,
                          google::protobuf::Message& message);
absl::Status ParseMessage(const grpc::ByteBuffer& buffer,
                          google::protobuf::Message& message);

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace mla::server

#endif  // MLA_SERVER_WIRE_H_
