// Tested by tests/server/pending_chunks_test.cc.
#include "server/pending_chunks.h"

#include <utility>

#include "server/limits.h"
#include "server/response_conversion.h"

namespace mla::server {

void PendingChunks::Add(const runtime::TokenDelta& delta) {
  const size_t choice = static_cast<size_t>(delta.index);
  if (choice >= open_.size()) open_.resize(choice + 1, nullptr);
  const size_t added = WireBytes(delta);
  Item*& open = open_[choice];
  if (open == nullptr || open->bytes + added > kMaxChunkBytes) {
    open = &queue_.emplace_back();
  }
  AppendDelta(delta, *open->message.mutable_chunk());
  open->bytes += added;
  bytes_ += added;
}

void PendingChunks::AddSummary(const runtime::Summary& summary) {
  Item& item = queue_.emplace_back();
  *item.message.mutable_summary() = ToProto(summary);
  item.bytes = item.message.ByteSizeLong();
  bytes_ += item.bytes;
}

serving::v1::GenerateResponse PendingChunks::Pop() {
  Item& front = queue_.front();
  for (Item*& open : open_) {
    if (open == &front) open = nullptr;
  }
  bytes_ -= front.bytes;
  serving::v1::GenerateResponse message = std::move(front.message);
  queue_.pop_front();
  return message;
}

void PendingChunks::Clear() {
  queue_.clear();
  open_.clear();
  bytes_ = 0;
}

}  // namespace mla::server
