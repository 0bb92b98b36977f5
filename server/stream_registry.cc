// Tested by tests/server/stream_registry_test.cc.
#include "server/stream_registry.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "server/log.h"

namespace mla::server {

StreamRegistry::StreamRegistry(absl::Duration stall_limit,
                               ServerMetrics& metrics)
    : stall_limit_(stall_limit), metrics_(metrics) {
  thread_ = std::thread([this] { Run(); });
}

StreamRegistry::~StreamRegistry() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void StreamRegistry::Add(std::shared_ptr<WatchedStream> stream) {
  WatchedStream* key = stream.get();
  absl::MutexLock lock(&mu_);
  streams_.emplace(key, std::move(stream));
  metrics_.streams_active().Set(static_cast<double>(streams_.size()));
}

void StreamRegistry::Remove(WatchedStream* stream) {
  std::shared_ptr<WatchedStream> share;  // released outside the lock
  absl::MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  share = std::move(found->second);
  streams_.erase(found);
  metrics_.streams_active().Set(static_cast<double>(streams_.size()));
}

void StreamRegistry::Run() {
  constexpr absl::Duration kPeriod = absl::Seconds(1);
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stopping_), kPeriod)) return;
    }
    Inspect(absl::Now());
  }
}

void StreamRegistry::Inspect(absl::Time now) {
  std::vector<std::shared_ptr<WatchedStream>> streams;
  {
    absl::MutexLock lock(&mu_);
    streams.reserve(streams_.size());
    for (const auto& entry : streams_) streams.push_back(entry.second);
  }
  absl::Duration slowest = absl::ZeroDuration();
  size_t pending_bytes = 0;
  for (const auto& stream : streams) {
    const absl::Duration busy = now - stream->BusySince();
    slowest = std::max(slowest, busy);
    pending_bytes += stream->PendingBytes();
    if (busy > stall_limit_) stream->Abandon();
  }
  metrics_.write_stalled_seconds().Set(absl::ToDoubleSeconds(slowest));
  metrics_.pending_bytes().Set(static_cast<double>(pending_bytes));
}

}  // namespace mla::server
