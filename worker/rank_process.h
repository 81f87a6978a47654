// The rank process: takes its assignment from the pipe to its supervisor, joins its peers, trains.
#pragma once

#include <string>

#include "core/base/exit_code.h"

namespace birkhoff {

// What a rank computes with.
struct RankOptions {
  std::string device;  // as FindLocalDevice names it
  int threads = 1;     // on the CPU (kernels/device.h)
  bool graphs = true;  // replays steps as graphs, where it can (Rank::Environment)
  std::string card;    // file with the algorithms of its products; empty: none
};

// Owns `fd`, one end of a socket pair.  The last frame it writes is a RankExited that says why it
// ends.  Ends the process itself where the supervisor is gone.
ExitCode RunRankProcess(int fd, const RankOptions& options);

}  // namespace birkhoff
