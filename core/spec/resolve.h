// What a job computes in and on, once its workers are known: what `auto` means.
#pragma once

#include "absl/status/statusor.h"
#include "core/spec/cluster.h"
#include "core/spec/job_spec.h"
#include "core/spec/precision.h"

namespace birkhoff {

struct Numerics {
  Processor processor = Processor::kCpu;
  Precision precision = Precision::kFp32;
  bool deterministic = true;  // same spec and plan, same bits
  friend bool operator==(const Numerics&, const Numerics&) = default;
};

// What these workers compute with.  Workers of one job are of one kind, which is what the spec asks
// for; without workers: the spec's own, or a CPU.  INVALID_ARGUMENT names who differs.
absl::StatusOr<Processor> ProcessorOf(const JobSpec& spec, const ClusterSpec& cluster);

// training.precision and .deterministic on this processor.  INVALID_ARGUMENT: bf16 on a CPU.
absl::StatusOr<Numerics> ResolveNumerics(const JobSpec& spec, Processor processor);

// The workers that may run the job: its device, or cuda where only a GPU computes what it asks for.
DeviceKind NeededDevice(const JobSpec& spec);

}  // namespace birkhoff
