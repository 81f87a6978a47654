// The arguments of verbs that take a job file.
#pragma once

#include "cli/program.h"
#include "cli/spec_file.h"

namespace birkhoff {

// JOB.yaml and --set.
void AddSpecFlags(CLI::App& verb, SpecFile* file);

// Reads the file; where it has problems, shows all of them (as -o asks) and returns
// INVALID_ARGUMENT with a one-line summary.
absl::Status ReadOrExplain(const SpecFile& file, const Program& program, JobSpec* spec);

// Shows the problems that a file has; returns that summary.
absl::Status Explain(const SpecFile& file, const std::vector<Problem>& problems,
                     const Program& program);

}  // namespace birkhoff
