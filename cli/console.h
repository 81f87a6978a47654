// Where a verb writes: data to `out`, words to `err`.  Tests give string streams.
#pragma once

#include <istream>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "core/base/exit_status.h"

namespace birkhoff {

struct Console {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool terminal = false;          // err is a terminal: progress may overwrite itself
  std::string program_directory;  // where birkhoff-worker and the others stand
  std::istream* in = nullptr;
  std::string command = "birkhoff";  // how this program was called: what people can type again
  bool unicode = false;              // err shows characters beyond ASCII
};

// Writes "birkhoff: MESSAGE" to err unless OK; returns the exit code of the process.
int Finish(const Console& console, const absl::Status& status);

// The last thing of a program: what is left of `out` is written.  Returns `code`, or 71 with a
// message where something could not be written (a full disk, a closed pipe).
int CloseOutput(const Console& console, int code);

// As one word of a shell: in quotes where it needs them.
std::string ShellWord(const std::string& text);

// "1.5 GB", "12.3 k": three digits, decimal units.
std::string ShortCount(double value);
std::string ShortBytes(double bytes);
// "1h 02m", "3m 05s", "12 s".
std::string ShortDuration(double seconds);

}  // namespace birkhoff
