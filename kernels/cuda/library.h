// What libbirkhoff_cuda.so, the GPU backend, hands to the program that opens it (loader.cc): a
// library of its own, so that programs start and train on the CPU where CUDA's libraries are not.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/backend.h"

namespace birkhoff::cuda {

// The functions of backend.h, as the library implements them.
struct Functions {
  const char* version;  // kVersion; stays first, and is read before anything else
  absl::Status (*available)();
  absl::StatusOr<std::vector<GpuInfo>> (*list_gpus)();
  absl::StatusOr<std::string> (*library_versions)();
  absl::StatusOr<std::unique_ptr<Device>> (*new_device)(int index);
  absl::StatusOr<std::unique_ptr<Backend<float>>> (*new_backend_float)(Device&,
                                                                       const BackendOptions&);
  absl::StatusOr<std::unique_ptr<Backend<bf16>>> (*new_backend_bf16)(Device&,
                                                                     const BackendOptions&);
};

inline constexpr char kLibraryFile[] = "libbirkhoff_cuda.so";
// The one name that it exports: a Functions.
inline constexpr char kFunctionsSymbol[] = "birkhoff_cuda_functions";

}  // namespace birkhoff::cuda
