// Draws each row's next token. What it computes, step by step:
// kernels/sample_args.h.
//
// A block per row. Likelihoods are integers, 2^44 for the likeliest token, so
// that sums of them are exact: the same in any order, and equal where two
// passes sum up the same. What top_k and top_p keep is what is above a rank,
// and the first few of those at it: both are radix selects, of a number of
// tokens and of a sum of likelihoods.
#ifndef MLA_KERNELS_CUDA_SAMPLE_CUH_
#define MLA_KERNELS_CUDA_SAMPLE_CUH_

#include <climits>
#include <cmath>

#include "kernels/cuda/radix_select.cuh"
#include "kernels/cuda/row_sums.cuh"
#include "kernels/cuda/sample_args.h"

namespace mla::kernels::cuda {

// Sums of fewer than 2^20 likelihoods fit 64 bits; e^-30, the least that
// counts, is 1.6.
constexpr float kLikeliest = 17592186044416.0f;  // 2^44
constexpr int kMostSampled = (1 << 20) - 1;

struct SampleShared {
  union {
    int tokens[kHistogramSize];
    uint64_t likelihoods[kHistogramSize];
  } histogram;
  uint64_t sums[2 * kSelectWarps];
  int counts[2 * kSelectWarps];
  int32_t top_ids[kMaxTopLogprobs];
  float newest_logit;  // what it was
  int newest_is_changed;
  int32_t drawn;
};
constexpr int kSampleSharedBytes = sizeof(SampleShared);

MLA_DEVICE float Cleaned(float x) { return x == x ? x : NegativeInfinity(); }

MLA_DEVICE bool IsFinite(float x) { return x - x == 0.0f; }

MLA_DEVICE float OfRank(uint32_t rank) {
  return FloatOfBits((rank & 0x80000000u) != 0 ? rank ^ 0x80000000u : ~rank);
}

// The upper half of a product.
MLA_DEVICE uint64_t MulHigh(uint64_t a, uint64_t b) {
  const uint64_t a0 = static_cast<uint32_t>(a), a1 = a >> 32;
  const uint64_t b0 = static_cast<uint32_t>(b), b1 = b >> 32;
  const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
  const uint64_t other = a0 * b1 + static_cast<uint32_t>(middle);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

// Over all threads, which get the same.
MLA_DEVICE uint64_t BlockTotal(uint64_t v, uint64_t* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  v = WarpTotal(v);
  SyncBlock();  // an earlier call's have been read
  if (lane == 0) sums[threadIdx.x / 32] = v;
  SyncBlock();
  return WarpTotal(sums[lane]);
}
MLA_DEVICE uint64_t BlockLargest(uint64_t v, uint64_t* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) {
    const uint64_t other = ShuffleXor(v, i);
    v = other > v ? other : v;
  }
  SyncBlock();
  if (lane == 0) sums[threadIdx.x / 32] = v;
  SyncBlock();
  v = sums[lane];
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) {
    const uint64_t other = ShuffleXor(v, i);
    v = other > v ? other : v;
  }
  return v;
}

struct Best {
  int32_t id;
  float logit;
};

// The likeliest, the lowest id of equals.
MLA_DEVICE Best FindBest(const float* logits, int vocab, SampleShared* s) {
  uint64_t best = 0;
  for (int i = static_cast<int>(threadIdx.x); i < vocab; i += kSelectThreads) {
    const uint64_t key = static_cast<uint64_t>(RankOf(Cleaned(logits[i])))
                             << 32 |
                         (0xffffffffu - static_cast<uint32_t>(i));
    best = key > best ? key : best;
  }
  best = BlockLargest(best, s->sums);
  return {static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(best)),
          OfRank(static_cast<uint32_t>(best >> 32))};
}

MLA_DEVICE float Changed(const Draw& draw, float x, float bias, int count) {
  x += bias;
  if (count != LogitChange::kUnseen) {
    x = x > 0.0f ? x / draw.repetition_penalty : x * draw.repetition_penalty;
  }
  if (count > 0) {
    x -= draw.presence_penalty +
         draw.frequency_penalty * static_cast<float>(count);
  }
  return Cleaned(x);
}

// `newest`: a token that is to be counted once more; -1: none.
MLA_DEVICE void ApplyChanges(const Draw& draw, LogitChange* changes,
                             int32_t newest, float* logits, SampleShared* s) {
  if (threadIdx.x == 0) s->newest_is_changed = 0;
  SyncBlock();
  MLA_KEEP_LOOP
  for (int i = static_cast<int>(threadIdx.x); i < draw.num_changes;
       i += kSelectThreads) {
    LogitChange& change = changes[i];
    int count = change.count;
    if (change.id == newest) {
      count = (count > 0 ? count : 0) + 1;
      s->newest_is_changed = 1;
    }
    change.logit = Cleaned(logits[change.id]);
    logits[change.id] = Changed(draw, change.logit, change.bias, count);
  }
  SyncBlock();
  if (threadIdx.x == 0 && newest >= 0 && s->newest_is_changed == 0) {
    s->newest_logit = Cleaned(logits[newest]);
    logits[newest] = Changed(draw, s->newest_logit, 0.0f, 1);
  }
  SyncBlock();
}

// The tokens that may be drawn: of rank above `rank`, and by id the first
// `equal` of those at it.
struct Kept {
  uint32_t rank;
  int equal;
};

struct Likelihoods {
  const float* logits;
  int vocab;
  float top;
  float scale;  // 1 / temperature

  MLA_DEVICE uint32_t Rank(int id) const { return RankOf(Cleaned(logits[id])); }
  MLA_DEVICE uint64_t Of(float logit) const {
    return static_cast<uint64_t>(std::exp((logit - top) * scale) * kLikeliest);
  }
  MLA_DEVICE uint64_t OfToken(int id) const { return Of(Cleaned(logits[id])); }
};

// What of the kept tokens is above their rank, and how many are at it.
MLA_DEVICE void SumKept(const Likelihoods& p, int64_t begin, int64_t end,
                        int step, const Kept& kept, uint64_t* above,
                        uint64_t* equal) {
  *above = *equal = 0;
  MLA_KEEP_LOOP
  for (int64_t i = begin; i < end; i += step) {
    const uint32_t rank = p.Rank(static_cast<int>(i));
    if (rank > kept.rank) *above += p.OfToken(static_cast<int>(i));
    if (rank == kept.rank) ++*equal;
  }
}

// Of the kept tokens the fewest likeliest that have top_p of `total`, which
// becomes their sum.
MLA_DEVICE Kept KeepTopP(const Likelihoods& p, const Kept& kept, float top_p,
                         uint64_t* total, SampleShared* s) {
  const auto share = static_cast<uint64_t>(static_cast<double>(top_p) *
                                           static_cast<double>(*total));
  const uint64_t wanted = share > 0 ? share : 1;
  uint64_t rest = wanted;
  // Those at the kept rank are last, so that too many of them do no harm.
  const uint32_t rank = FindThreshold(
      p.vocab, [&](int i) { return p.Rank(i); },
      [&](int i) {
        return p.Rank(i) >= kept.rank ? p.OfToken(i) : uint64_t{0};
      },
      s->histogram.likelihoods, &rest);
  const uint64_t each = p.Of(OfRank(rank));
  const uint64_t equal = (rest + each - 1) / each;
  *total = wanted - rest + equal * each;
  return {rank, static_cast<int>(equal)};
}

// The first kept token, by id, at which the sum from the lowest id on exceeds
// `target`, which all of it does.
MLA_DEVICE int32_t FindDrawn(const Likelihoods& p, const Kept& kept,
                             uint64_t target, SampleShared* s) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int64_t begin, end;
  PartOfWarp(p.vocab, &begin, &end);
  uint64_t above, equal;
  SumKept(p, begin + lane, end, 32, kept, &above, &equal);
  above = WarpTotal(above);
  equal = WarpTotal(equal);
  SyncBlock();  // earlier sums have been read
  if (lane == 0) {
    s->sums[warp] = above;
    s->sums[kSelectWarps + warp] = equal;
  }
  SyncBlock();
  // Lane i looks at warp i's part.
  const auto most = static_cast<uint64_t>(kept.equal);
  const uint64_t each = p.Of(OfRank(kept.rank));
  const uint64_t warps_equal = s->sums[kSelectWarps + lane];
  const uint64_t equal_through = WarpTotalThrough(warps_equal);
  const uint64_t equal_before = equal_through - warps_equal;
  const uint64_t warps_sum =
      s->sums[lane] + ((equal_through < most ? equal_through : most) -
                       (equal_before < most ? equal_before : most)) *
                          each;
  const uint64_t through = WarpTotalThrough(warps_sum);
  const int finder = BitsSet(Ballot(through <= target));
  uint64_t sum = Shuffle(through - warps_sum, finder);
  uint64_t at = Shuffle(equal_before, finder);
  if (warp == finder) {
    MLA_KEEP_LOOP
    for (int64_t first = begin; first < end; first += 32) {
      const int64_t i = first + lane;
      const uint32_t rank = i < end ? p.Rank(static_cast<int>(i)) : 0;
      const bool is_equal = i < end && rank == kept.rank;
      const uint32_t equals = Ballot(is_equal);
      const auto before =
          static_cast<uint64_t>(BitsSet(equals & ((1u << lane) - 1)));
      uint64_t own = is_equal && at + before < most ? each : 0;
      if (i < end && rank > kept.rank) own = p.OfToken(static_cast<int>(i));
      const uint64_t so_far = sum + WarpTotalThrough(own);
      const uint32_t beyond = Ballot(so_far > target);
      if (beyond != 0) {
        const int32_t id =
            static_cast<int32_t>(first) + BitsSet((beyond & (0u - beyond)) - 1);
        if (lane == 0) s->drawn = id;
        break;
      }
      sum = Shuffle(so_far, 31);
      at += static_cast<uint64_t>(BitsSet(equals));
    }
  }
  SyncBlock();
  return s->drawn;
}

MLA_DEVICE int32_t DrawToken(const Draw& draw, const float* logits, int vocab,
                             float top, SampleShared* s) {
  const Likelihoods p = {logits, vocab, top, 1.0f / draw.temperature};
  float floor = top - 30.0f * draw.temperature;
  if (draw.min_p > 0.0f) {
    floor = Max(floor, top + draw.temperature * std::log(draw.min_p));
  }
  Kept kept = {RankOf(floor), INT_MAX};
  if (draw.top_k > 0 && draw.top_k < vocab) {
    int equal = draw.top_k;
    const uint32_t rank = FindThreshold(
        vocab, [&](int i) { return p.Rank(i); }, [](int) { return 1; },
        s->histogram.tokens, &equal);
    if (rank >= kept.rank) kept = {rank, equal};
  }
  uint64_t above, equal;
  SumKept(p, threadIdx.x, vocab, kSelectThreads, kept, &above, &equal);
  above = BlockTotal(above, s->sums);
  equal = BlockTotal(equal, s->sums);
  const auto most = static_cast<uint64_t>(kept.equal);
  uint64_t total =
      above + (equal < most ? equal : most) * p.Of(OfRank(kept.rank));
  if (draw.top_p < 1.0f) kept = KeepTopP(p, kept, draw.top_p, &total, s);
  const uint64_t number = draw.random >> 11 << 11;  // of 2^64
  return FindDrawn(p, kept, MulHigh(number, total), s);
}

// The likeliest `count` tokens, and the logarithm of what all sum up to.
MLA_DEVICE double FindTop(const float* logits, int vocab, int count,
                          SampleShared* s, Drawn* drawn) {
  const Best best = FindBest(logits, vocab, s);
  const Likelihoods p = {logits, vocab, best.logit, 1.0f};
  double log_total = best.logit;
  if (IsFinite(best.logit)) {
    uint64_t total = 0;
    MLA_KEEP_LOOP
    for (int i = static_cast<int>(threadIdx.x); i < vocab;
         i += kSelectThreads) {
      total += p.OfToken(i);
    }
    total = BlockTotal(total, s->sums);
    log_total += std::log(static_cast<double>(total) / kLikeliest);
  }
  const auto rank = [&](int i) { return p.Rank(i); };
  if (count < vocab && count > 0) {
    int equal = count;
    const uint32_t threshold = FindThreshold(
        vocab, rank, [](int) { return 1; }, s->histogram.tokens, &equal);
    StoreSelected(vocab, rank, threshold, equal, s->counts, s->top_ids);
  } else if (static_cast<int>(threadIdx.x) < count) {
    s->top_ids[threadIdx.x] = static_cast<int32_t>(threadIdx.x);
  }
  SyncBlock();
  if (static_cast<int>(threadIdx.x) < count) {
    const int32_t id = s->top_ids[threadIdx.x];
    int place = 0;  // ids ascend: of equals the earlier is before
    MLA_KEEP_LOOP
    for (int i = 0; i < count; ++i) {
      const uint32_t other = p.Rank(s->top_ids[i]), own = p.Rank(id);
      if (other > own || (other == own && i < static_cast<int>(threadIdx.x))) {
        ++place;
      }
    }
    drawn->top_ids[place] = id;
    drawn->top_logprobs[place] =
        static_cast<float>(Cleaned(logits[id]) - log_total);
  }
  SyncBlock();  // logits have been read
  return log_total;
}

// What the drawn token's logit was.
MLA_DEVICE void StoreLogprob(const Draw& draw, const LogitChange* changes,
                             int32_t newest, int32_t id, const float* logits,
                             double log_total, const SampleShared* s,
                             Drawn* drawn) {
  if (threadIdx.x == 0) {
    const bool is_newest = id == newest && s->newest_is_changed == 0;
    const float logit = is_newest ? s->newest_logit : Cleaned(logits[id]);
    drawn->logprob = static_cast<float>(logit - log_total);
  }
  SyncBlock();
  MLA_KEEP_LOOP
  for (int i = static_cast<int>(threadIdx.x); i < draw.num_changes;
       i += kSelectThreads) {
    if (changes[i].id == id) {
      drawn->logprob = static_cast<float>(changes[i].logit - log_total);
    }
  }
}

// Grid: a block of kSelectThreads for each row, kSampleSharedBytes.
__global__ void __launch_bounds__(kSelectThreads)
    SampleKernel(const __grid_constant__ SampleArgs args) {
  MLA_SHARED_MEMORY(shared);
  auto* s = reinterpret_cast<SampleShared*>(shared);
  const auto row = static_cast<int>(blockIdx.x);
  const Draw& draw = args.draws[row];
  LogitChange* changes = args.changes + draw.first_change;
  const int32_t newest = draw.newest >= 0 ? args.newest[draw.newest] : -1;
  float* logits = RowOf(args.logits, row);
  const int vocab = args.logits.cols;
  Drawn* drawn = args.drawn + row;

  const int most = draw.logprobs < vocab ? draw.logprobs : vocab;
  const int alternatives = most < kMaxTopLogprobs ? most : kMaxTopLogprobs;
  double log_total = 0;
  if (draw.logprobs >= 0) {
    log_total = FindTop(logits, vocab, alternatives, s, drawn);
  }
  ApplyChanges(draw, changes, newest, logits, s);
  const Best best = FindBest(logits, vocab, s);
  const bool is_finite = IsFinite(best.logit);
  int32_t id = best.id;
  if (is_finite && draw.temperature != 0.0f) {
    id = DrawToken(draw, logits, vocab, best.logit, s);
  }
  if (threadIdx.x == 0) {
    drawn->id = is_finite ? id : -1;
    drawn->logprob = 0.0f;
    drawn->num_top = is_finite && draw.logprobs >= 0 ? alternatives : 0;
    args.tokens[row] = is_finite ? id : 0;
  }
  if (is_finite && draw.logprobs >= 0) {
    StoreLogprob(draw, changes, newest, id, logits, log_total, s, drawn);
  }
}

// Each token that the step before drew, where it stands in for one.
__global__ void __launch_bounds__(kRowThreads)
    TakeTokensKernel(const __grid_constant__ TakeTokensArgs args) {
  const int64_t row =
      static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  if (row < args.rows && args.from[row] >= 0) {
    args.tokens[row] = args.drawn[args.from[row]];
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_SAMPLE_CUH_
