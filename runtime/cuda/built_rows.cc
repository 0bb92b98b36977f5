// Tested by tests/cuda/model_golden_cuda_test.cc and layouts_cuda_test.py.
#include "runtime/cuda/built_rows.h"

#include <algorithm>

#include "kernels/cuda/launch/cache.h"
#include "kernels/cuda/launch/rows.h"

namespace mla::runtime {
namespace {

using kernels::AttnLayout;
using kernels::DType;
using kernels::Slice;
using kernels::cuda::CacheArgs;

const DeviceUpProjection* UpOf(const AttentionWeights& w) {
  return static_cast<const DeviceUpProjection*>(w.up);
}

int KeyInputs(const AttentionWeights& w) {
  return w.up == nullptr ? 0 : UpOf(w)->k.inputs;
}

// Whether all groups read the same elements [begin, end) of the view.
bool Shared(const Slice (&view)[2], int begin, int end) {
  int at = 0;
  for (const Slice& slice : view) {
    const bool read = std::max(begin, at) < std::min(end, at + slice.length);
    if (read && slice.group_stride != 0) return false;
    at += slice.length;
  }
  return true;
}

// The pieces that groups make of a view's elements: one if they share them.
int PiecesOf(const AttnLayout& l, const Slice (&view)[2], int begin, int end) {
  return Shared(view, begin, end) ? 1 : l.groups;
}

// `count` pieces of `length`, padded, from the row's end on, which moves.
Slice Append(int count, bool shared, int length, AttnLayout& built) {
  const int padded = PaddedTo8(length);
  const Slice slice{built.row_width, shared ? 0 : padded, length};
  built.row_width += count * padded;
  return slice;
}

AttnLayout GatedLayout(const AttentionWeights& w) {
  const GatedWeights& g = *w.gated;
  AttnLayout built;
  built.groups = built.heads = w.layout.heads;
  built.key[0] = Append(built.heads, false, g.nope, built);
  built.value[0] = Append(built.heads, false, g.v_dim, built);
  built.key[1] = Append(1, true, g.rope, built);
  return built;
}

AttnLayout RotatedLayout(const AttentionWeights& w) {
  const AttnLayout& l = w.layout;
  const int nope = w.up == nullptr ? 0 : UpOf(w)->k.outputs;
  AttnLayout built;
  built.groups = l.groups;
  built.heads = l.heads;
  built.first_head = l.first_head;
  built.key[0] =
      Append(l.groups, false, nope + l.key_length() - KeyInputs(w), built);
  const int pieces = PiecesOf(l, l.value, 0, l.value_length());
  built.value[0] = Append(pieces, pieces == 1, l.value_length(), built);
  return built;
}

AttnLayout HeadsLayout(const AttentionWeights& w) {
  const AttnLayout& l = w.layout;
  const DeviceUpProjection& up = *UpOf(w);
  const int rest = l.key_length() - up.k.inputs;
  AttnLayout built;
  built.groups = built.heads = l.virtual_heads();
  built.key[0] = Append(built.heads, false, up.k.outputs, built);
  built.value[0] = Append(built.heads, false, up.v.outputs, built);
  const bool shared = Shared(l.key, up.k.inputs, l.key_length());
  built.key[1] = Append(shared ? 1 : built.heads, shared, rest, built);
  return built;
}

}  // namespace

BuiltRows::BuiltRows(Device& device, Gemm& gemm, StepArena& arena, int tile,
                     int most)
    : device_(device),
      gemm_(gemm),
      arena_(arena),
      tile_(tile),
      most_((most + tile - 1) / tile * tile),
      rows_(device),
      latents_(device),
      embedded_(device),
      keys_(device),
      gates_(device) {}

AttnLayout BuiltRows::LayoutOf(const AttentionWeights& w) {
  if (w.gated != nullptr) return GatedLayout(w);
  if (w.layout.rotate_on_read) return RotatedLayout(w);
  return HeadsLayout(w);
}

void BuiltRows::Build(const AttentionWeights& w, const CacheArgs& cache,
                      const int32_t* block_table, const int32_t* tokens,
                      int first, int count) {
  const AttnLayout built = LayoutOf(w);
  rows_.Reserve<uint16_t>(size_t(most_) * built.row_width);
  if (!device_.ok()) return;
  const Source source{cache, block_table, first, count};
  if (w.gated != nullptr) {
    BuildGated(w, built, source, tokens);
  } else if (w.layout.rotate_on_read) {
    BuildRotated(w, built, source);
  } else {
    BuildHeads(w, built, source);
  }
}

void BuiltRows::Gather(const Source& source, const View& view, uint16_t* to,
                       float* to_f32, int64_t row_stride, int stride,
                       int padded) {
  kernels::cuda::GatherRowsArgs args;
  args.cache = source.cache;
  args.block_table = source.block_table;
  args.first = source.first;
  args.count = source.count;
  args.pieces = view.pieces;
  args.y_row_stride = row_stride;
  args.y_piece_stride = stride;
  int at = 0, done = 0;
  for (const Slice& slice : view.slices) {
    const int first = std::max(view.begin, at);
    const int end = std::min(view.end, at + slice.length);
    if (first < end) {
      args.slice = {slice.offset + first - at, slice.group_stride, end - first};
      args.padded = end == view.end ? padded - done : end - first;
      args.y = to == nullptr ? nullptr : to + done;
      args.y_f32 = to_f32 == nullptr ? nullptr : to_f32 + done;
      device_.Check(kernels::cuda::LaunchGatherRows(args, device_.stream()),
                    "gather of cached rows");
      done += end - first;
    }
    at += slice.length;
  }
}

GemmOperand BuiltRows::Latents(const Source& source, const View& view) {
  const int padded = PaddedTo8(view.end - view.begin);
  const int64_t stride = int64_t{view.pieces} * padded;
  auto* latents = latents_.Reserve<uint16_t>(size_t(most_) * stride);
  if (latents == nullptr) return {};
  Gather(source, view, latents, nullptr, stride, padded, padded);
  return {latents, stride, view.pieces == 1 ? 0 : padded};
}

void BuiltRows::Project(const DeviceMatrix& w, GemmOperand x, int pieces,
                        int count, uint16_t* to, float* to_f32,
                        int64_t row_stride, int stride) {
  if (x.data == nullptr) return;
  const int heads = w.count / pieces;  // of one piece
  // One call where pieces and heads go alike.
  const int calls = pieces == 1 || heads == 1 ? 1 : pieces;
  GemmArgs args;
  args.rows = tile_;
  args.outputs = w.outputs;
  args.inputs = w.stride;  // zeros behind the inputs in both
  args.batch = w.count / calls;
  args.out = to != nullptr ? DType::kBF16 : DType::kF32;
  for (int row = 0; row < count; row += tile_) {
    for (int call = 0; call < calls; ++call) {
      const int64_t head = int64_t{call} * heads;
      const int64_t at = row * row_stride + head * stride;
      args.x = {static_cast<uint16_t*>(x.data) + row * x.stride +
                    call * x.batch_stride,
                x.stride, calls == 1 ? x.batch_stride : 0};
      args.w = {w.memory.data<uint16_t>() + head * w.matrix_elements(),
                w.stride, w.matrix_elements()};
      args.y = {to != nullptr ? static_cast<void*>(to + at) : to_f32 + at,
                row_stride, stride};
      gemm_.Run(args);
    }
  }
}

void BuiltRows::BuildHeads(const AttentionWeights& w, const AttnLayout& built,
                           const Source& source) {
  const AttnLayout& l = w.layout;
  const DeviceUpProjection& up = *UpOf(w);
  const int n = up.k.inputs, values = l.value_length();
  const int key_pieces = PiecesOf(l, l.key, 0, n);
  Project(up.k, Latents(source, {l.key, 0, n, key_pieces}), key_pieces,
          source.count, rows() + built.key[0].offset, nullptr, built.row_width,
          built.key[0].group_stride);
  const int value_pieces = PiecesOf(l, l.value, 0, values);
  Project(up.v, Latents(source, {l.value, 0, values, value_pieces}),
          value_pieces, source.count, rows() + built.value[0].offset, nullptr,
          built.row_width, built.value[0].group_stride);
  if (built.key[1].length == 0) return;
  // What is left of a key: of all heads, or once for each.
  const int stride = built.key[1].group_stride;
  const int pieces = stride == 0 ? 1 : l.groups;
  const int copies = stride == 0 ? 1 : l.virtual_heads() / l.groups;
  for (int i = 0; i < copies; ++i) {
    Gather(source, {l.key, n, l.key_length(), pieces},
           rows() + built.key[1].offset + i * stride, nullptr, built.row_width,
           copies * stride, PaddedTo8(built.key[1].length));
  }
}

void BuiltRows::BuildGated(const AttentionWeights& w, const AttnLayout& built,
                           const Source& source, const int32_t* tokens) {
  const GatedWeights& g = *w.gated;
  const auto& up = static_cast<const DeviceMatrix&>(*g.up);
  const auto& gate = static_cast<const DeviceMatrix&>(*g.gate);
  const auto& table = static_cast<const DeviceMatrix&>(*g.table);
  const int heads = w.layout.heads, outputs = up.outputs, count = source.count;
  const auto stride = static_cast<int64_t>(RoundedUp(outputs));
  const auto e_stride = static_cast<int64_t>(RoundedUp(table.stride));
  float* kv = keys_.Reserve<float>(most_ * stride);
  // Embeddings as floats, and as bf16 behind them.
  float* gates = gates_.Reserve<float>(most_ * std::max(stride, e_stride));
  auto* e = embedded_.Reserve<uint16_t>(most_ * e_stride);
  const auto* ids = arena_.Add<int32_t>({tokens + source.first, size_t(count)});
  arena_.Upload();
  if (!device_.ok()) return;

  const cudaStream_t stream = device_.stream();
  const Rows embedded{gates, count, table.inputs, size_t(e_stride)};
  device_.Check(kernels::cuda::LaunchEmbed(
                    {ids, table.memory.data<void>(), table.outputs,
                     table.stride, table.dtype == DType::kF32, 1.0f, embedded},
                    stream),
                "embeddings of gates");
  device_.Check(
      kernels::cuda::LaunchCast(
          {embedded, 1, 0, table.inputs, e, e_stride, 0, gate.stride}, stream),
      "cast");
  const int latent = up.inputs;
  Project(up, Latents(source, {w.layout.key, 0, latent, 1}), 1, count, nullptr,
          kv, stride, 0);
  Project(gate, {e, e_stride, 0}, 1, count, nullptr, gates, stride, 0);
  const Rows product{kv, count, outputs, size_t(stride)};
  device_.Check(kernels::cuda::LaunchMul(
                    {gates, count, outputs, size_t(stride)}, product, stream),
                "gates");
  device_.Check(kernels::cuda::LaunchNorm({product, product, 1, 0, outputs,
                                           g.norm, g.norm_bias, g.eps},
                                          stream),
                "norm of gated keys and values");
  const int both = g.nope + g.v_dim;
  const auto store = [&](int first, const Slice& to) {
    device_.Check(kernels::cuda::LaunchCast(
                      {product.Columns(first, outputs - first), heads, both,
                       to.length, rows() + to.offset, built.row_width,
                       to.group_stride, to.group_stride},
                      stream),
                  "cast");
  };
  store(0, built.key[0]);
  store(g.nope, built.value[0]);
  Gather(source, {w.layout.key, latent, w.layout.key_length(), 1},
         rows() + built.key[1].offset, nullptr, built.row_width, 0,
         PaddedTo8(g.rope));
}

void BuiltRows::BuildRotated(const AttentionWeights& w, const AttnLayout& built,
                             const Source& source) {
  const AttnLayout& l = w.layout;
  const int dim = built.key[0].length, count = source.count;
  const auto stride = static_cast<int64_t>(RoundedUp(size_t(l.groups) * dim));
  float* keys = keys_.Reserve<float>(most_ * stride);
  if (keys == nullptr) return;
  int projected = 0;
  if (KeyInputs(w) > 0) {
    const DeviceMatrix& k = UpOf(w)->k;
    const int pieces = PiecesOf(l, l.key, 0, k.inputs);
    Project(k, Latents(source, {l.key, 0, k.inputs, pieces}), pieces, count,
            nullptr, keys, stride, dim);
    projected = k.outputs;
  }
  if (projected < dim) {
    Gather(source, {l.key, KeyInputs(w), l.key_length(), l.groups}, nullptr,
           keys + projected, stride, dim, dim - projected);
  }
  const Rope& rope = ropes_[w.rope];
  const CudaStep::Angles angles = AnglesUpTo(w.rope, source.first + count);
  if (!device_.ok()) return;
  const int64_t at = source.first * static_cast<int64_t>(rope.inv_freq.size());
  const Rows x{keys, count, l.groups * dim, size_t(stride)};
  device_.Check(
      kernels::cuda::LaunchRotate({x, l.groups, dim, rope.dim, rope.sets,
                                   angles.cos + at, angles.sin + at},
                                  device_.stream()),
      "rotation of keys");
  device_.Check(
      kernels::cuda::LaunchCast(
          {x, l.groups, dim, dim, rows() + built.key[0].offset, built.row_width,
           built.key[0].group_stride, built.key[0].group_stride},
          device_.stream()),
      "cast");
  const int value_stride = built.value[0].group_stride;
  Gather(source,
         {l.value, 0, l.value_length(), value_stride == 0 ? 1 : l.groups},
         rows() + built.value[0].offset, nullptr, built.row_width, value_stride,
         PaddedTo8(l.value_length()));
}

CudaStep::Angles BuiltRows::AnglesUpTo(int rope, int end) {
  while (tables_.size() <= static_cast<size_t>(rope)) {
    tables_.push_back(std::make_unique<Table>(device_));
  }
  Table& table = *tables_[rope];
  if (table.end < end) {
    table.end = static_cast<int>(RoundedUp(end));
    const size_t n = ropes_[rope].inv_freq.size();
    std::vector<float> cos(table.end * n), sin(cos.size());
    for (int p = 0; p < table.end; ++p) {
      ropes_[rope].Angles(p, false, &cos[p * n], &sin[p * n]);
    }
    float* to[2] = {table.cos.Reserve<float>(cos.size()),
                    table.sin.Reserve<float>(sin.size())};
    for (int i = 0; i < 2 && device_.ok(); ++i) {
      device_.Check(cudaMemcpyAsync(to[i], i == 0 ? cos.data() : sin.data(),
                                    cos.size() * sizeof(float),
                                    cudaMemcpyHostToDevice, device_.stream()),
                    "cudaMemcpyAsync of angles");
    }
    device_.Synchronize();
  }
  return {table.cos.data<float>(), table.sin.data<float>()};
}

}  // namespace mla::runtime
