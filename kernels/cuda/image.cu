// Asked once, when a device is opened, so that no kernel has to fail for it later.
#include "kernels/cuda/image.h"

#include <cuda_runtime_api.h>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

__global__ void NoWork() {}

std::string CurrentGpu() {
  int index = 0;
  cudaDeviceProp properties = {};
  if (cudaGetDevice(&index) != cudaSuccess ||
      cudaGetDeviceProperties(&properties, index) != cudaSuccess) {
    return "the GPU";
  }
  return absl::StrCat("cuda:", index, " (", properties.name, ", compute capability ",
                      properties.major, ".", properties.minor, ")");
}

}  // namespace

absl::Status CheckKernelImage() {
  cudaFuncAttributes attributes = {};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, NoWork);
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
    cudaGetLastError();
    return absl::UnimplementedError(absl::StrCat(
        "device: ", CurrentGpu(), ": this program has kernels for ", BIRKHOFF_CUDA_ARCHITECTURES,
        " alone; configure with -DCMAKE_CUDA_ARCHITECTURES for this GPU"));
  }
  return ToStatus(error, "the program's kernels");
}

}  // namespace birkhoff::cuda
