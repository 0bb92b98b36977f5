// MomentSum adds up products of activations, sum of a b' over tokens, in
// doubles and on all threads of a pool. What comes out does not depend on how
// many those are: the product is cut the same way for all.
// Threads: one at a time.
#ifndef MLA_RUNTIME_CONVERT_MOMENT_SUM_H_
#define MLA_RUNTIME_CONVERT_MOMENT_SUM_H_

#include "kernels/cpu/thread_pool.h"
#include "runtime/convert/linear_algebra.h"

namespace mla::runtime {

class MomentSum {
 public:
  MomentSum(Eigen::Index rows, Eigen::Index cols, kernels::ThreadPool& pool)
      : sum_(DoubleMatrix::Zero(rows, cols)), pool_(&pool) {}

  // a: [rows, tokens], b: [cols, tokens].
  void Add(const DoubleMatrix& a, const DoubleMatrix& b);
  // a a', of which only half is computed.
  void AddSquare(const DoubleMatrix& a);

  DoubleMatrix Divided(double count) const;

 private:
  DoubleMatrix sum_;  // of squares: the lower part
  bool square_ = false;
  kernels::ThreadPool* pool_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_MOMENT_SUM_H_
