// Tested by tests/server/http_listener_test.cc.
#include "server/readiness.h"

#include <utility>

#include "server/log.h"

namespace mla::server {

Readiness::State Readiness::state() const {
  runtime::MutexLock lock(&mu_);
  return state_;
}

void Readiness::Set(State state) {
  runtime::MutexLock lock(&mu_);
  if (state_ == state || state_ == State::kDraining) return;
  state_ = state;
  Log().info("state {}", Name(state));
  for (const auto& [owner, observer] : observers_) {
    observer(state == State::kReady);
  }
}

void Readiness::Observe(const void* owner, std::function<void(bool)> observer) {
  runtime::MutexLock lock(&mu_);
  observer(state_ == State::kReady);
  observers_[owner] = std::move(observer);
}

void Readiness::Forget(const void* owner) {
  runtime::MutexLock lock(&mu_);
  observers_.erase(owner);
}

const char* Name(Readiness::State state) {
  switch (state) {
    case Readiness::State::kLoading:
      return "loading";
    case Readiness::State::kWarming:
      return "warming";
    case Readiness::State::kReady:
      return "ready";
    case Readiness::State::kDraining:
      return "draining";
  }
  return "unknown";
}

}  // namespace mla::server
