// The exit codes of every program: a contract that deploy/ and scripts use (README).
#pragma once

namespace birkhoff {

enum class ExitCode : int {
  kDone = 0,
  kBadSpec = 64,         // never right: spec, data, flags, a damaged checkpoint with none left
  kInternal = 70,        // a bug
  kInfrastructure = 71,  // disk, network, dead peers, out of attempts
  kFenced = 72,          // a newer attempt or incarnation has taken over
  kNumerics = 73,        // the stability guard gave up
  kStopped = 75,         // stopped by request after a committed checkpoint
};

}  // namespace birkhoff
