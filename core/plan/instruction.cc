// The words for streams; those for instructions stand in the table of ops.cc.
#include "core/plan/instruction.h"

namespace birkhoff {

const char* StreamName(StreamKind stream) {
  switch (stream) {
    case StreamKind::kCompute:
      return "compute";
    case StreamKind::kComputeHigh:
      return "compute-high";
    case StreamKind::kChannel:
      return "channel";
    case StreamKind::kCollective:
      return "collective";
    case StreamKind::kCopy:
      return "copy";
  }
  return "unknown";
}

}  // namespace birkhoff
