// What the engine reports, as the API's messages.
// Threads: any; pure functions.
#ifndef MLA_SERVER_RESPONSE_CONVERSION_H_
#define MLA_SERVER_RESPONSE_CONVERSION_H_

#include "mla/serving/v1/generation.pb.h"
#include "runtime/token_sink.h"

namespace mla::server {

// Appends to what `out` holds already, so that deltas that wait for a slow
// client become one message. `Out` is serving::v1::Chunk or Choice.
template <typename Out>
void AppendDelta(const runtime::TokenDelta& delta, Out& out);

serving::v1::Summary ToProto(const runtime::Summary& summary);

// How long `delta` is on the wire, from above.
size_t WireBytes(const runtime::TokenDelta& delta);

// "stop" or "length": the metrics' and logs' word.
const char* Name(runtime::FinishReason reason);

}  // namespace mla::server

#endif  // MLA_SERVER_RESPONSE_CONVERSION_H_
