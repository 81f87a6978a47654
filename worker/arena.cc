// Buffers stand one after the other in the plan's order, each padded as the plan has counted it.
#include "worker/arena.h"

#include <utility>

#include "core/base/status_macros.h"
#include "core/plan/memory.h"

namespace birkhoff {
absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(Device& device,
                                                     const std::vector<Buffer>& buffers) {
  std::vector<int64_t> offsets;
  int64_t end = 0;
  for (const Buffer& buffer : buffers) {
    offsets.push_back(end);
    end += PaddedBufferBytes(buffer.bytes);
  }
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceMemory> memory, device.Allocate(end));
  return std::unique_ptr<Arena>(new Arena(std::move(memory), std::move(offsets)));
}

}  // namespace birkhoff
