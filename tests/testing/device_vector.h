// Numbers in a device's memory: up and down on a stream of their own, waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/device.h"

namespace birkhoff::testing {

template <typename T>
std::vector<T> ToHost(Device& device, DevicePtr<const T> data, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  const std::unique_ptr<Stream> stream = device.NewStream("to host");
  Download(*stream, values.data(), data, count);
  stream->Synchronize();
  return values;
}
template <typename T>
std::vector<T> ToHost(Device& device, DevicePtr<T> data, int64_t count) {
  return ToHost(device, DevicePtr<const T>(data), count);
}

template <typename T>
void ToDevice(Device& device, DevicePtr<T> data, const std::vector<T>& values) {
  const std::unique_ptr<Stream> stream = device.NewStream("to device");
  Upload(*stream, data, values.data(), static_cast<int64_t>(values.size()));
  stream->Synchronize();
}

// The device must outlive it.
template <typename T>
class DeviceVector {
 public:
  DeviceVector(Device& device, const std::vector<T>& values)
      : device_(device),
        size_(static_cast<int64_t>(values.size())),
        memory_(device.Allocate(size_ * int64_t{sizeof(T)}).value()) {
    ToDevice(device_, data(), values);
  }
  DevicePtr<T> data() const { return memory_->data().template As<T>(); }
  DevicePtr<std::byte> bytes() const { return memory_->data(); }
  int64_t size() const { return size_; }
  int64_t num_bytes() const { return memory_->size(); }
  std::vector<T> values() const { return ToHost(device_, data(), size_); }

 private:
  Device& device_;
  const int64_t size_;
  const std::unique_ptr<DeviceMemory> memory_;
};

}  // namespace birkhoff::testing
