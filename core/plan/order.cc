// Vector clocks: an instruction knows what its predecessor in the stream and its waits have known,
// so that Before is one comparison.
#include "core/plan/order.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "core/base/check.h"

namespace birkhoff {
namespace {

// Streams other than channels are one per rank, whatever `channel` says.
std::pair<StreamKind, int> Key(StreamKind stream, int channel) {
  return {stream, stream == StreamKind::kChannel ? channel : -1};
}

}  // namespace

ProgramOrder::ProgramOrder(const std::vector<Instruction>& program) {
  for (const Instruction& instruction : program) {
    const auto key = Key(instruction.stream, instruction.channel);
    if (std::find(streams_.begin(), streams_.end(), key) == streams_.end()) {
      streams_.push_back(key);
    }
  }
  last_of_stream_.assign(streams_.size(), -1);
  stream_of_.reserve(program.size());
  clocks_.reserve(program.size() * streams_.size());
}

int ProgramOrder::StreamIndex(StreamKind stream, int channel) const {
  const auto found = std::find(streams_.begin(), streams_.end(), Key(stream, channel));
  BIRKHOFF_CHECK(found != streams_.end(), "a stream of the program");
  return static_cast<int>(found - streams_.begin());
}

// Adds to `clock` that `finished` and all it followed are over.
void ProgramOrder::Merge(int* clock, int finished) const {
  const int* known = &clocks_[finished * streams_.size()];
  for (size_t s = 0; s < streams_.size(); ++s) clock[s] = std::max(clock[s], known[s]);
  int& own = clock[stream_of_[finished]];
  own = std::max(own, finished);
}

void ProgramOrder::Append(StreamKind stream, int channel, const std::vector<int>& waits) {
  const int index = StreamIndex(stream, channel);
  clocks_.resize(clocks_.size() + streams_.size(), -1);
  int* clock = &clocks_[stream_of_.size() * streams_.size()];
  if (last_of_stream_[index] >= 0) Merge(clock, last_of_stream_[index]);
  for (const int wait : waits) Merge(clock, wait);
  last_of_stream_[index] = static_cast<int>(stream_of_.size());
  stream_of_.push_back(index);
}

void ProgramOrder::KeepNeededWaits(StreamKind stream, int channel, std::vector<int>* dependencies) {
  scratch_.assign(streams_.size(), -1);
  if (const int last = last_of_stream_[StreamIndex(stream, channel)]; last >= 0) {
    Merge(scratch_.data(), last);
  }
  std::sort(dependencies->begin(), dependencies->end(), std::greater<>());
  size_t kept = 0;
  for (const int dependency : *dependencies) {
    if (scratch_[stream_of_[dependency]] >= dependency) continue;
    Merge(scratch_.data(), dependency);
    (*dependencies)[kept++] = dependency;
  }
  dependencies->resize(kept);
  std::reverse(dependencies->begin(), dependencies->end());
}

bool ProgramOrder::Before(int earlier, int later) const {
  return clocks_[later * streams_.size() + stream_of_[earlier]] >= earlier;
}

int ProgramOrder::LastOf(StreamKind stream, int channel) const {
  const auto found = std::find(streams_.begin(), streams_.end(), Key(stream, channel));
  return found == streams_.end() ? -1 : last_of_stream_[found - streams_.begin()];
}

}  // namespace birkhoff
