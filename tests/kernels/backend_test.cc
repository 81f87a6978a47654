// How a GPU is refused where there is none: by name, and with what would do.
#include "kernels/cuda/backend.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/cuda/load_error.h"

namespace birkhoff {
namespace {

void ExpectRefusedByName(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(std::string(status.message()).find("use device: cpu"), std::string::npos) << status;
}

// Whether the backend is missing, or CUDA's libraries, a driver or a GPU.
TEST(Cuda, IsRefusedByNameWhereItCannotBe) {
  if (cuda::CudaAvailable().ok()) GTEST_SKIP() << "here it can be";
  ExpectRefusedByName(cuda::CudaAvailable());
  ExpectRefusedByName(cuda::ListGpus().status());
  ExpectRefusedByName(cuda::LibraryVersions().status());
  ExpectRefusedByName(cuda::NewDevice(0).status());
}

TEST(Cuda, SaysWhatOpeningTheBackendWants) {
  EXPECT_EQ(cuda::LoadError("libbirkhoff_cuda.so: cannot open shared object file: No such file or "
                            "directory")
                .message(),
            "device: cuda: this build has no GPU backend; configure with -DBIRKHOFF_CUDA=ON where "
            "the CUDA toolkit is, or use device: cpu");
  EXPECT_EQ(cuda::LoadError("libcudnn.so.9: cannot open shared object file: No such file or "
                            "directory")
                .message(),
            "device: cuda: libcudnn.so.9 was not found; need CUDA 13 with cuDNN 9 in folders that "
            "LD_LIBRARY_PATH names (deploy/cuda.sh libraries finds them), or use device: cpu");
  EXPECT_EQ(cuda::LoadError("lib/libbirkhoff_cuda.so: undefined symbol: cudnnNew").message(),
            "device: cuda: lib/libbirkhoff_cuda.so: undefined symbol: cudnnNew; need the CUDA "
            "toolkit 13 with cuDNN 9 that this build was made with, or use device: cpu");
}

}  // namespace
}  // namespace birkhoff
