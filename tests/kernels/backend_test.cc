#include "kernels/cuda/backend.h"

#include <gtest/gtest.h>

#include <string>

namespace birkhoff {
namespace {

TEST(Cuda, IsRefusedByNameInThisVersion) {
  const absl::Status status = cuda::CudaAvailable();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(std::string(status.message()).find("use device: cpu"), std::string::npos) << status;
}

}  // namespace
}  // namespace birkhoff
