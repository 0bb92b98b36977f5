// MomentSum adds up products of activations, sum of a b' over tokens, in
// doubles.
// Threads: one, and no other at once: OpenBLAS's builds for one thread, and for
//          OpenMP, mix up the buffers of callers that meet.
#ifndef MLA_RUNTIME_CONVERT_MOMENT_SUM_H_
#define MLA_RUNTIME_CONVERT_MOMENT_SUM_H_

#include "runtime/convert/linear_algebra.h"

namespace mla::runtime {

class MomentSum {
 public:
  MomentSum(Eigen::Index rows, Eigen::Index cols)
      : sum_(DoubleMatrix::Zero(rows, cols)) {}

  // a: [rows, tokens], b: [cols, tokens].
  void Add(const DoubleMatrix& a, const DoubleMatrix& b);
  // a a', of which only half is computed.
  void AddSquare(const DoubleMatrix& a);

  DoubleMatrix Divided(double count) const;

 private:
  DoubleMatrix sum_;  // of squares: the lower part
  bool square_ = false;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_MOMENT_SUM_H_
