// Tested by tests/e2e/.
#include "server/commands/stop_signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "server/log.h"

namespace mla::server {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int Next() {
  const sigset_t signals = Signals();
  int signal = 0;
  sigwait(&signals, &signal);
  return signal;
}

// No destructor runs; the kernel closes the sockets.
[[noreturn]] void ExitNow(int signal) {
  constexpr int kSignalExitBase = 128;  // as shells report signals
  Log().warn("stopping at once signal={}", signal);
  Log().flush();
  _exit(kSignalExitBase + signal);
}

}  // namespace

StopSignals& StopSignals::Install() {
  static StopSignals* const signals = [] {
    const sigset_t blocked = Signals();
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    auto* made = new StopSignals;
    std::thread([made] { made->Run(); }).detach();
    return made;
  }();
  return *signals;
}

void StopSignals::Run() {
  const int first = Next();
  if (!armed_) ExitNow(first);
  Log().info("stop asked for signal={}", first);
  first_.Notify();
  ExitNow(Next());
}

}  // namespace mla::server
