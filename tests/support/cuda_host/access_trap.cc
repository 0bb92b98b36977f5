// Tested by tests/cuda/runtime_launches_test.cc.
#include "cuda_host/access_trap.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

struct sigaction previous;

// The fault is the program's last act and was not inside the allocator, unless
// it is one of the host's own: then at worst the message is lost.
void OnFault(int, siginfo_t* info, void*) {
  sigaction(SIGSEGV, &previous, nullptr);  // the access faults again, into that
  Context& c = Context::Get();
  if (!c.memory.Touches(info->si_addr, 1) &&
      c.memory.Describe(info->si_addr).find("allocation") ==
          std::string::npos) {
    return;
  }
  const std::string text =
      Text("CUDA stand-in: ", RunningWork() ? "work of a stream" : "host code",
           " touched ", c.memory.Describe(info->si_addr), "\n");
  const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(written);
}

}  // namespace

void InstallAccessTrap() {
  struct sigaction action = {};
  action.sa_sigaction = OnFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &previous);
}

}  // namespace cuda_host
