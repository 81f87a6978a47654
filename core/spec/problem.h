// One thing that is wrong with what somebody gave us.  Problems are shown all at once.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace birkhoff {

struct Problem {
  std::string field;    // "model.residual.streams"; a file path where a file is at fault
  std::string value;    // as given
  std::string allowed;  // "1 to 8"
  std::string remedy;   // "did you mean model.residual.streams?"; may be empty
};

// "model.residual.streams: 9 is not allowed; need 1 to 8"; with the remedy in parentheses where
// there is one.
std::string ProblemToString(const Problem& problem);

// INVALID_ARGUMENT with one line per problem; OK for none.
absl::Status ProblemsToStatus(const std::vector<Problem>& problems);

}  // namespace birkhoff
