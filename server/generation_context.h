// What every generation call works with. All of it outlives the gRPC server.
#ifndef MLA_SERVER_GENERATION_CONTEXT_H_
#define MLA_SERVER_GENERATION_CONTEXT_H_

#include "runtime/engine.h"
#include "runtime/loaded_model.h"
#include "server/call_registry.h"
#include "server/server_metrics.h"
#include "server/worker_pool.h"

namespace mla::server {

struct GenerationContext {
  const runtime::LoadedModel& model;
  runtime::Engine& engine;
  ServerMetrics& metrics;
  CallRegistry& calls;
  WorkerPool& workers;
};

}  // namespace mla::server

#endif  // MLA_SERVER_GENERATION_CONTEXT_H_
