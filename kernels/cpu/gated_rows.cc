// Tested by tests/e2e/layouts_test.py (eg_mla).
#include "kernels/cpu/gated_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/linear.h"
#include "kernels/cpu/row_codec.h"

namespace mla::kernels {
namespace {

// [k_0 v_0 | k_1 v_1 | ...]
AttnLayout BuiltLayout(const GatedProjection& g) {
  const int key = g.nope + g.rope;
  AttnLayout l;
  l.row_width = g.heads * (key + g.v_dim);
  l.groups = l.heads = g.heads;
  l.key[0] = {0, key + g.v_dim, key};
  l.value[0] = {key, key + g.v_dim, g.v_dim};
  return l;
}

// x = (x - mean) / sqrt(var + eps) * w + b
void Normalise(const GatedProjection& g, int n, float* x) {
  double mean = 0, squares = 0;
  for (int i = 0; i < n; ++i) mean += x[i];
  mean /= n;
  for (int i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1 / std::sqrt(squares / n + g.eps);
  for (int i = 0; i < n; ++i) {
    x[i] =
        static_cast<float>((x[i] - mean) * scale) * g.norm[i] + g.norm_bias[i];
  }
}

// Builds rows [first, end) of the span's sequence into dst.
void BuildRows(CpuContext& cpu, Scratch& scratch, const GatedProjection& g,
               const CacheRows& cache, const SequenceSpan& span, int first,
               int end, Rows dst) {
  const int count = end - first;
  const int outputs = g.up->n(), latent = g.up->k(), embedding = g.gate->k();
  const auto take = [&](int cols) {
    return Rows{scratch.Take<float>(size_t(count) * cols), count, cols,
                size_t(cols)};
  };
  const Rows row = take(cache.format.width), e = take(embedding);
  const Rows kv = take(outputs), gate = take(outputs);
  for (int t = 0; t < count; ++t) {
    LoadRow(cpu.inner(), cache.format, cache.Row(span.block_table, first + t),
            0, cache.format.width, row[t]);
    g.table->GetRow(span.tokens[first + t], e[t]);
  }
  LinearSerial(cpu.inner(), scratch, row.Columns(0, latent), *g.up, kv);
  LinearSerial(cpu.inner(), scratch, e, *g.gate, gate);
  const int key = g.nope + g.rope, both = g.nope + g.v_dim;
  for (int t = 0; t < count; ++t) {
    for (int i = 0; i < outputs; ++i) kv[t][i] *= gate[t][i];
    Normalise(g, outputs, kv[t]);
    for (int h = 0; h < g.heads; ++h) {
      float* to = dst[first + t] + size_t(h) * (key + g.v_dim);
      std::copy_n(kv[t] + h * both, g.nope, to);
      std::copy_n(row[t] + latent, g.rope, to + g.nope);
      std::copy_n(kv[t] + h * both + g.nope, g.v_dim, to + key);
    }
  }
}

}  // namespace

void AttendGated(CpuContext& cpu, const GatedProjection& g, float scale,
                 bool decode, const CacheRows& cache, const SequenceSpan* spans,
                 int num_spans, Rows q, Rows out) {
  const AttnLayout layout = BuiltLayout(g);
  const size_t width = layout.row_width;
  std::vector<float> built;
  for (int s = 0; s < num_spans; ++s) {
    const int tokens = spans[s].first_position + spans[s].num_rows;
    built.resize(tokens * width);
    const Rows rows{built.data(), tokens, layout.row_width, width};
    const int tiles = (tokens + kTileTokens - 1) / kTileTokens;
    cpu.pool().Run(tiles, [&](int tile, int thread) {
      Scratch& scratch = cpu.ThreadScratch(thread);
      scratch.Reset();
      const int first = tile * kTileTokens;
      BuildRows(cpu, scratch, g, cache, spans[s], first,
                std::min(first + kTileTokens, tokens), rows);
    });
    const int32_t block = 0;
    SequenceSpan span = spans[s];
    span.block_table = &block;
    const CacheRows view{reinterpret_cast<std::byte*>(built.data()),
                         built.size() * sizeof(float), tokens,
                         RowFormatOf(layout, DType::kF32)};
    (decode ? AttendDecode : AttendPrefill)(cpu, {layout, scale}, view, &span,
                                            1, q, out);
  }
}

}  // namespace mla::kernels
