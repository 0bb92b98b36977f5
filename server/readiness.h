// Readiness is the one word on how far the server is: loading, warming, ready,
// draining. Probes (HTTP and grpc.health.v1) and logs follow it.
// Threads: any.
#ifndef MLA_SERVER_READINESS_H_
#define MLA_SERVER_READINESS_H_

#include <functional>
#include <map>

#include "absl/base/thread_annotations.h"
#include "runtime/mutex.h"

namespace mla::server {

class Readiness {
 public:
  enum class State { kLoading, kWarming, kReady, kDraining };

  State state() const;
  // Once draining, always draining: later calls change nothing.
  void Set(State state);
  // `observer(ready)` runs now and after every change, under the lock, until
  // Forget(owner) has returned.
  void Observe(const void* owner, std::function<void(bool ready)> observer);
  void Forget(const void* owner);

 private:
  mutable runtime::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kLoading;
  std::map<const void*, std::function<void(bool)>> observers_
      ABSL_GUARDED_BY(mu_);
};

const char* Name(Readiness::State state);

}  // namespace mla::server

#endif  // MLA_SERVER_READINESS_H_
