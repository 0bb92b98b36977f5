// Tested by tests/runtime/tensor_parallel_test.cc.
#include "runtime/parallel_model.h"

#include <algorithm>
#include <utility>

#include "runtime/shard.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// What the first rank's tap makes of experts and selections, in the order in
// which every rank comes to them.
class Choices {
 public:
  template <typename Choice>
  void Add(std::vector<Choice>& all, const Choice& choice) {
    MutexLock lock(&mu_);
    all.push_back(choice);
  }
  // Waits for it; unchanged if the first rank has given up.
  template <typename Choice>
  void Follow(const std::vector<Choice>& all, size_t number, Choice& choice) {
    MutexLock lock(&mu_);
    mu_.Await([&] { return all.size() > number || ended_; });
    if (all.size() > number) choice = all[number];
  }
  void End() {
    MutexLock lock(&mu_);
    ended_ = true;
  }

  std::vector<Routing> routings;
  std::vector<Selection> selections;

 private:
  Mutex mu_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

// The first rank's: tells the others.
class LeadingTap : public ActivationTap {
 public:
  LeadingTap(ActivationTap& tap, Choices& choices)
      : tap_(tap), choices_(choices) {}
  ~LeadingTap() override { choices_.End(); }

  void OnActivation(std::string_view name, Rows x) override {
    tap_.OnActivation(name, x);
  }
  void OnRouting(std::string_view name, Routing& routing) override {
    tap_.OnRouting(name, routing);
    choices_.Add(choices_.routings, routing);
  }
  void OnSelection(std::string_view name, Selection& selection) override {
    tap_.OnSelection(name, selection);
    choices_.Add(choices_.selections, selection);
  }

 private:
  ActivationTap& tap_;
  Choices& choices_;
};

class FollowingTap : public ActivationTap {
 public:
  explicit FollowingTap(Choices& choices) : choices_(choices) {}

  void OnActivation(std::string_view, Rows) override {}
  void OnRouting(std::string_view, Routing& routing) override {
    choices_.Follow(choices_.routings, routings_++, routing);
  }
  void OnSelection(std::string_view, Selection& selection) override {
    choices_.Follow(choices_.selections, selections_++, selection);
  }

 private:
  Choices& choices_;
  size_t routings_ = 0;
  size_t selections_ = 0;
};

absl::Status FirstError(const std::vector<absl::Status>& statuses) {
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ParallelModel>> ParallelModel::Load(
    const ModelConfig& config, const WeightReader& reader,
    std::vector<std::unique_ptr<Backend>> backends, const ModelOptions& options,
    const Model::Progress& progress) {
  const int ranks = static_cast<int>(backends.size());
  std::vector<ModelConfig> shards;
  for (int rank = 0; rank < ranks; ++rank) {
    ASSIGN_OR_RETURN(shards.emplace_back(), ShardOf(config, {rank, ranks}));
  }
  std::unique_ptr<ParallelModel> all(new ParallelModel(config, ranks));
  std::vector<absl::Status> statuses(ranks);
  all->threads_.Run([&](int rank) {
    backends[rank]->Attach();
    absl::StatusOr<std::unique_ptr<Model>> model = Model::Load(
        shards[rank], reader, std::move(backends[rank]), options,
        rank == 0 ? progress : [](double) {});
    statuses[rank] = model.status();
    if (model.ok()) all->models_[rank] = *std::move(model);
  });
  RETURN_IF_ERROR(FirstError(statuses));
  return all;
}

ParallelModel::~ParallelModel() {
  threads_.Run([this](int rank) { models_[rank].reset(); });
}

void ParallelModel::OnEveryRank(const std::function<void(int)>& work) {
  threads_.Run([&](int rank) {
    Backend& backend = models_[rank]->backend();
    try {
      work(rank);
    } catch (...) {
      backend.Abandon(absl::InternalError("a rank ran out of memory"));
      throw;
    }
    if (const absl::Status status = backend.status(); !status.ok()) {
      backend.Abandon(status);
    }
  });
}

Rows ParallelModel::Forward(const StepBatch& batch, ActivationTap* tap) {
  Rows logits;
  Choices choices;
  OnEveryRank([&](int rank) {
    Model& model = *models_[rank];
    if (rank > 0) {
      FollowingTap follow(choices);
      model.Forward(batch, tap == nullptr ? nullptr : &follow);
    } else if (tap == nullptr || ranks() == 1) {
      logits = model.Forward(batch, tap);
    } else {
      LeadingTap lead(*tap, choices);
      logits = model.Forward(batch, &lead);
    }
  });
  return logits;
}

int64_t ParallelModel::Start(const StepBatch& batch) {
  int64_t step = 0;
  OnEveryRank([&](int rank) {
    const int64_t started = models_[rank]->Start(batch);
    if (rank == 0) step = started;
  });
  return step;
}

absl::Span<const kernels::Drawn> ParallelModel::Drawn(int64_t step) {
  absl::Span<const kernels::Drawn> drawn;
  OnEveryRank([&](int rank) {
    if (rank == 0) drawn = models_[0]->backend().Drawn(step);
  });
  return drawn;
}

int64_t ParallelModel::DefaultCacheBytes() {
  std::vector<int64_t> bytes(ranks());
  OnEveryRank([&](int rank) {
    bytes[rank] = models_[rank]->backend().DefaultCacheBytes();
  });
  return ranks() * *std::min_element(bytes.begin(), bytes.end());
}

absl::Status ParallelModel::AllocateCache(kernels::DType dtype,
                                          int block_tokens, int num_blocks) {
  std::vector<absl::Status> statuses(ranks());
  OnEveryRank([&](int rank) {
    Model& model = *models_[rank];
    statuses[rank] = model.backend().AllocateCache(
        model.config().Layouts(), dtype, block_tokens, num_blocks);
  });
  return FirstError(statuses);
}

void ParallelModel::CopyBlock(int32_t from, int32_t to) {
  OnEveryRank([&](int rank) { models_[rank]->backend().CopyBlock(from, to); });
}

int64_t ParallelModel::BlockBytes() const {
  return ranks() * models_[0]->backend().BlockBytes();
}

int64_t ParallelModel::BlockBytes(kernels::DType dtype, int tokens) const {
  return ranks() * models_[0]->config().BlockBytes(dtype, tokens);
}

double ParallelModel::KvBytesPerToken(kernels::DType dtype) const {
  return ranks() * models_[0]->config().KvBytesPerToken(dtype);
}

absl::Status ParallelModel::status() const {
  for (const std::unique_ptr<Model>& model : models_) {
    RETURN_IF_ERROR(model->backend().status());
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime
