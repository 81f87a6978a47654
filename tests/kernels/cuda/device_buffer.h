// A vector in the GPU's memory between two guard bands, for tests of kernels: what writes beyond
// its buffer is seen when the buffer is read back.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/types.h"

namespace birkhoff {

inline void CudaOk(cudaError_t error) {
  ASSERT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
}

// Under a sanitizer, which is hundreds of times slower: every kernel and path, few sizes
// (tests/gpu.sh sanitize).
inline bool SmallSweep() { return std::getenv("BIRKHOFF_SMALL_SWEEP") != nullptr; }

template <typename T>
class DeviceBuffer {
 public:
  // Poisoned: all bits set, a NaN in every floating type.
  explicit DeviceBuffer(int64_t count) : count_(count) {
    CudaOk(cudaMalloc(reinterpret_cast<void**>(&base_), Bytes() + 2 * kBand));
    CudaOk(cudaMemset(base_, 0xa5, Bytes() + 2 * kBand));
    CudaOk(cudaMemset(base_ + kBand, 0xff, Bytes()));
  }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(int64_t(values.size())) {
    CudaOk(cudaMemcpy(data(), values.data(), Bytes(), cudaMemcpyHostToDevice));
  }
  ~DeviceBuffer() { cudaFree(base_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() const { return reinterpret_cast<T*>(base_ + kBand); }
  int64_t size() const { return count_; }

  // Waits for the device; fails the test where a guard band was touched.
  std::vector<T> ToHost() const {
    CudaOk(cudaDeviceSynchronize());
    std::vector<unsigned char> all(size_t(Bytes() + 2 * kBand));
    CudaOk(cudaMemcpy(all.data(), base_, all.size(), cudaMemcpyDeviceToHost));
    for (int64_t i = 0; i < kBand; ++i) {
      EXPECT_EQ(all[size_t(i)], 0xa5) << "written before the buffer";
      EXPECT_EQ(all[size_t(kBand + Bytes() + i)], 0xa5) << "written behind the buffer";
      if (testing::Test::HasFailure()) break;
    }
    std::vector<T> values(static_cast<size_t>(count_));
    std::memcpy(values.data(), all.data() + kBand, size_t(Bytes()));
    return values;
  }

 private:
  static constexpr int64_t kBand = 1024;  // keeps the data 256-byte aligned too
  int64_t Bytes() const { return count_ * int64_t{sizeof(T)}; }

  int64_t count_ = 0;
  unsigned char* base_ = nullptr;
};

inline std::vector<float> Widen(const std::vector<bf16>& values) {
  std::vector<float> wide(values.size());
  for (size_t i = 0; i < values.size(); ++i) wide[i] = ToFloat(values[i]);
  return wide;
}
inline std::vector<float> Widen(const std::vector<float>& values) { return values; }

template <typename T>
std::vector<T> Narrow(const std::vector<float>& values);
template <>
inline std::vector<float> Narrow(const std::vector<float>& values) {
  return values;
}
template <>
inline std::vector<bf16> Narrow(const std::vector<float>& values) {
  std::vector<bf16> narrow(values.size());
  for (size_t i = 0; i < values.size(); ++i) narrow[i] = ToBf16(values[i]);
  return narrow;
}

}  // namespace birkhoff
