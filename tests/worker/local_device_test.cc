// The device that a worker is told to use, on machines with a GPU and without.
#include "worker/local_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/spec/product_rate.h"
#include "kernels/cuda/backend.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

bool HasGpu() {
  return cuda::CudaAvailable().ok() && cuda::ListGpus().ok() && !cuda::ListGpus()->empty();
}

TEST(LocalDeviceTest, CpuIsThereWithTheMemoryThatItMayUse) {
  const auto device = FindLocalDevice("cpu", 12345);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->name, "cpu");
  EXPECT_EQ(device->resources.device, "cpu");
  EXPECT_EQ(device->resources.memory_bytes, 12345);
  EXPECT_GT(FindLocalDevice("cpu", 0)->resources.memory_bytes, 1 << 20) << "all of the machine's";
  EXPECT_EQ(device->resources.description, DescribeCpu());
}

TEST(LocalDeviceTest, CpuSaysWhatItsProductsReachWithItsThreads) {
  const double one = FindLocalDevice("cpu", 0)->resources.product_flops;
  EXPECT_GE(one, ProductRate(Isa::kBaseline));
  EXPECT_EQ(FindLocalDevice("cpu", 0, /*threads=*/3)->resources.product_flops, 3 * one);
}

TEST(LocalDeviceTest, AutoIsTheFirstGpuOrElseTheCpu) {
  const auto device = FindLocalDevice("auto", 12345);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->name, HasGpu() ? "cuda:0" : "cpu");
  EXPECT_EQ(device->resources.device, HasGpu() ? "cuda" : "cpu");
  if (!HasGpu()) {
    EXPECT_EQ(device->resources.memory_bytes, 12345);
  }
}

TEST(LocalDeviceTest, GpuThatIsAskedForIsThereOrAnError) {
  const auto device = FindLocalDevice("cuda", 12345);
  EXPECT_EQ(device.ok(), HasGpu());
  EXPECT_EQ(DescribeGpus().ok(), HasGpu());
  EXPECT_FALSE(FindLocalDevice("cuda:1000", 0).ok());
  if (!HasGpu()) {
    EXPECT_FALSE(device.status().message().empty());
    EXPECT_EQ(DescribeGpus().status(), device.status());
    return;
  }
  EXPECT_EQ(device->name, "cuda:0");
  EXPECT_GT(device->resources.memory_bytes, 1 << 30) << "the card's, whatever the CPU may use";
  EXPECT_FALSE(device->resources.description.empty());
  EXPECT_THAT(*DescribeGpus(), StartsWith("cuda:0\t" + device->resources.description));
  EXPECT_THAT(FindLocalDevice("cuda:1000", 0).status().ToString(), HasSubstr("this machine has"));
}

TEST(LocalDeviceTest, RefusesWhatIsNoDevice) {
  for (const char* text : {"gpu", "", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda0"}) {
    const absl::Status status = FindLocalDevice(text, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(status.message(),
              std::string("device ") + text + "; need auto, cpu, cuda or cuda:NUMBER");
    EXPECT_FALSE(OpenLocalDevice(text).ok()) << text;
  }
}

TEST(LocalDeviceTest, OpensWhatWasFound) {
  const auto found = FindLocalDevice("auto", 0);
  ASSERT_TRUE(found.ok()) << found.status();
  const auto device = OpenLocalDevice(found->name);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ((*device)->name(), found->name);
  EXPECT_EQ(ProcessorName((*device)->processor()), found->resources.device);
  EXPECT_EQ((*OpenLocalDevice("cpu"))->name(), "cpu");
}

}  // namespace
}  // namespace birkhoff
