// The signal handler that tells, before the program ends, which device or
// pinned memory it touched and should not have: memory that is freed, past its
// end, or a GPU's and touched by host code.
// Threads: any. The signal then goes where it went before.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ACCESS_TRAP_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ACCESS_TRAP_H_

namespace cuda_host {

void InstallAccessTrap();

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ACCESS_TRAP_H_
