// The workers decide the processor, the processor decides what `auto` is: fp32 and the same bits on
// a CPU, bf16 and the fastest on a GPU.
#include "core/spec/resolve.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::StatusOr<Processor> ProcessorOfWorker(const WorkerResources& worker) {
  for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
    if (worker.device == ProcessorName(processor)) return processor;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(worker.name, ": device '", worker.device, "' is not known; need cpu or cuda"));
}

}  // namespace

absl::StatusOr<Processor> ProcessorOf(const JobSpec& spec, const ClusterSpec& cluster) {
  const Processor wanted = spec.device == DeviceKind::kCuda ? Processor::kCuda : Processor::kCpu;
  if (cluster.workers.empty()) return wanted;
  ASSIGN_OR_RETURN(const Processor first, ProcessorOfWorker(cluster.workers.front()));
  for (const WorkerResources& worker : cluster.workers) {
    ASSIGN_OR_RETURN(const Processor processor, ProcessorOfWorker(worker));
    if (processor == first) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("workers: ", cluster.workers.front().name, " has ", ProcessorName(first), ", ",
                     worker.name, " has ", ProcessorName(processor), "; need workers of one kind"));
  }
  if (spec.device != DeviceKind::kAuto && wanted != first) {
    return absl::InvalidArgumentError(
        absl::StrCat("device: ", ProcessorName(wanted), ", but ", cluster.workers.front().name,
                     " has ", ProcessorName(first), "; set device to auto or ",
                     ProcessorName(first), ", or give it other workers"));
  }
  return first;
}

absl::StatusOr<Numerics> ResolveNumerics(const JobSpec& spec, Processor processor) {
  const bool cuda = processor == Processor::kCuda;
  const TrainingSpec& training = spec.training;
  Numerics numerics{.processor = processor, .precision = Precision::kFp32, .deterministic = !cuda};
  if (training.precision == PrecisionKind::kBf16 && !cuda) {
    return absl::InvalidArgumentError(
        "training.precision: bf16 is not allowed on a cpu; need auto or fp32 (or workers with a "
        "GPU and device cuda)");
  }
  const bool rounds = training.precision == PrecisionKind::kBf16 ||
                      (training.precision == PrecisionKind::kAuto && cuda);
  if (rounds) numerics.precision = Precision::kBf16;
  if (training.deterministic != Toggle::kAuto) {
    numerics.deterministic = training.deterministic == Toggle::kTrue;
  }
  return numerics;
}

DeviceKind NeededDevice(const JobSpec& spec) {
  const bool rounds = spec.training.precision == PrecisionKind::kBf16;
  return spec.device == DeviceKind::kAuto && rounds ? DeviceKind::kCuda : spec.device;
}

}  // namespace birkhoff
