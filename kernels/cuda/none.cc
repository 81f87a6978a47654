// Stands in for the GPU backend, so that everything else links and runs without it.
#include "kernels/cuda/backend.h"

namespace birkhoff::cuda {

absl::Status CudaAvailable() {
#ifdef BIRKHOFF_CUDA_TOOLKIT
  return absl::UnimplementedError("device: cuda: built with the CUDA toolkit " BIRKHOFF_CUDA_TOOLKIT
                                  ", but this version has no GPU kernels; use device: cpu");
#else
  return absl::UnimplementedError(
      "device: cuda: built without CUDA, and this version has no GPU kernels; use device: cpu");
#endif
}

}  // namespace birkhoff::cuda
