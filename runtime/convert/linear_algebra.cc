// Tested by tests/runtime/linear_algebra_test.cc.
#include "runtime/convert/linear_algebra.h"

#include <algorithm>
#include <complex>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

// LAPACK's, column-major.
extern "C" {
void dsyevd_(const char* jobz, const char* uplo, const int* n, double* a,
             const int* lda, double* w, double* work, const int* lwork,
             int* iwork, const int* liwork, int* info);
void zheevd_(const char* jobz, const char* uplo, const int* n,
             std::complex<double>* a, const int* lda, double* w,
             std::complex<double>* work, const int* lwork, double* rwork,
             const int* lrwork, int* iwork, const int* liwork, int* info);
void dposv_(const char* uplo, const int* n, const int* nrhs, double* a,
            const int* lda, double* b, const int* ldb, int* info);
}

namespace mla::runtime {
namespace {

template <typename MatrixType>
absl::Status CheckFinite(const MatrixType& m) {
  if (m.allFinite()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "a weight or an activation of the model is not finite");
}

template <typename MatrixType>
absl::StatusOr<Spectrum<MatrixType>> Descending(MatrixType vectors,
                                                DoubleVector values, int info) {
  if (info != 0) {
    return absl::InternalError(
        absl::StrCat("an eigenvalue problem of ", vectors.rows(),
                     " rows did not converge (", info, ")"));
  }
  return Spectrum<MatrixType>{values.reverse(), vectors.rowwise().reverse()};
}

}  // namespace

absl::StatusOr<Spectrum<DoubleMatrix>> EigenOf(DoubleMatrix s) {
  RETURN_IF_ERROR(CheckFinite(s));
  const int n = static_cast<int>(s.rows());
  DoubleVector values(n);
  if (n == 0) return Spectrum<DoubleMatrix>{values, s};
  int info = 0, int_size = 0, size = -1, query = -1;
  double best = 0;
  dsyevd_("V", "L", &n, s.data(), &n, values.data(), &best, &query, &int_size,
          &size, &info);
  size = static_cast<int>(best);
  std::vector<double> work(size);
  std::vector<int> int_work(int_size);
  dsyevd_("V", "L", &n, s.data(), &n, values.data(), work.data(), &size,
          int_work.data(), &int_size, &info);
  return Descending(std::move(s), std::move(values), info);
}

absl::StatusOr<Spectrum<ComplexMatrix>> EigenOf(ComplexMatrix s) {
  RETURN_IF_ERROR(CheckFinite(s));
  const int n = static_cast<int>(s.rows());
  DoubleVector values(n);
  if (n == 0) return Spectrum<ComplexMatrix>{values, s};
  int info = 0, int_size = 0, query = -1;
  std::complex<double> best = 0;
  double real_best = 0;
  zheevd_("V", "L", &n, s.data(), &n, values.data(), &best, &query, &real_best,
          &query, &int_size, &query, &info);
  const int size = static_cast<int>(best.real());
  const int real_size = static_cast<int>(real_best);
  std::vector<std::complex<double>> work(size);
  std::vector<double> real_work(real_size);
  std::vector<int> int_work(int_size);
  zheevd_("V", "L", &n, s.data(), &n, values.data(), work.data(), &size,
          real_work.data(), &real_size, int_work.data(), &int_size, &info);
  return Descending(std::move(s), std::move(values), info);
}

absl::StatusOr<SquareRoots> RootsOf(const DoubleMatrix& s, double damping) {
  ASSIGN_OR_RETURN(Spectrum<DoubleMatrix> e, EigenOf(s));
  e.values = e.values.cwiseMax(0.0);
  // A matrix of zeros has no scale of its own; any root of it will do.
  const double mean = s.rows() > 0 ? e.values.mean() : 0;
  e.values.array() += std::max(damping * mean, 1e-30);
  const DoubleVector root = e.values.cwiseSqrt();
  SquareRoots roots;
  roots.root = e.vectors * root.asDiagonal() * e.vectors.transpose();
  roots.inverse =
      e.vectors * root.cwiseInverse().asDiagonal() * e.vectors.transpose();
  return roots;
}

absl::StatusOr<DoubleMatrix> RidgeFit(DoubleMatrix tu, DoubleMatrix uu,
                                      const DoubleMatrix& prior, double ridge) {
  const int n = static_cast<int>(uu.rows());
  const double added = std::max(ridge * uu.trace() / n, 1e-30);
  uu.diagonal().array() += added;
  DoubleMatrix solved = (tu + added * prior).transpose();  // uu w' = this
  RETURN_IF_ERROR(CheckFinite(uu));
  RETURN_IF_ERROR(CheckFinite(solved));
  const int outputs = static_cast<int>(solved.cols());
  int info = 0;
  dposv_("L", &n, &outputs, uu.data(), &n, solved.data(), &n, &info);
  if (info != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "moments of ", n, " elements are singular; calibrate on more text"));
  }
  return DoubleMatrix(solved.transpose());
}

}  // namespace mla::runtime
