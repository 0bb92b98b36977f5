// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/verify/sequence_runner.h"

#include <algorithm>
#include <cmath>

#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

class RecordChoices : public ActivationTap {
 public:
  void OnActivation(std::string_view, Rows) override {}
  void OnRouting(std::string_view, Routing& routing) override {
    routings.push_back(routing);
  }
  void OnSelection(std::string_view, Selection& selection) override {
    selections.push_back(selection);
  }
  std::vector<Routing> routings;      // one for each layer with experts
  std::vector<Selection> selections;  // ...and with an indexer
};

// Chooses what the record does; passes the rest on to `next`.
class FollowChoices : public ActivationTap {
 public:
  FollowChoices(const RecordChoices& record, const StepBatch& batch,
                ActivationTap* next, SequenceRunner::Rerouted& rerouted)
      : record_(record), batch_(batch), next_(next), rerouted_(rerouted) {}

  void OnActivation(std::string_view name, Rows x) override {
    if (next_ != nullptr) next_->OnActivation(name, x);
  }

  void OnRouting(std::string_view name, Routing& routing) override {
    const Routing& record = record_.routings[routings_++];
    const size_t top_k = routing.experts.size() / batch_.tokens.size();
    for (size_t i = 0; i < routing.experts.size(); i += top_k) {
      int32_t* ours = &routing.experts[i];
      const int32_t* theirs = &record.experts[i];
      ++rerouted_.choices;
      if (std::is_permutation(ours, ours + top_k, theirs)) continue;
      ++rerouted_.changed;
      std::copy_n(theirs, top_k, ours);
      std::copy_n(&record.weights[i], top_k, &routing.weights[i]);
    }
    if (next_ != nullptr) next_->OnRouting(name, routing);
  }

  void OnSelection(std::string_view name, Selection& selection) override {
    const Selection& record = record_.selections[selections_++];
    for (const auto* spans : {&batch_.generated, &batch_.prompt}) {
      for (const StepSpan& span : *spans) {
        for (int i = 0; i < span.rows.num_rows; ++i) {
          const int seen = span.rows.first_position + i + 1;
          const size_t first =
              size_t(span.rows.first_row + i) * selection.top_k;
          int32_t* ours = &selection.positions[first];
          ++rerouted_.choices;
          rerouted_.changed +=
              !std::equal(ours, ours + std::min(seen, selection.top_k),
                          &record.positions[first]);
        }
      }
    }
    selection = record;
    if (next_ != nullptr) next_->OnSelection(name, selection);
  }

 private:
  const RecordChoices& record_;
  const StepBatch& batch_;
  ActivationTap* const next_;
  SequenceRunner::Rerouted& rerouted_;
  size_t routings_ = 0;
  size_t selections_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SequenceRunner>> SequenceRunner::Create(
    ParallelModel& model, kernels::DType kv_dtype, int block_tokens,
    int max_tokens, ParallelModel* routing) {
  std::unique_ptr<SequenceRunner> runner(new SequenceRunner(model, routing));
  block_tokens = model.config().RoundBlockTokens(block_tokens);
  const int blocks = (max_tokens + block_tokens - 1) / block_tokens;
  if (routing != nullptr) {
    RETURN_IF_ERROR(
        routing->AllocateCache(kernels::DType::kF32, block_tokens, blocks));
  }
  RETURN_IF_ERROR(model.AllocateCache(kv_dtype, block_tokens, blocks));
  for (int i = 0; i < blocks; ++i) runner->block_table_.push_back(i);
  std::reverse(runner->block_table_.begin(), runner->block_table_.end());
  return runner;
}

void SequenceRunner::Prompt(absl::Span<const int32_t> tokens, int first_logits,
                            const OnLogits& on_logits, ActivationTap* tap) {
  const int count = static_cast<int>(tokens.size());
  position_ = 0;
  tokens_.assign(tokens.begin(), tokens.end());
  long_prompt_ = count > model_.config().long_above();
  while (position_ < count) {
    StepBatch batch;
    const int left = count - position_;
    int rows = std::min(left, model_.options().max_step_tokens);
    if (position_ + rows > first_logits) {
      rows = std::min(rows, std::max(first_logits - position_, 0) +
                                model_.options().max_logit_rows);
    }
    batch.tokens.assign(tokens.begin() + position_,
                        tokens.begin() + position_ + rows);
    batch.prompt = {{{0, rows, position_, block_table_.data(), tokens_.data()},
                     long_prompt_}};
    for (int i = 0; i < rows; ++i) {
      if (position_ + i >= first_logits) batch.logit_rows.push_back(i);
    }
    const Rows logits = Forward(batch, tap);
    for (int i = 0; i < logits.rows; ++i) {
      on_logits(position_ + batch.logit_rows[i], logits[i]);
    }
    position_ += rows;
  }
}

const float* SequenceRunner::Generate(int32_t token) {
  StepBatch batch;
  tokens_.push_back(token);
  batch.tokens = {token};
  batch.generated = {
      {{0, 1, position_, block_table_.data(), tokens_.data()}, long_prompt_}};
  batch.logit_rows = {0};
  ++position_;
  return Forward(batch, nullptr)[0];
}

Rows SequenceRunner::Forward(const StepBatch& batch, ActivationTap* tap) {
  if (routing_ == nullptr) return model_.Forward(batch, tap);
  RecordChoices record;
  routing_->Forward(batch, &record);
  FollowChoices follow(record, batch, tap, rerouted_);
  return model_.Forward(batch, &follow);
}

std::vector<double> TokenNll(SequenceRunner& runner,
                             absl::Span<const int32_t> tokens, int vocab_size) {
  std::vector<double> nll;
  runner.Prompt(
      tokens.first(tokens.size() - 1), 0,
      [&](int position, const float* logits) {
        const float top = *std::max_element(logits, logits + vocab_size);
        double total = 0;
        for (int i = 0; i < vocab_size; ++i) {
          total += std::exp(double{logits[i]} - top);
        }
        nll.push_back(std::log(total) + top - logits[tokens[position + 1]]);
      });
  return nll;
}

}  // namespace mla::runtime
