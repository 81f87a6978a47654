// The GPU backend as programs see it: a library that is opened by the first question about a GPU.
// Where it cannot be opened, all functions refuse and say what is missing.
#include <dlfcn.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/load_error.h"

namespace birkhoff::cuda {
namespace {

// The library wants this too (device.cc), but where it is opened there may be threads already,
// which read the environment.  Before main there is one.
[[maybe_unused]] const int kEagerLoading = setenv("CUDA_MODULE_LOADING", "EAGER", /*replace=*/0);

absl::StatusOr<const Functions*> Open() {
  // It stays open until the process ends: its objects do too.
  void* const library = ::dlopen(kLibraryFile, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return LoadError(::dlerror());
  const auto* const functions = static_cast<const Functions*>(::dlsym(library, kFunctionsSymbol));
  if (functions == nullptr) return LoadError(::dlerror());
  if (absl::string_view(functions->version) == kVersion) return functions;
  return absl::UnimplementedError(absl::StrCat("device: cuda: ", kLibraryFile, " is of version ",
                                               functions->version, ", this program of ", kVersion,
                                               "; take both from one build, or use device: cpu"));
}

absl::StatusOr<const Functions*> Library() {
  static const auto* const library = new absl::StatusOr<const Functions*>(Open());
  return *library;
}

}  // namespace

absl::Status CudaAvailable() {
  ASSIGN_OR_RETURN(const Functions* const library, Library());
  return library->available();
}

absl::StatusOr<std::vector<GpuInfo>> ListGpus() {
  ASSIGN_OR_RETURN(const Functions* const library, Library());
  return library->list_gpus();
}

absl::StatusOr<std::string> LibraryVersions() {
  ASSIGN_OR_RETURN(const Functions* const library, Library());
  return library->library_versions();
}

absl::StatusOr<std::unique_ptr<Device>> NewDevice(int index) {
  ASSIGN_OR_RETURN(const Functions* const library, Library());
  return library->new_device(index);
}

template <>
absl::StatusOr<std::unique_ptr<Backend<float>>> NewBackend(Device& device,
                                                           const BackendOptions& options) {
  ASSIGN_OR_RETURN(const Functions* const library, Library());
  return library->new_backend_float(device, options);
}

template <>
absl::StatusOr<std::unique_ptr<Backend<bf16>>> NewBackend(Device& device,
                                                          const BackendOptions& options) {
  ASSIGN_OR_RETURN(const Functions* const library, Library());
  return library->new_backend_bf16(device, options);
}

}  // namespace birkhoff::cuda
