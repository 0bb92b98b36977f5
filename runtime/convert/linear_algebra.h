// The few dense decompositions that conversion needs, in double precision.
// Threads: one at a time; OpenBLAS is built without threads of its own, so that
//          the same input gives the same bytes.
// Errors:  FAILED_PRECONDITION if a matrix is not finite.
#ifndef MLA_RUNTIME_CONVERT_LINEAR_ALGEBRA_H_
#define MLA_RUNTIME_CONVERT_LINEAR_ALGEBRA_H_

#include <Eigen/Core>

#include "absl/status/statusor.h"

namespace mla::runtime {

using DoubleMatrix = Eigen::MatrixXd;
using DoubleVector = Eigen::VectorXd;
using ComplexMatrix = Eigen::MatrixXcd;

template <typename MatrixType>
struct Spectrum {
  DoubleVector values;  // descending
  MatrixType vectors;   // in columns
};

// Of a symmetric or Hermitian matrix; only its lower half is read.
absl::StatusOr<Spectrum<DoubleMatrix>> EigenOf(DoubleMatrix s);
absl::StatusOr<Spectrum<ComplexMatrix>> EigenOf(ComplexMatrix s);

// s^(1/2) and s^(-1/2) of a positive semidefinite matrix, to whose eigenvalues
// `damping` times their mean is added first.
struct SquareRoots {
  DoubleMatrix root;
  DoubleMatrix inverse;
};
absl::StatusOr<SquareRoots> RootsOf(const DoubleMatrix& s, double damping);

// argmin_w E|t - w u|^2 + ridge |w - prior|^2, given the moments E[t u'] and
// E[u u'], where `ridge` counts in means of E[u u']'s diagonal.
absl::StatusOr<DoubleMatrix> RidgeFit(DoubleMatrix tu, DoubleMatrix uu,
                                      const DoubleMatrix& prior, double ridge);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_LINEAR_ALGEBRA_H_
