// Tested by tests/e2e/gguf_export_test.py.
#include "runtime/checkpoint/gguf_writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/checkpoint/tensor.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr uint64_t kAlignment = 32;  // where general.alignment says nothing
// Of ggml's tensor types.
constexpr uint32_t kGgmlF32 = 0, kGgmlBF16 = 30;

template <typename Number>
void Put(Number number, std::string& to) {
  to.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void PutText(std::string_view text, std::string& to) {
  Put<uint64_t>(text.size(), to);
  to += text;
}

uint64_t Aligned(uint64_t size) { return size + -size % kAlignment; }

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

void GgufPairs::Begin(std::string_view key, GgufType type) {
  ++count_;
  PutText(key, bytes_);
  Put(type, bytes_);
}

void GgufPairs::Add(std::string_view key, std::string_view text) {
  Begin(key, GgufType::kString);
  PutText(text, bytes_);
}

void GgufPairs::Add(std::string_view key, uint32_t number) {
  Begin(key, GgufType::kU32);
  Put(number, bytes_);
}

void GgufPairs::Add(std::string_view key, float number) {
  Begin(key, GgufType::kF32);
  Put(number, bytes_);
}

void GgufPairs::Add(std::string_view key, const std::vector<int>& numbers) {
  Begin(key, GgufType::kArray);
  Put(GgufType::kI32, bytes_);
  Put<uint64_t>(numbers.size(), bytes_);
  for (const int number : numbers) Put<int32_t>(number, bytes_);
}

void GgufPairs::Add(std::string_view key, const GgufValue& value) {
  const std::string_view bytes(
      reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  Begin(key, value.type);
  if (value.type == GgufType::kString) {
    PutText(bytes, bytes_);
    return;
  }
  if (value.type == GgufType::kArray) {
    Put(value.element_type, bytes_);
    Put<uint64_t>(value.count, bytes_);
  }
  bytes_ += bytes;
}

absl::StatusOr<GgufWriter> GgufWriter::Create(
    const std::string& path, const GgufPairs& metadata,
    const std::vector<TensorSpec>& tensors) {
  std::string header = "GGUF";
  Put<uint32_t>(3, header);
  Put<uint64_t>(tensors.size(), header);
  Put<uint64_t>(metadata.count(), header);
  header += metadata.bytes();
  std::map<std::string, Slot> slots;
  uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    const bool f32 = tensor.type == kernels::DType::kF32;
    if (!f32 && tensor.type != kernels::DType::kBF16) {
      return absl::UnimplementedError(
          absl::StrCat("tensor ", Quote(tensor.name), ": type ",
                       kernels::Name(tensor.type), " cannot be written"));
    }
    ASSIGN_OR_RETURN(const uint64_t size,
                     TensorBytes(tensor.type, tensor.shape));
    PutText(tensor.name, header);
    Put<uint32_t>(tensor.shape.size(), header);
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      Put<uint64_t>(tensor.shape[i], header);
    }
    Put<uint32_t>(f32 ? kGgmlF32 : kGgmlBF16, header);
    Put<uint64_t>(offset, header);
    slots[tensor.name] = {offset, size};
    offset += Aligned(size);
  }
  header.resize(Aligned(header.size()));
  for (auto& [name, slot] : slots) slot.begin += header.size();
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(file.WriteAt(0, BytesOf(header)));
  return GgufWriter(std::move(file), std::move(slots));
}

GgufWriter::GgufWriter(AtomicFile file, std::map<std::string, Slot> slots)
    : file_(std::move(file)), slots_(std::move(slots)) {}

absl::Status GgufWriter::Append(const std::string& tensor,
                                absl::Span<const std::byte> bytes) {
  const auto it = slots_.find(tensor);
  if (it == slots_.end() ||
      bytes.size() > it->second.size - it->second.written) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quote(tensor), " has no room for ",
                     bytes.size(), " more bytes"));
  }
  Slot& slot = it->second;
  RETURN_IF_ERROR(file_.WriteAt(slot.begin + slot.written, bytes));
  slot.written += bytes.size();
  return absl::OkStatus();
}

absl::Status GgufWriter::Close() {
  for (const auto& [name, slot] : slots_) {
    if (slot.written == slot.size) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("tensor ", Quote(name), " has ", slot.size, " bytes, of ",
                     "which ", slot.written, " were given"));
  }
  return file_.Commit();
}

}  // namespace mla::runtime
