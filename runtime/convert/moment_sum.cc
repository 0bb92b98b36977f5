// Tested by tests/runtime/linear_algebra_test.cc.
#include "runtime/convert/moment_sum.h"

#include <algorithm>

namespace mla::runtime {
namespace {

constexpr Eigen::Index kBlock =
    96;  // columns of a square, from its diagonal on

}  // namespace

void MomentSum::Add(const DoubleMatrix& a, const DoubleMatrix& b) {
  sum_.noalias() += a * b.transpose();
}

void MomentSum::AddSquare(const DoubleMatrix& a) {
  square_ = true;
  const Eigen::Index cols = sum_.cols();
  for (Eigen::Index from = 0; from < cols; from += kBlock) {
    const Eigen::Index n = std::min(kBlock, cols - from);
    sum_.block(from, from, cols - from, n).noalias() +=
        a.bottomRows(cols - from) * a.middleRows(from, n).transpose();
  }
}

DoubleMatrix MomentSum::Divided(double count) const {
  DoubleMatrix moment = sum_ / count;
  if (square_) {
    moment.triangularView<Eigen::StrictlyUpper>() =
        moment.transpose().triangularView<Eigen::StrictlyUpper>();
  }
  return moment;
}

}  // namespace mla::runtime
