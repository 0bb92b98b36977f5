// Tested by tests/server/admin_service_test.cc.
#include "server/admin_service.h"

#include <cmath>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mla/serving/v1/admin.grpc.pb.h"
#include "server/call_deadline.h"
#include "server/grpc_status.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

class AdminService final : public v1::AdminService::Service {
 public:
  AdminService(runtime::Engine& engine, Readiness& readiness)
      : engine_(engine), readiness_(readiness) {}

  grpc::Status Drain(grpc::ServerContext* context, const v1::DrainRequest*,
                     v1::DrainResponse*) override {
    readiness_.Set(Readiness::State::kDraining);
    engine_.Drain();
    // In slices, so that a caller who hangs up does not keep a thread.
    constexpr absl::Duration kSlice = absl::Milliseconds(200);
    while (!engine_.WaitIdle(absl::Now() + kSlice)) {
      if (context->IsCancelled()) {
        return ToGrpcStatus(absl::DeadlineExceededError(
            "still draining; accepted requests run on"));
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status GetCacheStats(grpc::ServerContext*,
                             const v1::GetCacheStatsRequest*,
                             v1::CacheStats* out) override {
    const runtime::EngineStats stats = engine_.Stats();
    out->set_block_bytes(stats.cache.block_bytes);
    out->set_block_tokens(stats.cache.block_tokens);
    out->set_bytes_per_token(
        static_cast<uint64_t>(std::ceil(stats.cache.bytes_per_token)));
    out->set_total_blocks(stats.cache.total_blocks);
    out->set_free_blocks(stats.cache.free_blocks);
    out->set_active_blocks(stats.cache.active_blocks);
    out->set_cached_blocks(stats.cache.cached_blocks);
    out->set_reserved_blocks(stats.cache.reserved_blocks);
    out->set_active_tokens(stats.cache.active_tokens);
    out->set_cached_tokens(stats.cache.cached_tokens);
    out->set_running_requests(stats.running_requests);
    out->set_waiting_requests(stats.waiting_requests);
    out->set_waiting_tokens(stats.waiting_tokens);
    return grpc::Status::OK;
  }

  grpc::Status FlushCache(grpc::ServerContext*, const v1::FlushCacheRequest*,
                          v1::FlushCacheResponse* out) override {
    out->set_freed_blocks(engine_.FlushCache());
    return grpc::Status::OK;
  }

 private:
  runtime::Engine& engine_;
  Readiness& readiness_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAdminService(runtime::Engine& engine,
                                                Readiness& readiness) {
  return std::make_unique<AdminService>(engine, readiness);
}

}  // namespace mla::server
