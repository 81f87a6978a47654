// The rank process: takes its assignment from the pipe to its supervisor, joins its peers, trains.
#pragma once

#include <string>

#include "core/base/exit_code.h"

namespace birkhoff {

// Owns `fd`, one end of a socket pair; `device` as FindLocalDevice names it.  The last frame it
// writes is a RankExited that says why it ends.  Ends the process itself where the supervisor is
// gone.
ExitCode RunRankProcess(int fd, const std::string& device, int threads);

}  // namespace birkhoff
