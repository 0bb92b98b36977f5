// Tested by tests/server/load_generator_test.cc and tests/e2e/.
#include "server/commands/load_generator.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <optional>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mla/serving/v1/generation.grpc.pb.h"
#include "mla/serving/v1/model.grpc.pb.h"
#include "runtime/mutex.h"
#include "runtime/status_macros.h"
#include "server/grpc_status.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

// What one call measured.
struct Measured {
  bool cancelled = false;  // by us
  std::string code;
  std::optional<double> ttft;
  std::vector<double> itl;
  double e2e = 0;
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
};

// Where calls put what they measured.
class Collector {
 public:
  // Waits while `cap` calls are open (0: never), then counts one more.
  void Open(int cap) {
    runtime::MutexLock lock(&mu_);
    mu_.Await([&] { return cap == 0 || open_ < cap; });
    ++open_;
  }

  void Close(const Measured& call) {
    runtime::MutexLock lock(&mu_);
    if (call.cancelled) {
      ++result_.cancelled;
    } else {
      ++result_.by_code[call.code];
    }
    if (call.ttft) result_.ttft.push_back(*call.ttft);
    result_.itl.insert(result_.itl.end(), call.itl.begin(), call.itl.end());
    if (call.code == "OK") result_.e2e.push_back(call.e2e);
    result_.prompt_tokens += call.prompt_tokens;
    result_.generated_tokens += call.generated_tokens;
    --open_;
  }

  LoadResult Wait() {
    runtime::MutexLock lock(&mu_);
    mu_.Await([this] { return open_ == 0; });
    return std::move(result_);
  }

 private:
  runtime::Mutex mu_;
  int open_ ABSL_GUARDED_BY(mu_) = 0;
  LoadResult result_ ABSL_GUARDED_BY(mu_);
};

// One request. Deletes itself when gRPC is done with it. gRPC calls it from
// many threads, one at a time; the lock lets ThreadSanitizer see that.
class Call final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  // `due`: when the request should have been sent.
  static void Start(v1::GenerationService::Stub& stub,
                    v1::GenerateRequest request, absl::Time due,
                    int64_t cancel_after_tokens, absl::Duration timeout,
                    Collector& collector) {
    auto* call = new Call(collector);
    call->Fill(std::move(request), due, cancel_after_tokens);
    call->context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    stub.async()->Generate(&call->context_, &call->request_, call);
    call->StartRead(&call->response_);
    call->StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (Record()) context_.TryCancel();
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    const Measured measured = Result(status);
    // Gone before the collector knows: whoever waits for it then lets go of
    // the channel, which gRPC must not lose last on a thread of its own.
    Collector& collector = collector_;
    delete this;
    collector.Close(measured);
  }

 private:
  explicit Call(Collector& collector) : collector_(collector) {}

  void Fill(v1::GenerateRequest request, absl::Time due,
            int64_t cancel_after_tokens) {
    runtime::MutexLock lock(&mu_);
    request_ = std::move(request);
    due_ = due;
    cancel_after_tokens_ = cancel_after_tokens;
  }

  // Notes what was read; whether the call is to be cancelled now.
  bool Record() {
    runtime::MutexLock lock(&mu_);
    if (response_.has_chunk()) CountTokens(response_.chunk().token_ids_size());
    if (response_.has_summary()) {
      measured_.prompt_tokens = response_.summary().usage().prompt_tokens();
    }
    measured_.cancelled = cancel_after_tokens_ > 0 &&
                          measured_.generated_tokens >= cancel_after_tokens_;
    return measured_.cancelled;
  }

  void CountTokens(int count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (count == 0) return;  // a choice's end without a token
    const absl::Time now = absl::Now();
    if (!measured_.ttft) {
      measured_.ttft = absl::ToDoubleSeconds(now - due_);
    } else {
      measured_.itl.push_back(absl::ToDoubleSeconds(now - last_) / count);
    }
    last_ = now;
    measured_.generated_tokens += count;
  }

  Measured Result(const grpc::Status& status) {
    runtime::MutexLock lock(&mu_);
    if (status.ok()) measured_.cancelled = false;  // it was too late for that
    measured_.code = absl::StatusCodeToString(
        static_cast<absl::StatusCode>(status.error_code()));
    measured_.e2e = absl::ToDoubleSeconds(absl::Now() - due_);
    return std::move(measured_);
  }

  Collector& collector_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;    // gRPC's, once it has started
  v1::GenerateResponse response_;  // gRPC's, while it reads
  runtime::Mutex mu_;
  absl::Time due_ ABSL_GUARDED_BY(mu_);
  int64_t cancel_after_tokens_ ABSL_GUARDED_BY(mu_) = 0;  // 0: never
  Measured measured_ ABSL_GUARDED_BY(mu_);
  absl::Time last_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<int> VocabSize(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = v1::ModelService::NewStub(channel);
  grpc::ClientContext context;
  v1::Model model;
  RETURN_IF_ERROR(
      FromGrpcStatus(stub->GetModel(&context, v1::GetModelRequest(), &model)));
  return static_cast<int>(model.vocab_size());
}

// The same seed makes the same load.
class Workload {
 public:
  Workload(const LoadOptions& options, int vocab_size)
      : options_(options),
        random_(options.seed),
        gap_seconds_(options.rate),
        token_(0, vocab_size - 1),
        fraction_(0, 1),
        cancel_after_(1, options.generate_tokens) {}

  absl::Duration NextGap() { return absl::Seconds(gap_seconds_(random_)); }

  int64_t NextCancel() {
    const bool cancel = fraction_(random_) < options_.cancel_fraction;
    return cancel ? cancel_after_(random_) : 0;
  }

  v1::GenerateRequest NextRequest() {
    v1::GenerateRequest request;
    for (int i = 0; i < options_.prompt_tokens; ++i) {
      request.mutable_token_ids()->add_ids(token_(random_));
    }
    request.mutable_sampling()->set_temperature(0);
    request.mutable_stop()->set_max_tokens(options_.generate_tokens);
    request.mutable_stop()->set_ignore_eos(true);
    return request;
  }

 private:
  const LoadOptions& options_;
  std::mt19937_64 random_;
  std::exponential_distribution<double> gap_seconds_;
  std::uniform_int_distribution<uint32_t> token_;
  std::uniform_real_distribution<double> fraction_;
  std::uniform_int_distribution<int64_t> cancel_after_;
};

}  // namespace

absl::StatusOr<LoadResult> RunLoad(std::shared_ptr<grpc::Channel> channel,
                                   const LoadOptions& options) {
  ASSIGN_OR_RETURN(const int vocab_size, VocabSize(channel));
  const auto stub = v1::GenerationService::NewStub(channel);
  Workload workload(options, vocab_size);
  Collector collector;
  const absl::Time start = absl::Now();
  absl::Time due = start;
  for (int i = 0; i < options.requests; ++i) {
    v1::GenerateRequest request = workload.NextRequest();
    const int64_t cancel_after = workload.NextCancel();
    absl::SleepFor(due - absl::Now());
    collector.Open(options.concurrency);
    Call::Start(*stub, std::move(request), due, cancel_after,
                absl::Seconds(options.timeout_seconds), collector);
    due += workload.NextGap();
  }
  LoadResult result = collector.Wait();
  result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return result;
}

}  // namespace mla::server
