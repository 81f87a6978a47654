// The device that tests of stage, executor, checkpoint and resume run on, by BIRKHOFF_TEST_DEVICE:
//   cpu (default)   plain
//   guarded         the CPU, with memory that the host cannot read: what cheats dies
//   cuda            GPU 0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/spec/job_spec.h"
#include "kernels/cuda/backend.h"
#include "kernels/device.h"

namespace birkhoff {

inline std::string TestDeviceName() {
  const char* const name = std::getenv("BIRKHOFF_TEST_DEVICE");
  return name == nullptr || *name == '\0' ? "cpu" : name;
}

// `threads`: of a CPU.
inline std::unique_ptr<Device> NewTestDevice(int threads = 1) {
  const std::string name = TestDeviceName();
  if (name == "cpu") return NewCpuDevice(threads);
  if (name == "guarded") return NewGuardedCpuDevice(threads);
  BIRKHOFF_CHECK(name == "cuda", "BIRKHOFF_TEST_DEVICE: cpu, guarded or cuda");
  absl::StatusOr<std::unique_ptr<Device>> device = cuda::NewDevice(0);
  BIRKHOFF_CHECK(device.ok(), device.status().ToString().c_str());
  return *std::move(device);
}

// Where the element type can be had: double is the CPU's alone.
template <typename T>
std::unique_ptr<Device> NewTestDeviceFor(int threads = 1) {
  if (sizeof(T) == 8 && TestDeviceName() == "cuda") return NewCpuDevice(threads);
  return NewTestDevice(threads);
}

// What jobs can compute in on the tests' device, the type of the CPU first.
inline std::vector<PrecisionKind> TestPrecisions() {
  if (TestDeviceName() != "cuda") return {PrecisionKind::kFp32};
  return {PrecisionKind::kFp32, PrecisionKind::kBf16};
}

}  // namespace birkhoff

// Ranks that are threads talk in the host's memory: on a GPU there is one rank, alone.
#define BIRKHOFF_SKIP_RANKS_ON_GPU()                   \
  if (::birkhoff::TestDeviceName() == "cuda") {        \
    GTEST_SKIP() << "several ranks need the CPU here"; \
  }                                                    \
  static_assert(true)
// What only work of the host shows.
#define BIRKHOFF_SKIP_HOST_WORK_ON_GPU()                      \
  if (::birkhoff::TestDeviceName() == "cuda") {               \
    GTEST_SKIP() << "looks at what only the CPU can look at"; \
  }                                                           \
  static_assert(true)
