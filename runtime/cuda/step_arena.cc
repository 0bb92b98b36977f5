// Tested by tests/cuda/backend_parts_test.cc.
#include "runtime/cuda/step_arena.h"

namespace mla::runtime {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kLeastChunk = size_t{1} << 20;

}  // namespace

void StepArena::Reset() {
  left_[turn_].Record();
  turn_ = 1 - turn_;
  left_[turn_].Wait();
  shape_.clear();
  if (chunks_.size() > 1) {  // one that holds them all, next time
    size_t bytes = 0;
    for (const auto& chunk : chunks_) bytes += chunk->bytes;
    device_.Synchronize();
    chunks_.clear();
    AddChunk(bytes);
  }
  for (const auto& chunk : chunks_) chunk->used = chunk->uploaded = 0;
}

bool StepArena::AddChunk(size_t bytes) {
  auto chunk = std::make_unique<Chunk>(device_);
  chunk->bytes = std::max(RoundedUp(bytes), kLeastChunk);
  for (int i : {0, 1}) {
    chunk->begin_host[i] = chunk->host[i].Reserve<std::byte>(chunk->bytes);
  }
  chunk->begin = chunk->device.Reserve<std::byte>(chunk->bytes);
  if (!device_.ok()) return false;
  chunks_.push_back(std::move(chunk));
  return true;
}

StepArena::Place StepArena::Take(size_t bytes) {
  shape_.push_back(bytes);
  bytes =
      (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  if (chunks_.empty() || chunks_.back()->used + bytes > chunks_.back()->bytes) {
    if (!AddChunk(bytes)) return {};
  }
  Chunk& chunk = *chunks_.back();
  const Place place{chunk.begin_host[turn_] + chunk.used,
                    chunk.begin + chunk.used};
  chunk.used += bytes;
  return place;
}

void StepArena::Upload() {
  for (const auto& chunk : chunks_) {
    if (chunk->uploaded == chunk->used) continue;
    device_.Check(cudaMemcpyAsync(chunk->begin + chunk->uploaded,
                                  chunk->begin_host[turn_] + chunk->uploaded,
                                  chunk->used - chunk->uploaded,
                                  cudaMemcpyHostToDevice, device_.stream()),
                  "cudaMemcpyAsync of a step's arrays");
    chunk->uploaded = chunk->used;
  }
}

}  // namespace mla::runtime
