// Tested by tests/server/call_registry_test.cc.
#include "server/call_registry.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "server/log.h"

namespace mla::server {

CallRegistry::CallRegistry(absl::Duration stall_limit, ServerMetrics& metrics)
    : stall_limit_(stall_limit), metrics_(metrics) {
  thread_ = std::thread([this] { Run(); });
}

CallRegistry::~CallRegistry() {
  {
    runtime::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void CallRegistry::Add(std::shared_ptr<WatchedCall> call) {
  WatchedCall* key = call.get();
  runtime::MutexLock lock(&mu_);
  calls_.emplace(key, std::move(call));
  metrics_.streams_active().Set(static_cast<double>(calls_.size()));
}

void CallRegistry::Remove(WatchedCall* call) {
  std::shared_ptr<WatchedCall> share;  // released outside the lock
  runtime::MutexLock lock(&mu_);
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  share = std::move(found->second);
  calls_.erase(found);
  metrics_.streams_active().Set(static_cast<double>(calls_.size()));
}

bool CallRegistry::WaitEmpty(absl::Time deadline) {
  runtime::MutexLock lock(&mu_);
  return mu_.AwaitUntil([this] { return calls_.empty(); }, deadline);
}

void CallRegistry::Run() {
  constexpr absl::Duration kPeriod = absl::Seconds(1);
  while (true) {
    {
      runtime::MutexLock lock(&mu_);
      const bool stopping =
          mu_.AwaitUntil([this] { return stopping_; }, absl::Now() + kPeriod);
      if (stopping) return;
    }
    Inspect(absl::Now());
  }
}

void CallRegistry::Inspect(absl::Time now) {
  std::vector<std::shared_ptr<WatchedCall>> calls;
  {
    runtime::MutexLock lock(&mu_);
    calls.reserve(calls_.size());
    for (const auto& entry : calls_) calls.push_back(entry.second);
  }
  absl::Duration slowest = absl::ZeroDuration();
  size_t pending_bytes = 0;
  for (const auto& call : calls) {
    const absl::Duration busy = now - call->BusySince();
    slowest = std::max(slowest, busy);
    pending_bytes += call->PendingBytes();
    if (busy > stall_limit_) call->Abandon();
  }
  metrics_.write_stalled_seconds().Set(absl::ToDoubleSeconds(slowest));
  metrics_.pending_bytes().Set(static_cast<double>(pending_bytes));
}

}  // namespace mla::server
