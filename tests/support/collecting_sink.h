// CollectingSink gathers what a request generates, for tests to wait for.
// Threads: any; guarded by its mutex.
#ifndef MLA_TESTS_SUPPORT_COLLECTING_SINK_H_
#define MLA_TESTS_SUPPORT_COLLECTING_SINK_H_

#include <map>
#include <string>
#include <vector>

#include "runtime/mutex.h"
#include "runtime/token_sink.h"

namespace mla::testing {

class CollectingSink : public runtime::TokenSink {
 public:
  void OnTokens(runtime::TokenDelta delta) override {
    runtime::MutexLock lock(&mu_);
    std::vector<int32_t>& ids = ids_[delta.index];
    ids.insert(ids.end(), delta.token_ids.begin(), delta.token_ids.end());
    text_[delta.index] += delta.text;
    for (auto& l : delta.logprobs) logprobs_[delta.index].push_back(l);
    if (delta.finish) finish_[delta.index] = *delta.finish;
  }
  void OnDone(absl::Status status, const runtime::Summary& summary) override {
    runtime::MutexLock lock(&mu_);
    status_ = status;
    summary_ = summary;
    ++done_;
  }

  absl::Status Wait() {
    runtime::MutexLock lock(&mu_);
    mu_.Await([this] { return done_ > 0; });
    return status_;
  }
  // Waits until this many tokens have come, or the request has ended.
  void WaitForTokens(size_t count) {
    runtime::MutexLock lock(&mu_);
    mu_.Await([&] {
      return done_ > 0 || (ids_.contains(0) && ids_[0].size() >= count);
    });
  }
  std::vector<int32_t> ids(int index = 0) {
    runtime::MutexLock lock(&mu_);
    return ids_[index];
  }
  std::string text(int index = 0) {
    runtime::MutexLock lock(&mu_);
    return text_[index];
  }
  std::vector<runtime::TokenLogprobs> logprobs(int index = 0) {
    runtime::MutexLock lock(&mu_);
    return logprobs_[index];
  }
  runtime::Finish finish(int index = 0) {
    runtime::MutexLock lock(&mu_);
    return finish_[index];
  }
  runtime::Summary summary() {
    runtime::MutexLock lock(&mu_);
    return summary_;
  }
  int times_done() {
    runtime::MutexLock lock(&mu_);
    return done_;
  }

 private:
  runtime::Mutex mu_;
  std::map<int, std::vector<int32_t>> ids_;
  std::map<int, std::string> text_;
  std::map<int, std::vector<runtime::TokenLogprobs>> logprobs_;
  std::map<int, runtime::Finish> finish_;
  absl::Status status_;
  runtime::Summary summary_;
  int done_ = 0;
};

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_COLLECTING_SINK_H_
