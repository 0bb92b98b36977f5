// Tested by tests/runtime/cpu_count_test.cc.
#include "runtime/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace mla::runtime {

int CpusFromQuota(const std::string& cpu_max) {
  std::istringstream in(cpu_max);
  double quota = 0, period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return std::max(1, static_cast<int>((quota + period - 1) / period));
}

int UsableCpus() {
  cpu_set_t mask;
  int cpus = 1;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) cpus = CPU_COUNT(&mask);
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string text;
  if (std::getline(file, text)) {
    const int quota = CpusFromQuota(text);
    if (quota > 0) cpus = std::min(cpus, quota);
  }
  return std::max(cpus, 1);
}

}  // namespace mla::runtime
