// The plan's buffers of one rank in one allocation, made before the first step.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "kernels/device.h"

namespace birkhoff {

class Arena {
 public:
  // Each buffer is 64-byte aligned; the contents are undefined.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(Device& device,
                                                       const std::vector<Buffer>& buffers);
  DevicePtr<std::byte> at(int buffer) const { return memory_->data() + offsets_[buffer]; }

 private:
  Arena(std::unique_ptr<DeviceMemory> memory, std::vector<int64_t> offsets)
      : memory_(std::move(memory)), offsets_(std::move(offsets)) {}

  const std::unique_ptr<DeviceMemory> memory_;
  const std::vector<int64_t> offsets_;
};

}  // namespace birkhoff
