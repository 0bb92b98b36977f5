// The server room's logger: one line an event on standard error, as
//   2026-01-31T12:00:00.000Z info server request done id=... code=OK
// Every value that a client chose is checked or escaped before it is logged.
// Threads: any.
#ifndef MLA_SERVER_LOG_H_
#define MLA_SERVER_LOG_H_

#include <spdlog/spdlog.h>

namespace mla::server {

spdlog::logger& Log();

// Standard output is for results: other rooms' lines go where Log's do. Once,
// from main.
void LogToStandardError();

// Sets the pattern above and the level for every room; once, from main.
void InitLogging(spdlog::level::level_enum level);

}  // namespace mla::server

#endif  // MLA_SERVER_LOG_H_
