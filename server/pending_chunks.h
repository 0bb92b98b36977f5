// PendingChunks is what one stream still has to write, coalesced: a delta joins
// its choice's last waiting chunk unless that is full, so a slow client gets
// few large messages and never more than kMaxChunkBytes in one.
// Owns:    the waiting messages.
// Threads: none of its own; its StreamWriter's lock guards it.
// Units:   bytes as on the wire, from above.
// Flow:    TokenSink -> [here] -> StreamWriter
#ifndef MLA_SERVER_PENDING_CHUNKS_H_
#define MLA_SERVER_PENDING_CHUNKS_H_

#include <cstddef>
#include <deque>
#include <vector>

#include "mla/serving/v1/generation.pb.h"
#include "runtime/token_sink.h"

namespace mla::server {

class PendingChunks {
 public:
  void Add(const runtime::TokenDelta& delta);
  void AddSummary(const runtime::Summary& summary);
  bool empty() const { return queue_.empty(); }
  size_t bytes() const { return bytes_; }
  // The oldest message; not to be called when empty.
  serving::v1::GenerateResponse Pop();
  void Clear();

 private:
  struct Item {
    serving::v1::GenerateResponse message;
    size_t bytes = 0;
  };
  std::deque<Item> queue_;   // its elements stay where they are
  std::vector<Item*> open_;  // by choice: the item that may still grow
  size_t bytes_ = 0;         // of all items
};

}  // namespace mla::server

#endif  // MLA_SERVER_PENDING_CHUNKS_H_
