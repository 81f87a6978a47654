// The device that tests of stage, executor, checkpoint and resume run on, by BIRKHOFF_TEST_DEVICE:
//   cpu (default)   plain
//   guarded         the CPU, with memory that the host cannot read: what cheats dies
//   cuda            GPU 0
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "core/base/check.h"
#include "kernels/cuda/backend.h"
#include "kernels/device.h"

namespace birkhoff {

inline std::string TestDeviceName() {
  const char* const name = std::getenv("BIRKHOFF_TEST_DEVICE");
  return name == nullptr || *name == '\0' ? "cpu" : name;
}

inline std::unique_ptr<Device> NewTestDevice() {
  const std::string name = TestDeviceName();
  if (name == "cpu") return NewCpuDevice();
  if (name == "guarded") return NewGuardedCpuDevice();
  BIRKHOFF_CHECK(name == "cuda", "BIRKHOFF_TEST_DEVICE: cpu, guarded or cuda");
  absl::StatusOr<std::unique_ptr<Device>> device = cuda::NewDevice(0);
  BIRKHOFF_CHECK(device.ok(), device.status().ToString().c_str());
  return *std::move(device);
}

// Where the element type can be had: double is the CPU's alone.
template <typename T>
std::unique_ptr<Device> NewTestDeviceFor() {
  if (sizeof(T) == 8 && TestDeviceName() == "cuda") return NewCpuDevice();
  return NewTestDevice();
}

}  // namespace birkhoff
