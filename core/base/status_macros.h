// Early return on absl::Status and absl::StatusOr; this Abseil release ships none.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define BIRKHOFF_CONCAT_INNER(a, b) a##b
#define BIRKHOFF_CONCAT(a, b) BIRKHOFF_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

// ASSIGN_OR_RETURN(const int x, ParseInt(text));  The left side may declare.  A type with a comma
// needs parentheses.
#define ASSIGN_OR_RETURN(left, expression) \
  ASSIGN_OR_RETURN_INNER(BIRKHOFF_CONCAT(status_or_, __LINE__), left, expression)
#define ASSIGN_OR_RETURN_INNER(result, left, expression) \
  auto result = (expression);                            \
  if (!result.ok()) return std::move(result).status();   \
  left = *std::move(result)
