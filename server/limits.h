// Bounds on what one client may ask for, each with its reason. They hold
// before anything is allocated for a request. Bounds that depend on the model
// (vocabulary, context) are in request_conversion.cc; bounds an operator may
// want to move are flags (options.h).
#ifndef MLA_SERVER_LIMITS_H_
#define MLA_SERVER_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace mla::server {

// One message on the wire. The longest context served today, as text, is
// about 4 MiB; the rest is room for chat history and tool definitions.
inline constexpr int kMaxReceiveMessageBytes = 16 << 20;

// What a message may hold besides bytes: an empty submessage takes two bytes on
// the wire and a hundred in memory.
inline constexpr int64_t kMaxSubmessages = 16384;
inline constexpr int64_t kMaxUnknownFields = 1024;  // a newer client's fields

// Headers of one call: a trace parent and a bearer token need about 4 KiB.
inline constexpr int kMaxMetadataBytes = 16 << 10;

// Calls open at once on one connection. A gateway multiplexes many users on a
// few connections; the engine's own queue bounds what is accepted.
inline constexpr int kMaxConcurrentStreams = 1024;

// Bytes gRPC may hold for all connections together before it pushes back.
inline constexpr size_t kGrpcMemoryBytes = size_t{1} << 30;

// gRPC runs all calls on a few threads. Requests above this size, which may
// take milliseconds to tokenize, are prepared on threads of their own...
inline constexpr size_t kInlineRequestBytes = 16 << 10;
inline constexpr int kRequestThreads = 2;
// ... for which this much may wait.
inline constexpr size_t kMaxWaitingRequestBytes = size_t{256} << 20;

// Text of a prompt, checked before tokenizing: at most this many bytes for
// each token of the context. Ordinary text has about 4 bytes a token and the
// longest tokens of published vocabularies have 128, almost all of them runs
// of blanks.
inline constexpr size_t kMaxPromptBytesPerToken = 64;

// Ids in one Detokenize call: their text stays within tens of megabytes.
inline constexpr size_t kMaxDetokenizeTokens = 1 << 18;

inline constexpr int kMaxChoices = 64;   // n: each holds its own cache blocks
inline constexpr int kMaxLogprobs = 20;  // as OpenAI's API
inline constexpr int kMaxStopStrings = 16;
inline constexpr size_t kMaxStopStringBytes = 256;  // held back from the text
inline constexpr int kMaxStopTokenIds = 128;
inline constexpr int kMaxLogitBias = 1024;
inline constexpr float kMaxLogitBiasValue = 100;  // enough to force or forbid
inline constexpr float kMaxTemperature = 100;
inline constexpr float kMaxPenalty = 2;  // presence and frequency, as OpenAI's
inline constexpr float kMinRepetitionPenalty = 0.01f;
inline constexpr float kMaxRepetitionPenalty = 100;

// Entries (tokens, and alternatives beside them) a request may produce in all
// its choices: what an answer that is collected before it is sent may hold.
inline constexpr int64_t kMaxResultEntries = int64_t{1} << 20;

inline constexpr size_t kMaxRequestIdBytes = 128;
inline constexpr int kMaxBatchRequests = 64;

inline constexpr int kMaxChatMessages = 4096;
inline constexpr int kMaxChatTools = 256;
inline constexpr size_t kMaxRoleBytes = 64;

// Error details travel in a header, and clients refuse more than 8 KiB there.
inline constexpr int kMaxReportedViolations = 8;
inline constexpr size_t kMaxEchoedBytes = 64;  // of the client's own text

// What waits for a slow client. One chunk stays far below the 4 MiB a stock
// client receives; a stream past the second bound is ended.
inline constexpr size_t kMaxChunkBytes = 64 << 10;
inline constexpr size_t kMaxPendingBytes = 4 << 20;

}  // namespace mla::server

#endif  // MLA_SERVER_LIMITS_H_
