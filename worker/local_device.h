// The device that a flag names: "cpu", "cuda" (GPU 0), "cuda:2", or "auto" (a GPU where one can be
// used, else the CPU).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/spec/cluster.h"
#include "core/spec/precision.h"
#include "kernels/device.h"

namespace birkhoff {

struct LocalDevice {
  std::string name;           // never "auto"
  WorkerResources resources;  // what a worker with it offers; without the worker's name
};

// Makes no context on a GPU.  `cpu_memory_bytes`: what the worker may use of the CPU's memory; 0:
// all of it; `threads` of a rank on it.  Errors: INVALID_ARGUMENT no such device, with those that there are; UNIMPLEMENTED
// this build, or this machine, has no GPU; of the CPU, cpu::CheckEnvironment.
absl::StatusOr<LocalDevice> FindLocalDevice(const std::string& text, int64_t cpu_memory_bytes,
                                            int threads = 1);

// What the CPU computes with: instructions and libraries (kernels/cpu/paths.h).
std::string DescribeCpu();

// One line for each GPU, "cuda:0<tab>what it is"; the errors of FindLocalDevice("cuda").
absl::StatusOr<std::string> DescribeGpus();

// What the device could do at most in this precision (PeakFlops); 0: not known.  `name` as
// FindLocalDevice gives it.
double PeakFlopsOf(const std::string& name, Precision precision);

// Makes the context.  `name` as FindLocalDevice gives it; `threads` share a kernel on the CPU.
absl::StatusOr<std::unique_ptr<Device>> OpenLocalDevice(const std::string& name, int threads = 1);

}  // namespace birkhoff
