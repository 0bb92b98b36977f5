// Mutex, MutexLock and Notification, as Abseil has them, over std::mutex: a
// wait names its condition, and whoever changes guarded state only unlocks.
// Why not Abseil's: distributions ship it without ThreadSanitizer's
// annotations, so every access that its Mutex orders is reported as a race.
// Threads: any.
#ifndef MLA_RUNTIME_MUTEX_H_
#define MLA_RUNTIME_MUTEX_H_

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

namespace mla::runtime {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    // Under the lock: a waiter may destroy this as soon as it is free.
    if (waiters_ > 0) changed_.notify_all();
    mu_.unlock();
  }

  // Waits, unlocked, until `condition()` holds; it is called with the lock
  // held. REQUIRES: the lock is held, as it is again on return.
  template <typename Condition>
  void Await(Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    AwaitUntil(condition, absl::InfiniteFuture());
  }

  // As Await, until `deadline` at most. Returns condition().
  template <typename Condition>
  bool AwaitUntil(Condition condition, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    std::unique_lock<std::mutex> lock(mu_, std::adopt_lock);
    ++waiters_;
    bool holds = true;
    if (deadline == absl::InfiniteFuture()) {
      changed_.wait(lock, condition);
    } else {
      holds =
          changed_.wait_until(lock, absl::ToChronoTime(deadline), condition);
    }
    --waiters_;
    lock.release();
    return holds;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  int waiters_ = 0;  // guarded by mu_
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) {
    mu_->Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};

// Happens once. What precedes Notify is seen after WaitForNotification.
class Notification {
 public:
  void Notify() {
    MutexLock lock(&mu_);
    notified_ = true;
  }
  void WaitForNotification() {
    MutexLock lock(&mu_);
    mu_.Await([this] { return notified_; });
  }

 private:
  Mutex mu_;
  bool notified_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_MUTEX_H_
