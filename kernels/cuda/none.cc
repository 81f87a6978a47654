// Stands in for the GPU backend, so that everything else links and runs without it.
#include "kernels/cuda/backend.h"

namespace birkhoff::cuda {
namespace {

absl::Status Refusal() {
  return absl::UnimplementedError(
      "device: cuda: this build has no GPU backend; configure with -DBIRKHOFF_CUDA=ON where the "
      "CUDA toolkit is, or use device: cpu");
}

}  // namespace

absl::Status CudaAvailable() { return Refusal(); }
absl::StatusOr<std::vector<GpuInfo>> ListGpus() { return Refusal(); }
absl::StatusOr<std::string> LibraryVersions() { return Refusal(); }
absl::StatusOr<std::unique_ptr<Device>> NewDevice(int) { return Refusal(); }

template <typename T>
absl::StatusOr<std::unique_ptr<Backend<T>>> NewBackend(Device&, const BackendOptions&) {
  return Refusal();
}
template absl::StatusOr<std::unique_ptr<Backend<float>>> NewBackend(Device&, const BackendOptions&);
template absl::StatusOr<std::unique_ptr<Backend<bf16>>> NewBackend(Device&, const BackendOptions&);

}  // namespace birkhoff::cuda
