// Tested by tests/cuda/model_golden_cuda_test.cc and model_steps_cuda_test.cc.
#include "runtime/cuda/experts.h"

#include <vector>

#include "runtime/cuda/weights.h"

namespace mla::runtime {
namespace {

using kernels::cuda::ExpertTile;

const DeviceMatrix& Of(const Matrix* m) {
  return static_cast<const DeviceMatrix&>(*m);
}

}  // namespace

CudaExperts::CudaExperts(Device& device)
    : device_(device),
      experts_(device),
      weights_(device),
      position_(device),
      tiles_(device),
      sorted_(device),
      activated_(device),
      projected_(device),
      results_(device) {}

CudaExperts::Pointers* CudaExperts::PointersOf(const ExpertWeights& w) {
  std::unique_ptr<Pointers>& known = known_[&w];
  if (known != nullptr) return known.get();
  known = std::make_unique<Pointers>(device_);
  const auto fill = [&](const std::vector<const Matrix*>& matrices,
                        DeviceBuffer& to) {
    std::vector<const void*> pointers;
    for (const Matrix* m : matrices) {
      pointers.push_back(Of(m).memory.data<const void>());
    }
    auto* device = to.Reserve<const void*>(pointers.size());
    if (device == nullptr) return;
    device_.Synchronize();
    device_.Check(
        cudaMemcpy(device, pointers.data(), pointers.size() * sizeof(*device),
                   cudaMemcpyHostToDevice),
        "cudaMemcpy of experts' addresses");
  };
  fill(w.gate_up, known->gate_up);
  fill(w.down, known->down);
  return known.get();
}

RoutingRows CudaExperts::Route(Rows logits, const kernels::RouterArgs& router) {
  const size_t pairs = static_cast<size_t>(logits.rows) * router.top_k;
  RoutingRows routing{logits.rows, router.top_k,
                      experts_.Reserve<int32_t>(pairs),
                      weights_.Reserve<float>(pairs)};
  if (!device_.ok()) return routing;
  device_.Check(
      kernels::cuda::LaunchRoute(
          {logits, router, routing.experts, routing.weights}, device_.stream()),
      "routing");
  return routing;
}

void CudaExperts::Run(Rows x, const RoutingRows& routing,
                      const ExpertWeights& w, Rows y) {
  if (!device_.ok()) return;
  const cudaStream_t stream = device_.stream();
  const DeviceMatrix& gate_up = Of(w.gate_up[0]);
  const DeviceMatrix& down = Of(w.down[0]);
  const int pairs = routing.rows * routing.top_k;
  const auto experts = static_cast<int32_t>(w.gate_up.size());
  const int tile_rows = kernels::cuda::ExpertTileRows(pairs, experts);
  const int tiles = kernels::cuda::MaxExpertTiles(pairs, experts, tile_rows);
  auto* position = position_.Reserve<int32_t>(pairs);
  auto* tile = tiles_.Reserve<ExpertTile>(tiles);
  auto* sorted = sorted_.Reserve<uint16_t>(size_t(pairs) * gate_up.stride);
  auto* activated = activated_.Reserve<uint16_t>(size_t(pairs) * down.stride);
  auto* projected = projected_.Reserve<float>(size_t(pairs) * gate_up.outputs);
  auto* results = results_.Reserve<float>(size_t(pairs) * down.outputs);
  Pointers* pointers = PointersOf(w);
  if (!device_.ok()) return;

  device_.Check(kernels::cuda::LaunchSort({routing.experts, pairs, experts,
                                           tile_rows, position, tile, tiles},
                                          stream),
                "sort of experts' rows");
  device_.Check(
      kernels::cuda::LaunchSpread(
          {x, routing.top_k, position, sorted, gate_up.stride}, stream),
      "spread of experts' rows");
  kernels::cuda::ExpertGemmArgs gemm;
  gemm.tiles = tile;
  gemm.num_tiles = tiles;
  gemm.tile_rows = tile_rows;
  const auto multiply = [&](const uint16_t* from, const DeviceMatrix& shape,
                            const DeviceBuffer& weights, float* to,
                            const char* what) {
    gemm.x = from;
    gemm.x_stride = gemm.w_stride = shape.stride;
    gemm.n = shape.outputs;
    gemm.k = shape.inputs;
    gemm.y = to;
    if (shape.has_codes()) {
      gemm.codes = weights.data<const unsigned char*>();
      gemm.format = shape.format();
    } else {
      gemm.w = weights.data<const uint16_t*>();
    }
    device_.Check(kernels::cuda::LaunchExpertGemm(gemm, stream), what);
  };
  multiply(sorted, gate_up, pointers->gate_up, projected, "experts' gates");
  const Rows gates{projected, pairs, gate_up.outputs,
                   static_cast<size_t>(gate_up.outputs)};
  device_.Check(kernels::cuda::LaunchExpertActivate(
                    {gates, activated, down.stride}, stream),
                "experts' activation");
  multiply(activated, down, pointers->down, results, "experts' outputs");
  device_.Check(kernels::cuda::LaunchExpertSum(
                    {w.adds_identities ? x : Rows{}, y, routing.top_k, position,
                     routing.weights, results},
                    stream),
                "sum of experts");
}

}  // namespace mla::runtime
