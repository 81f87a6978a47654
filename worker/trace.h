// One train program of all ranks as it ran, beside what its plan expects, in the trace format of
// Chrome and Perfetto: OUT/trace.json.  A rank is a process there, a stream is a thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "core/base/disk.h"
#include "core/plan/plan.h"
#include "worker/executor.h"

namespace birkhoff {

// `step` is the number of the step that ran, from 1; `spans`: for each global rank, start and end of its instructions in seconds, two values each,
// from the start of its program; ranks are padded to TraceLength values.
std::string TraceToJson(const Plan& plan, int64_t step, std::span<const double> spans);

// Values that one rank contributes to `spans`.
int64_t TraceLength(const Plan& plan);
void PackTimes(const std::vector<InstructionTime>& times, std::span<double> out);

// Replaces OUT/trace.json.
absl::Status WriteTrace(Disk& disk, const std::string& directory, const std::string& json);

}  // namespace birkhoff
