#include "worker/microbatch.h"

#include <algorithm>

#include "core/base/check.h"

namespace birkhoff {
namespace {

enum Count { kTokens = 0, kSequences = 1 };  // words of "descriptor"

const StoredTensor& Tensor(const StageLayout& layout, const char* name) {
  const StoredTensor* tensor = layout.Find(layout.units.first, Home::kBatch, name);
  BIRKHOFF_CHECK(tensor != nullptr, name);
  return *tensor;
}

int32_t* Words(const StageLayout& layout, std::byte* batch, const char* name) {
  return reinterpret_cast<int32_t*>(batch + Tensor(layout, name).offset);
}

const int32_t* Words(const StageLayout& layout, const std::byte* batch, const char* name) {
  return reinterpret_cast<const int32_t*>(batch + Tensor(layout, name).offset);
}

}  // namespace

MicrobatchTokens TokensOf(const StageLayout& layout, std::byte* batch) {
  const size_t capacity = Tensor(layout, "inputs").bytes / sizeof(int32_t);
  return {{Words(layout, batch, "inputs"), capacity}, {Words(layout, batch, "targets"), capacity}};
}

void DescribeMicrobatch(const StageLayout& layout, std::span<const int> sequence_lengths,
                        std::byte* batch) {
  const int64_t capacity = Tensor(layout, "positions").bytes / int64_t{sizeof(int32_t)};
  int32_t* descriptor = Words(layout, batch, "descriptor");
  int32_t* starts = Words(layout, batch, "sequence_starts");
  int32_t* positions = Words(layout, batch, "positions");
  int32_t tokens = 0;
  *starts++ = 0;
  for (const int length : sequence_lengths) {
    BIRKHOFF_CHECK(length > 0 && tokens + length <= capacity, "micro-batch beyond its capacity");
    for (int i = 0; i < length; ++i) positions[tokens++] = i;
    *starts++ = tokens;
  }
  descriptor[kTokens] = tokens;
  descriptor[kSequences] = static_cast<int32_t>(sequence_lengths.size());
}

void WriteMicrobatch(const StageLayout& layout, std::span<const int> sequence_lengths,
                     std::span<const int32_t> inputs, std::span<const int32_t> targets,
                     std::byte* batch) {
  DescribeMicrobatch(layout, sequence_lengths, batch);
  const int64_t tokens = ViewMicrobatch(layout, batch).tokens;
  BIRKHOFF_CHECK(static_cast<int64_t>(inputs.size()) == tokens && inputs.size() == targets.size(),
                 "a micro-batch has one input and one target for each token");
  const MicrobatchTokens space = TokensOf(layout, batch);
  std::copy(inputs.begin(), inputs.end(), space.inputs.begin());
  std::copy(targets.begin(), targets.end(), space.targets.begin());
}

Microbatch ViewMicrobatch(const StageLayout& layout, const std::byte* batch) {
  const int32_t* descriptor = Words(layout, batch, "descriptor");
  return {.tokens = descriptor[kTokens],
          .num_sequences = descriptor[kSequences],
          .sequence_starts = Words(layout, batch, "sequence_starts"),
          .positions = Words(layout, batch, "positions"),
          .inputs = Words(layout, batch, "inputs"),
          .targets = Words(layout, batch, "targets")};
}

}  // namespace birkhoff
