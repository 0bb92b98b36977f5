// Tested by tests/cuda/sampling_cuda_test.cc and engine_cuda_test.cc.
#include "runtime/cuda/sampling.h"

#include "kernels/cuda/launch/sample.h"

namespace mla::runtime {

namespace cuda = kernels::cuda;

CudaSampling::CudaSampling(Device& device)
    : device_(device), turns_{Turn(device), Turn(device)} {}

void CudaSampling::BeginStep(const StepBatch& batch, StepArena& arena) {
  rows_ = batch.num_tokens();
  awaited_ =
      batch.awaited.empty() ? nullptr : arena.Add<int32_t>(batch.awaited);
  draws_ = arena.Add<kernels::Draw>(batch.draws);
  changes_ = arena.Add<kernels::LogitChange>(batch.changes);
}

void CudaSampling::FillAwaited(int32_t* tokens) {
  if (awaited_ == nullptr || !device_.ok()) return;
  const auto* drawn = TurnOf(step_).tokens.data<int32_t>();
  device_.Check(cuda::LaunchTakeTokens({tokens, awaited_, drawn, rows_},
                                       device_.stream()),
                "tokens of the step before");
}

int64_t CudaSampling::Sample(kernels::Rows logits) {
  cuda::SampleArgs args;
  args.logits = logits;
  args.draws = draws_;
  args.changes = changes_;
  args.newest = TurnOf(step_).tokens.data<int32_t>();
  Turn& turn = TurnOf(++step_);
  turn.count = logits.rows;
  const size_t places = RoundedUp(logits.rows);
  args.tokens = turn.tokens.Reserve<int32_t>(places);
  args.drawn = turn.drawn.Reserve<kernels::Drawn>(places);
  auto* host = turn.host.Reserve<kernels::Drawn>(places);
  if (logits.rows > 0 && device_.ok()) {
    device_.Check(cuda::LaunchSample(args, device_.stream()), "sampling");
    device_.Check(cudaMemcpyAsync(host, args.drawn, logits.rows * sizeof(*host),
                                  cudaMemcpyDeviceToHost, device_.stream()),
                  "cudaMemcpyAsync of drawn tokens");
  }
  turn.copied.Record();
  return step_;
}

absl::Span<const kernels::Drawn> CudaSampling::Drawn(int64_t step) {
  Turn& turn = TurnOf(step);
  turn.copied.Wait();
  if (!device_.ok()) {
    nothing_.resize(turn.count);
    return nothing_;
  }
  return {turn.host.Reserve<kernels::Drawn>(turn.count),
          static_cast<size_t>(turn.count)};
}

}  // namespace mla::runtime
