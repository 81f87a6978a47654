// What must have finished before what inside one rank's program: stream order plus waits.
#pragma once

#include <utility>
#include <vector>

#include "core/plan/instruction.h"

namespace birkhoff {

// A vector clock per instruction, over the streams of the program.  Built by appending the
// instructions in program order; waits name earlier indices.
class ProgramOrder {
 public:
  // Collects the streams that `program` uses; appends nothing yet.
  explicit ProgramOrder(const std::vector<Instruction>& program);

  // Appends the next instruction of the stream.
  void Append(StreamKind stream, int channel, const std::vector<int>& waits);

  // Keeps those of `dependencies` (earlier indices) that an instruction appended next to the stream
  // would not follow anyway: the fewest waits that order it after all of them, ascending.
  void KeepNeededWaits(StreamKind stream, int channel, std::vector<int>* dependencies);

  // True if `earlier` has finished whenever `later` starts.  Both appended; an instruction does not
  // precede itself.
  bool Before(int earlier, int later) const;

  // The latest instruction appended to the stream, -1 for none.
  int LastOf(StreamKind stream, int channel) const;

 private:
  int StreamIndex(StreamKind stream, int channel) const;
  void Merge(int* clock, int finished) const;

  std::vector<std::pair<StreamKind, int>> streams_;
  std::vector<int> last_of_stream_;
  std::vector<int> stream_of_;  // by instruction
  std::vector<int> clocks_;     // [instruction][stream]: largest index known to be over, or -1
  std::vector<int> scratch_;    // a clock
};

}  // namespace birkhoff
