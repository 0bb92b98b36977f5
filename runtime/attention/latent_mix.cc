// Tested by tests/e2e/split_latent_test.py.
#include "runtime/attention/latent_mix.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <memory>

namespace mla::runtime {

LatentMix MixByEnergy(const OutputBlock& down) {
  const int rank = down.outputs;
  Eigen::MatrixXd w(down.inputs, rank);
  std::vector<float> row(down.inputs);
  for (int i = 0; i < rank; ++i) {
    down.rows(i, row.data());
    for (int j = 0; j < down.inputs; ++j) w(j, i) = row[j];
  }
  const Eigen::MatrixXd energy = w.transpose() * w;
  const auto solved =
      std::make_shared<Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>>(energy);
  LatentMix mix;
  mix.u.outputs = mix.u.inputs = rank;
  // Eigenvalues ascend.
  mix.u.rows = [solved, rank](int i, float* dst) {
    for (int j = 0; j < rank; ++j) {
      dst[j] = static_cast<float>(solved->eigenvectors()(j, rank - 1 - i));
    }
  };
  // Of nothing all parts are alike.
  const double mean = energy.trace() / rank;
  for (int i = rank - 1; i >= 0; --i) {
    const double part =
        mean > 0 ? std::max(solved->eigenvalues()(i), 0.0) / mean : 1.0;
    mix.size.push_back(static_cast<float>(std::sqrt(part)));
  }
  return mix;
}

LatentMix NoMix(int rank) {
  LatentMix mix;
  mix.u.outputs = mix.u.inputs = rank;
  mix.u.rows = [rank](int i, float* dst) {
    std::fill_n(dst, rank, 0.0f);
    dst[i] = 1.0f;
  };
  mix.size.assign(rank, 1.0f);
  return mix;
}

}  // namespace mla::runtime
