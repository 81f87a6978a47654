#include "kernels/cuda/backend.h"

#include <gtest/gtest.h>

#include <string>

namespace birkhoff {
namespace {

void ExpectRefusedByName(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(std::string(status.message()).find("use device: cpu"), std::string::npos) << status;
}

TEST(Cuda, IsRefusedByNameInThisVersion) {
  ExpectRefusedByName(cuda::CudaAvailable());
  ExpectRefusedByName(cuda::ListGpus().status());
  ExpectRefusedByName(cuda::LibraryVersions().status());
  ExpectRefusedByName(cuda::NewDevice(0).status());
  const auto device = NewCpuDevice();
  ExpectRefusedByName(cuda::NewBackend<float>(*device, {}).status());
  ExpectRefusedByName(cuda::NewBackend<bf16>(*device, {}).status());
}

}  // namespace
}  // namespace birkhoff
