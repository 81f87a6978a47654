// The one name that libbirkhoff_cuda.so exports.
#include "kernels/cuda/library.h"

#include "core/base/version.h"

extern "C" __attribute__((visibility("default")))
const birkhoff::cuda::Functions birkhoff_cuda_functions = {
    .version = birkhoff::kVersion,
    .available = birkhoff::cuda::CudaAvailable,
    .list_gpus = birkhoff::cuda::ListGpus,
    .library_versions = birkhoff::cuda::LibraryVersions,
    .new_device = birkhoff::cuda::NewDevice,
    .new_backend_float = birkhoff::cuda::NewBackend<float>,
    .new_backend_bf16 = birkhoff::cuda::NewBackend<birkhoff::bf16>,
};
