// The CPUs this process may use: its affinity mask, cut by its cgroup's quota,
// which is what a container's CPU limit is.
#ifndef MLA_RUNTIME_CPU_COUNT_H_
#define MLA_RUNTIME_CPU_COUNT_H_

#include <string>

namespace mla::runtime {

int UsableCpus();  // at least 1

// CPUs that a cgroup v2 cpu.max text ("200000 100000", "max 100000") grants,
// rounded up; 0: no limit.
int CpusFromQuota(const std::string& cpu_max);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CPU_COUNT_H_
