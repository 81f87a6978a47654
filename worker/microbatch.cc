// Tensors of the kBatch buffer by name; one offset serves the host's image and the device's buffer.
#include "worker/microbatch.h"

#include "core/base/check.h"

namespace birkhoff {
namespace {

const StoredTensor& Tensor(const StageLayout& layout, const char* name) {
  const StoredTensor* tensor = layout.Find(layout.units.first, Home::kBatch, name);
  BIRKHOFF_CHECK(tensor != nullptr, name);
  return *tensor;
}

std::span<int32_t> Words(const StageLayout& layout, std::byte* image, const char* name) {
  const StoredTensor& tensor = Tensor(layout, name);
  return {reinterpret_cast<int32_t*>(image + tensor.offset), tensor.bytes / sizeof(int32_t)};
}

}  // namespace

PackedSequences::PackedSequences(std::span<const int> lengths) : starts_{0} {
  for (const int length : lengths) {
    BIRKHOFF_CHECK(length > 0, "a sequence has at least one token");
    starts_.push_back(starts_.back() + length);
  }
}

MicrobatchShape PackedSequences::shape() const {
  return {.tokens = starts_.back(),
          .num_sequences = static_cast<int>(starts_.size()) - 1,
          .sequence_starts = starts_.data()};
}

Microbatch ViewMicrobatch(const StageLayout& layout, const MicrobatchShape& shape,
                          DevicePtr<std::byte> batch) {
  const auto words = [&](const char* name) {
    return (batch + Tensor(layout, name).offset).As<const int32_t>().address();
  };
  return {.shape = shape,
          .positions = words("positions"),
          .inputs = words("inputs"),
          .targets = words("targets")};
}

MicrobatchTokens TokensOf(const StageLayout& layout, std::byte* image) {
  return {Words(layout, image, "inputs"), Words(layout, image, "targets")};
}

void WritePositions(const StageLayout& layout, const MicrobatchShape& shape, std::byte* image,
                    int32_t first) {
  const std::span<int32_t> positions = Words(layout, image, "positions");
  BIRKHOFF_CHECK(shape.tokens <= static_cast<int64_t>(positions.size()),
                 "micro-batch beyond its capacity");
  int sequence = 0;
  for (int32_t t = 0; t < shape.tokens; ++t) {
    if (t == shape.sequence_starts[sequence + 1]) ++sequence;
    positions[t] = first + t - shape.sequence_starts[sequence];
  }
}

}  // namespace birkhoff
