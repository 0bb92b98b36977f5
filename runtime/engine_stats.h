// A snapshot of the engine: the cache's occupancy and the queues.
// Threads: plain values.
#ifndef MLA_RUNTIME_ENGINE_STATS_H_
#define MLA_RUNTIME_ENGINE_STATS_H_

#include <cstdint>

namespace mla::runtime {

// free + active + cached + reserved == total, always.
struct CacheStats {
  int64_t block_bytes = 0;
  int block_tokens = 0;
  double bytes_per_token = 0;  // in all layers
  int64_t total_blocks = 0;
  int64_t free_blocks = 0;
  int64_t active_blocks = 0;
  int64_t cached_blocks = 0;
  int64_t reserved_blocks = 0;
  int64_t active_tokens = 0;  // rows that live sequences hold
  int64_t cached_tokens = 0;
};

struct EngineStats {
  CacheStats cache;
  int64_t running_requests = 0;
  int64_t waiting_requests = 0;
  int64_t waiting_tokens = 0;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ENGINE_STATS_H_
