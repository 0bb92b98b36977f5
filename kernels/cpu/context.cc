#include "kernels/cpu/context.h"

#include <algorithm>
#include <new>

namespace mla::kernels {
namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kMinChunk = size_t{1} << 20;
}  // namespace

void Scratch::Free::operator()(std::byte* p) const {
  ::operator delete (p, std::align_val_t{kAlignment});
}

void Scratch::Reset() {
  // After a step that needed several chunks, one that holds them all.
  if (chunks_.size() > 1) {
    size_t total = 0;
    for (const Chunk& chunk : chunks_) total += chunk.bytes;
    chunks_.clear();
    chunk_ = used_ = 0;
    TakeBytes(total);
  }
  chunk_ = used_ = 0;
}

std::byte* Scratch::TakeBytes(size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].bytes) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    const size_t size = std::max(bytes, kMinChunk);
    void* p = ::operator new (size, std::align_val_t{kAlignment});
    chunks_.push_back(
        {std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(p)), size});
  }
  std::byte* p = chunks_[chunk_].data.get() + used_;
  used_ += bytes;
  return p;
}

}  // namespace mla::kernels
