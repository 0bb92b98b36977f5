// ServeOptions: what `mlaserve serve` is told, by flags or by the environment.
// AddServeFlags is the list of both, with defaults and help.
#ifndef MLA_SERVER_OPTIONS_H_
#define MLA_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>

#include "runtime/convert/calibration.h"
#include "runtime/engine.h"
#include "runtime/loaded_model.h"

namespace CLI {
class App;
}

namespace mla::server {

struct ServeOptions {
  std::string model;       // a Hugging Face folder or a .gguf file
  std::string model_name;  // what clients call it; empty: from the path
  // How to convert the model before it is served, as ConversionSpec spells it;
  // empty: not. It is then kept in the cache, of its default place if empty.
  std::string convert;
  std::string convert_cache;
  runtime::CalibrationOptions calibration;
  runtime::LoadOptions load;
  runtime::EngineOptions engine;

  std::string grpc_listen = "127.0.0.1:50051";
  std::string http_listen = "127.0.0.1:8080";
  std::string admin_listen = "127.0.0.1:50052";

  int stream_stall_seconds = 60;
  int drain_delay_seconds = 0;
  int drain_timeout_seconds = 45;
};

// `options` outlives the parse.
void AddServeFlags(CLI::App& command, ServeOptions& options);

}  // namespace mla::server

#endif  // MLA_SERVER_OPTIONS_H_
