// StopSignals turns SIGTERM and SIGINT into calls: the first one ends Wait, a
// second one, or one that comes before Arm, ends the process at once.
// Owns:    one thread, for the rest of the process's life.
// Threads: the constructor before any other thread is made (it blocks the
//          signals for all of them); the rest from any.
#ifndef MLA_SERVER_COMMANDS_STOP_SIGNALS_H_
#define MLA_SERVER_COMMANDS_STOP_SIGNALS_H_

#include <atomic>

#include "runtime/mutex.h"

namespace mla::server {

class StopSignals {
 public:
  // One in a process, never destroyed.
  static StopSignals& Install();

  // From now on there is something to drain.
  void Arm() { armed_ = true; }
  void Wait() { first_.WaitForNotification(); }
  // Ends Wait as the first signal would.
  void Stop() { first_.Notify(); }

 private:
  StopSignals() = default;
  void Run();

  std::atomic<bool> armed_ = false;
  runtime::Notification first_;
};

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_STOP_SIGNALS_H_
