// Tested by tests/server/serving_test.cc and tests/e2e/.
#include "server/serving.h"

#include <grpcpp/impl/service_type.h>

#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "runtime/backend.h"
#include "runtime/convert/conversion_cache.h"
#include "runtime/metrics.h"
#include "runtime/status_macros.h"
#include "server/address.h"
#include "server/admin_service.h"
#include "server/call_registry.h"
#include "server/generation_service.h"
#include "server/grpc_listener.h"
#include "server/http_listener.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/model_service.h"
#include "server/process_metrics.h"
#include "server/server_metrics.h"
#include "server/warm_up.h"
#include "server/worker_pool.h"

namespace mla::server {
namespace {

class ServingImpl final : public Serving {
 public:
  explicit ServingImpl(const ServeOptions& options) : options_(options) {}

  absl::Status Start(const std::function<void()>& before_ready) {
    RETURN_IF_ERROR(ReadConversion());
    RETURN_IF_ERROR(OpenHttp());
    RETURN_IF_ERROR(LoadModel());
    RETURN_IF_ERROR(StartEngine());
    RETURN_IF_ERROR(OpenGrpc());
    readiness_.Set(Readiness::State::kWarming);
    RETURN_IF_ERROR(WarmUp(*engine_));
    before_ready();
    readiness_.Set(Readiness::State::kReady);
    return absl::OkStatus();
  }

  bool Drain() override {
    readiness_.Set(Readiness::State::kDraining);
    // Nobody has to be waited for where nothing is computed any more.
    if (engine_->status().ok())
      absl::SleepFor(absl::Seconds(options_.drain_delay_seconds));
    engine_->Drain();
    const absl::Time deadline =
        absl::Now() + absl::Seconds(options_.drain_timeout_seconds);
    const bool all_done =
        engine_->WaitIdle(deadline) && calls_->WaitEmpty(deadline);
    // What is left are health watchers and the like, or calls to be cut off.
    grpc_->Shutdown(absl::Now());
    admin_->Shutdown(absl::Now());
    return all_done;
  }

  std::string grpc_address() const override { return grpc_->address(); }
  std::string http_address() const override { return http_->address(); }
  std::string admin_address() const override { return admin_->address(); }
  runtime::Engine& engine() override { return *engine_; }

 private:
  // Before anything is opened: a wrong flag is the caller's to see at once.
  absl::Status ReadConversion() {
    if (!options_.convert.empty()) {
      ASSIGN_OR_RETURN(conversion_,
                       runtime::ParseConversionSpec(options_.convert));
    } else if (!options_.calibration.files.empty()) {
      return absl::InvalidArgumentError("--calibration needs --convert");
    }
    return absl::OkStatus();
  }

  // First, so that probes are answered while a large model loads.
  absl::Status OpenHttp() {
    const auto collect = [this] {
      std::vector<prometheus::MetricFamily> families = ProcessMetrics();
      if (const runtime::Metrics* metrics = scraped_) {
        for (auto& family : metrics->Collect()) {
          families.push_back(std::move(family));
        }
      }
      return families;
    };
    ASSIGN_OR_RETURN(
        http_, HttpListener::Create(options_.http_listen, collect, readiness_));
    LogListener("http", http_->address());
    return absl::OkStatus();
  }

  absl::Status LoadModel() {
    ASSIGN_OR_RETURN(const std::string path, Convert());
    Log().info("loading model={}", path);
    const absl::Time start = absl::Now();
    runtime::LoadOptions load = options_.load;
    load.model.max_step_tokens = options_.engine.max_step_tokens;
    load.model.max_logit_rows = options_.engine.max_running;
    load.progress = LogProgress();
    ASSIGN_OR_RETURN(model_, runtime::LoadedModel::Load(path, load));
    model_->name = options_.model_name.empty()
                       ? runtime::ModelName(options_.model)
                       : options_.model_name;
    Log().info(
        "loaded name={} architecture={} parameters={} backend='{}' "
        "ranks={} seconds={:.2f}",
        model_->name, model_->config.architecture, model_->config.Parameters(),
        model_->model->backend().Name(), model_->model->ranks(),
        absl::ToDoubleSeconds(absl::Now() - start));
    return absl::OkStatus();
  }

  // The path of what is to be loaded.
  absl::StatusOr<std::string> Convert() {
    if (!conversion_) return options_.model;
    const std::string method = conversion_->ToString();
    Log().info("converting model={} method={}", options_.model, method);
    runtime::ConvertOptions convert;
    convert.in = options_.model;
    convert.spec = *conversion_;
    convert.calibration = options_.calibration;
    convert.type = runtime::WideType(options_.load.model.weights_dtype);
    convert.threads = options_.load.backend.threads;
    convert.progress = [](const runtime::ConvertProgress& p) {
      Log().info("converting layer={}/{} {}", p.layer, p.layers,
                 p.resumed
                     ? "was there already"
                     : absl::StrFormat("energy_kept=%.1f%% seconds_left=%.0f",
                                       100 * p.energy_kept, p.seconds_left));
    };
    convert.warn = [](const std::string& warning) {
      Log().warn("converting: {}", warning);
    };
    runtime::ConversionCacheOptions cache{
        options_.convert_cache, [] {
          Log().info("converting waits for another process that does the same");
        }};
    return runtime::ConvertCached(convert, cache);
  }

  // A line every tenth of the way, at most.
  static runtime::Model::Progress LogProgress() {
    return [next = 0.1](double done) mutable {
      if (done < next) return;
      Log().info("loading done={:.0f}%", done * 100);
      next = done + 0.1;
    };
  }

  absl::Status StartEngine() {
    metrics_ = std::make_unique<runtime::Metrics>(model_->name);
    scraped_ = metrics_.get();
    runtime::EngineOptions engine = options_.engine;
    engine.on_failure = [this](const absl::Status& why) {
      readiness_.Set(Readiness::State::kDraining);
      options_.engine.on_failure(why);
    };
    ASSIGN_OR_RETURN(engine_,
                     runtime::Engine::Create(engine, *model_, *metrics_));
    const runtime::CacheStats cache = engine_->Stats().cache;
    Log().info(
        "engine blocks={} block_tokens={} kv_bytes_per_token={} "
        "kv_bytes_per_rank={}",
        cache.total_blocks, cache.block_tokens, cache.bytes_per_token,
        cache.total_blocks * cache.block_bytes / model_->model->ranks());
    description_ = Describe(*model_, options_.load.model.weights_dtype,
                            options_.engine.kv_dtype);
    server_metrics_.emplace(metrics_->registry(), description_);
    calls_.emplace(absl::Seconds(options_.stream_stall_seconds),
                   *server_metrics_);
    return absl::OkStatus();
  }

  absl::Status OpenGrpc() {
    generation_ = MakeGenerationService(
        {*model_, *engine_, *server_metrics_, *calls_, workers_});
    models_ = MakeModelService(description_);
    admin_service_ = MakeAdminService(*engine_, readiness_);
    ASSIGN_OR_RETURN(
        grpc_, GrpcListener::Create(
                   options_.grpc_listen,
                   {{"mla.serving.v1.GenerationService", generation_.get()},
                    {"mla.serving.v1.ModelService", models_.get()}},
                   readiness_));
    LogListener("grpc", grpc_->address());
    ASSIGN_OR_RETURN(
        admin_, GrpcListener::Create(
                    options_.admin_listen,
                    {{"mla.serving.v1.AdminService", admin_service_.get()}},
                    readiness_));
    LogListener("admin", admin_->address());
    return absl::OkStatus();
  }

  static void LogListener(const char* name, const std::string& address) {
    Log().info("listening {}={}", name, address);
    if (!IsLoopback(address)) {
      Log().warn(
          "{} on {} is open to other machines without TLS or authentication",
          name, address);
    }
  }

  const ServeOptions options_;
  std::optional<runtime::ConversionSpec> conversion_;
  // In the order they are built; destroyed from the last to the first.
  std::unique_ptr<runtime::Metrics> metrics_;
  std::atomic<const runtime::Metrics*> scraped_ = nullptr;  // once there are
  Readiness readiness_;
  std::unique_ptr<HttpListener> http_;
  std::unique_ptr<runtime::LoadedModel> model_;
  serving::v1::Model description_;
  std::optional<ServerMetrics> server_metrics_;
  std::optional<CallRegistry> calls_;
  std::unique_ptr<runtime::Engine> engine_;
  WorkerPool workers_{kRequestThreads, kMaxWaitingRequestBytes};
  std::unique_ptr<grpc::Service> generation_;
  std::unique_ptr<grpc::Service> models_;
  std::unique_ptr<grpc::Service> admin_service_;
  std::unique_ptr<GrpcListener> grpc_;
  std::unique_ptr<GrpcListener> admin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Serving>> Serving::Start(
    const ServeOptions& options, std::function<void()> before_ready) {
  auto serving = std::make_unique<ServingImpl>(options);
  RETURN_IF_ERROR(serving->Start(before_ready));
  return serving;
}

}  // namespace mla::server
