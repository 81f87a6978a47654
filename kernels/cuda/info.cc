// What GPUs, driver and libraries are here, asked without a context.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <fstream>
#include <iterator>
#include <regex>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

// CUDA writes 13.1 as 13010.
std::string CudaVersion(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

// Its libraries write 9.19.1 as 91901.
std::string LibraryVersion(size_t version) {
  return absl::StrCat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

// The release of the kernel's module, as people name the driver; empty where Linux does not say.
std::string DriverRelease() {
  std::ifstream file("/proc/driver/nvidia/version");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::smatch match;
  return std::regex_search(text, match, std::regex(R"(\s([0-9]+\.[0-9.]+)\s)")) ? match[1].str()
                                                                                : "";
}

absl::Status NoDriver() {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) {
    return absl::UnimplementedError(
        "device: cuda: no NVIDIA driver is installed here; install one, or use device: cpu");
  }
  return absl::UnimplementedError(absl::StrCat(
      "device: cuda: the driver ", DriverRelease(), " knows CUDA ", CudaVersion(driver),
      "; need a driver for CUDA ", CudaVersion(runtime), ", or use device: cpu"));
}

}  // namespace

absl::Status CudaAvailable() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) return NoDriver();
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return absl::UnimplementedError(
        "device: cuda: no GPU is visible here; need one that CUDA_VISIBLE_DEVICES does not hide, "
        "or use device: cpu");
  }
  return ToStatus(error, "device: cuda");
}

absl::StatusOr<std::vector<GpuInfo>> ListGpus() {
  RETURN_IF_ERROR(CudaAvailable());
  int count = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceCount(&count), "cudaGetDeviceCount"));
  std::vector<GpuInfo> gpus;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties = {};
    RETURN_IF_ERROR(
        ToStatus(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties"));
    gpus.push_back({.index = index,
                    .name = properties.name,
                    .memory_bytes = int64_t(properties.totalGlobalMem),
                    .compute_capability = 10 * properties.major + properties.minor,
                    .num_multiprocessors = properties.multiProcessorCount});
  }
  return gpus;
}

absl::StatusOr<std::string> LibraryVersions() {
  RETURN_IF_ERROR(CudaAvailable());
  int runtime = 0;
  RETURN_IF_ERROR(ToStatus(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion"));
  const std::string release = DriverRelease();
  return absl::StrCat("driver ", release.empty() ? "unknown" : release, ", CUDA ",
                      CudaVersion(runtime), ", cuBLASLt ", LibraryVersion(cublasLtGetVersion()),
                      ", cuDNN ", LibraryVersion(cudnnGetVersion()));
}

}  // namespace birkhoff::cuda
