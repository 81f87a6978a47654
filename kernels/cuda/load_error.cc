// Tells three cases apart by dlopen's words alone: no backend in this build, a library of CUDA that
// was not found, anything else.
#include "kernels/cuda/load_error.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/library.h"

namespace birkhoff::cuda {

absl::Status LoadError(absl::string_view reason) {
  const absl::string_view file = reason.substr(0, reason.find(": cannot open shared object file"));
  if (file == kLibraryFile) {
    return absl::UnimplementedError(
        "device: cuda: this build has no GPU backend; configure with -DBIRKHOFF_CUDA=ON where the "
        "CUDA toolkit is, or use device: cpu");
  }
  if (file != reason) {
    return absl::UnimplementedError(absl::StrCat(
        "device: cuda: ", file,
        " was not found; need CUDA 13 with cuDNN 9 in folders that "
        "LD_LIBRARY_PATH names (deploy/cuda.sh libraries finds them), or use device: cpu"));
  }
  return absl::UnimplementedError(absl::StrCat("device: cuda: ", reason,
                                               "; need the CUDA toolkit 13 with cuDNN 9 that this "
                                               "build was made with, or use device: cpu"));
}

}  // namespace birkhoff::cuda
