// What the driver says is free on the GPU: of a test that links nothing else of CUDA.
#include <cuda_runtime_api.h>

#include <cstdint>

namespace birkhoff {

int64_t FreeGpuBytes() {
  size_t free = 0, total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? static_cast<int64_t>(free) : -1;
}

}  // namespace birkhoff
