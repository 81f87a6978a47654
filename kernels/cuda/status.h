// What CUDA and its libraries say, as a Status.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace birkhoff::cuda {

// INTERNAL "what: cudaErrorName: text"; RESOURCE_EXHAUSTED where memory is short.
inline absl::Status ToStatus(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      absl::StrCat(what, ": ", cudaGetErrorName(error), ": ", cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

// After a launch: what the launch said.  Errors of the kernel itself come out at the next wait.
inline absl::Status LaunchStatus(const char* kernel) {
  return ToStatus(cudaGetLastError(), kernel);
}

}  // namespace birkhoff::cuda
