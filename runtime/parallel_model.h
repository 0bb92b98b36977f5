// ParallelModel: one model over one backend or several, of which each is a rank
// with a shard of it (shard.h). The ranks compute every step together, each on
// a thread of its own, and all have the same blocks in their caches.
//
// Owns:    the ranks' models and threads.
// Threads: as Model, whose calls it stands for.
// Errors:  a rank that fails fails all: status() says why, and nobody hangs.
// Flow:    Engine -> [here] -> Model -> Backend
#ifndef MLA_RUNTIME_PARALLEL_MODEL_H_
#define MLA_RUNTIME_PARALLEL_MODEL_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model.h"
#include "runtime/rank_threads.h"

namespace mla::runtime {

class ParallelModel {
 public:
  // Of several backends each is one rank, in their order.
  static absl::StatusOr<std::unique_ptr<ParallelModel>> Load(
      const ModelConfig& config, const WeightReader& reader,
      std::vector<std::unique_ptr<Backend>> backends,
      const ModelOptions& options, const Model::Progress& progress);
  ~ParallelModel();

  // As Model's. The tap sees the first rank, and what it changes, all follow.
  Rows Forward(const StepBatch& batch, ActivationTap* tap = nullptr);
  int64_t Start(const StepBatch& batch);
  absl::Span<const kernels::Drawn> Drawn(int64_t step);  // as Backend's
  bool runs_ahead() const { return models_[0]->runs_ahead(); }

  // The cache, as Backend's. Bytes are of all ranks together.
  int64_t DefaultCacheBytes();
  absl::Status AllocateCache(kernels::DType dtype, int block_tokens,
                             int num_blocks);
  void CopyBlock(int32_t from, int32_t to);
  int64_t BlockBytes() const;  // as allocated
  // As ModelConfig's.
  int64_t BlockBytes(kernels::DType dtype, int tokens) const;
  double KvBytesPerToken(kernels::DType dtype) const;

  int ranks() const { return static_cast<int>(models_.size()); }
  const ModelConfig& config() const { return config_; }  // of the whole
  const ModelOptions& options() const { return models_[0]->options(); }
  // What all are: of one kind.
  const Backend& backend() const { return models_[0]->backend(); }
  // OK, or why the first rank that failed did.
  absl::Status status() const;

 private:
  ParallelModel(const ModelConfig& config, int ranks)
      : config_(config), models_(ranks), threads_(ranks) {}

  // work(rank) everywhere; a rank that fails at it has given up.
  void OnEveryRank(const std::function<void(int rank)>& work);

  const ModelConfig config_;
  std::vector<std::unique_ptr<Model>> models_;
  RankThreads threads_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_PARALLEL_MODEL_H_
