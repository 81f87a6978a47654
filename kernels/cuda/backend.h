// The GPU behind the seam.  A build without CUDA has the same functions, which refuse by name.
//
// Errors of all: UNIMPLEMENTED this build has no GPU backend, or no GPU or driver is there: the
// message says which, and the remedy; INTERNAL what a library says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace birkhoff::cuda {

// OK: device: cuda can be used here.  Makes no context.
absl::Status CudaAvailable();

// One GPU, as people name it.
struct GpuInfo {
  int index = 0;
  std::string name;  // "NVIDIA H100 80GB HBM3"
  int64_t memory_bytes = 0;
  int compute_capability = 0;  // 90
  int num_multiprocessors = 0;
};
// The GPUs of this machine, in the driver's order.  Makes no context.
absl::StatusOr<std::vector<GpuInfo>> ListGpus();
// Driver and libraries, one line: "driver 580.159, CUDA 13.0, cuBLASLt 13.1.0, cuDNN 9.19.0".
absl::StatusOr<std::string> LibraryVersions();

// GPU number `index`, with a context of its own from here on.
absl::StatusOr<std::unique_ptr<Device>> NewDevice(int index);

template <typename T>  // float, bf16
absl::StatusOr<std::unique_ptr<Backend<T>>> NewBackend(Device& device,
                                                       const BackendOptions& options);

}  // namespace birkhoff::cuda
