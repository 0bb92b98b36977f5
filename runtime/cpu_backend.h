// CpuBackend: the embedded default. Weights are packed once, when loaded.
// Threads: as Backend; ops run on its own pool.
#ifndef MLA_RUNTIME_CPU_BACKEND_H_
#define MLA_RUNTIME_CPU_BACKEND_H_

#include <memory>

#include "kernels/cpu/isa.h"
#include "runtime/backend.h"
#include "runtime/host_ranks.h"
#include "runtime/part.h"

namespace mla::runtime {

// REQUIRES: kernels::IsSupported(isa), num_threads >= 1. Of one rank among
// several, `ranks` is where all of them meet.
std::unique_ptr<Backend> NewCpuBackend(
    kernels::Isa isa, int num_threads, Part rank = {},
    std::shared_ptr<HostRanks> ranks = nullptr);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CPU_BACKEND_H_
