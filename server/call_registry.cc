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
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void CallRegistry::Add(std::shared_ptr<WatchedCall> call) {
  WatchedCall* key = call.get();
  absl::MutexLock lock(&mu_);
  calls_.emplace(key, std::move(call));
  metrics_.streams_active().Set(static_cast<double>(calls_.size()));
}

void CallRegistry::Remove(WatchedCall* call) {
  std::shared_ptr<WatchedCall> share;  // released outside the lock
  absl::MutexLock lock(&mu_);
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  share = std::move(found->second);
  calls_.erase(found);
  metrics_.streams_active().Set(static_cast<double>(calls_.size()));
}

bool CallRegistry::WaitEmpty(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  const auto empty = [this] { return calls_.empty(); };
  return mu_.AwaitWithDeadline(absl::Condition(&empty), deadline);
}

void CallRegistry::Run() {
  constexpr absl::Duration kPeriod = absl::Seconds(1);
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stopping_), kPeriod)) return;
    }
    Inspect(absl::Now());
  }
}

void CallRegistry::Inspect(absl::Time now) {
  std::vector<std::shared_ptr<WatchedCall>> calls;
  {
    absl::MutexLock lock(&mu_);
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
