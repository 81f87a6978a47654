// How a problem reads.
#include "core/spec/problem.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/printable.h"

namespace birkhoff {

std::string ProblemToString(const Problem& problem) {
  std::string text = absl::StrCat(problem.field, ": ", problem.value, " is not allowed");
  if (!problem.allowed.empty()) absl::StrAppend(&text, "; need ", problem.allowed);
  if (!problem.remedy.empty()) absl::StrAppend(&text, " (", problem.remedy, ")");
  return Printable(text);  // keys, values and paths are somebody else's
}

absl::Status ProblemsToStatus(const std::vector<Problem>& problems) {
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrJoin(problems, "\n", [](std::string* out, const Problem& problem) {
        absl::StrAppend(out, ProblemToString(problem));
      }));
}

}  // namespace birkhoff
