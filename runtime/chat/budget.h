// Budget is what one rendering may use up: evaluation steps, bytes of text and
// lists made or searched, and nested evaluations. A template can loop, nest and
// multiply; whatever it does ends in a status, soon.
// Threads: one.
// Errors:  ResourceExhausted, saying which limit.
#ifndef MLA_RUNTIME_CHAT_BUDGET_H_
#define MLA_RUNTIME_CHAT_BUDGET_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mla::runtime::jinja {

class Budget {
 public:
  // A published template needs about a hundred steps a message, and copies what
  // it is given a few times. The depth keeps a thread's stack below a megabyte.
  static constexpr size_t kMaxSteps = 4'000'000;
  static constexpr size_t kMaxBytes = size_t{256} << 20;
  static constexpr int kMaxDepth = 600;

  absl::Status Steps(size_t count) {
    if (count <= steps_left_) {
      steps_left_ -= count;
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError(
        absl::StrCat("needs more than ", kMaxSteps, " steps"));
  }

  // Ask before making them.
  absl::Status Bytes(size_t count) {
    if (count <= bytes_left_) {
      bytes_left_ -= count;
      return absl::OkStatus();
    }
    return absl::ResourceExhaustedError(
        absl::StrCat("makes more than ", kMaxBytes, " bytes of text"));
  }

  // One level down, for as long as the Level lives.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) { ++budget_.depth_; }
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

    absl::Status Check() const {
      if (budget_.depth_ <= kMaxDepth) return absl::OkStatus();
      return absl::ResourceExhaustedError(
          absl::StrCat("nests deeper than ", kMaxDepth, " evaluations"));
    }

   private:
    Budget& budget_;
  };

 private:
  size_t steps_left_ = kMaxSteps;
  size_t bytes_left_ = kMaxBytes;
  int depth_ = 0;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_BUDGET_H_
