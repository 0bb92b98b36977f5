// LoadGenerator sends requests to a server at times that do not depend on its
// answers (open loop, Poisson arrivals), so a slow server cannot slow the load
// down and hide it. Latencies count from the moment a request was due.
// Owns:    its calls; gRPC's threads run them.
// Threads: Run from one thread, which it blocks.
// Source:  open and closed loops: Schroeder, Wierman, Harchol-Balter, NSDI'06.
#ifndef MLA_SERVER_COMMANDS_LOAD_GENERATOR_H_
#define MLA_SERVER_COMMANDS_LOAD_GENERATOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpc {
class Channel;
}

namespace mla::server {

struct LoadOptions {
  double rate = 1;  // requests a second, on average
  int requests = 100;
  int concurrency = 0;  // calls open at once; 0: no cap
  int prompt_tokens = 128;
  int generate_tokens = 64;
  double cancel_fraction = 0;  // of requests, after a random token
  uint64_t seed = 1;           // of arrivals, prompts and cancellations
  double timeout_seconds = 300;
};

struct LoadResult {
  double seconds = 0;  // from the first arrival to the last end
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
  int cancelled = 0;                   // by this client, on purpose
  std::map<std::string, int> by_code;  // of the others
  std::vector<double> ttft;            // seconds, of requests that got a token
  std::vector<double> itl;  // between two chunks, over the later one's tokens
  std::vector<double> e2e;  // of requests that ended OK
};

// Asks the server for its vocabulary, then runs the load to its end.
absl::StatusOr<LoadResult> RunLoad(std::shared_ptr<grpc::Channel> channel,
                                   const LoadOptions& options);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_LOAD_GENERATOR_H_
