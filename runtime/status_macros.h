// RETURN_IF_ERROR and ASSIGN_OR_RETURN, which Debian's Abseil does not ship.
#ifndef MLA_RUNTIME_STATUS_MACROS_H_
#define MLA_RUNTIME_STATUS_MACROS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define MLA_CONCAT_INNER_(a, b) a##b
#define MLA_CONCAT_(a, b) MLA_CONCAT_INNER_(a, b)

// Evaluates an expression of type absl::Status and returns it from the function
// unless it is OK.
#define RETURN_IF_ERROR(expr)                  \
  do {                                         \
    absl::Status mla_status_ = (expr);         \
    if (!mla_status_.ok()) return mla_status_; \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): unwraps an absl::StatusOr or returns its
// status.
#define ASSIGN_OR_RETURN(lhs, rexpr) \
  MLA_ASSIGN_OR_RETURN_(MLA_CONCAT_(mla_statusor_, __LINE__), lhs, rexpr)
#define MLA_ASSIGN_OR_RETURN_(result, lhs, rexpr)      \
  auto result = (rexpr);                               \
  if (!result.ok()) return std::move(result).status(); \
  lhs = *std::move(result)

#endif  // MLA_RUNTIME_STATUS_MACROS_H_
