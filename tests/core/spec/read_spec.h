// What reading a job file gives, as people see it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/spec/load.h"

namespace birkhoff {

inline std::vector<std::string> Lines(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const Problem& problem : problems) lines.push_back(ProblemToString(problem));
  return lines;
}

// By the reader alone, without the rules.
inline std::vector<std::string> ProblemsOf(const std::string& yaml,
                                           const std::vector<std::string>& overrides = {}) {
  std::vector<Problem> problems;
  LoadJobSpec(yaml, overrides, &problems);
  return Lines(problems);
}

// A job in which the reader finds nothing wrong.
inline JobSpec Load(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  std::vector<Problem> problems;
  const JobSpec spec = LoadJobSpec(yaml, overrides, &problems);
  EXPECT_TRUE(problems.empty()) << ProblemsToStatus(problems) << "\n" << yaml;
  return spec;
}

}  // namespace birkhoff
