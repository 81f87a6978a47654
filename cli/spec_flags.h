// The arguments of verbs that take a job file.
#pragma once

#include <string>
#include <vector>

#include "cli/invocation.h"
#include "cli/spec_file.h"

namespace birkhoff {

// JOB.yaml and --set.
void AddSpecFlags(CLI::App& verb, SpecFile* file);

// Reads the file; where it has problems, shows all of them (as -o asks) and returns
// INVALID_ARGUMENT with a one-line summary.
absl::Status ReadOrExplain(const SpecFile& file, const Invocation& invocation, JobSpec* spec);

// What a job begins with where its directory has held another run, or none.
struct Beginning {
  bool fresh = false;
  std::vector<std::string> changes;
  std::string init_from;  // absolute once checked; empty: random weights
};

// --fresh, --change and --init-from.
void AddBeginningFlags(CLI::App& verb, Beginning* beginning);

// Shows what is wrong with the flags, as ReadOrExplain does, and makes init_from absolute.
absl::Status CheckOrExplain(const Invocation& invocation, Beginning* beginning);

// Shows the problems that a file has; returns that summary.
absl::Status Explain(const SpecFile& file, const std::vector<Problem>& problems,
                     const Invocation& invocation);

}  // namespace birkhoff
