// Tested by tests/server/serving_test.cc.
#include "server/warm_up.h"

#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "runtime/mutex.h"
#include "runtime/request.h"
#include "runtime/status_macros.h"
#include "server/log.h"

namespace mla::server {
namespace {

class Waiter final : public runtime::TokenSink {
 public:
  void OnTokens(runtime::TokenDelta) override {}
  void OnDone(absl::Status status, const runtime::Summary&) override {
    status_ = std::move(status);
    done_.Notify();
  }
  absl::Status Wait() {
    done_.WaitForNotification();
    return status_;
  }

 private:
  absl::Status status_;
  runtime::Notification done_;
};

}  // namespace

absl::Status WarmUp(runtime::Engine& engine) {
  const absl::Time start = absl::Now();
  const auto waiter = std::make_shared<Waiter>();
  runtime::Request request;
  request.id = "warm-up";
  request.prompt = {0, 0, 0, 0};  // token 0 exists in every vocabulary
  request.sampling.temperature = 0;
  request.stop.max_tokens = 2;  // a prefill and a decode
  request.stop.ignore_eos = true;
  request.sink = waiter;
  RETURN_IF_ERROR(engine.Submit(std::move(request)));
  RETURN_IF_ERROR(waiter->Wait());
  Log().info("warm seconds={:.3f}", absl::ToDoubleSeconds(absl::Now() - start));
  return absl::OkStatus();
}

}  // namespace mla::server
