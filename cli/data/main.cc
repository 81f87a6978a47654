// birkhoff-data: wires the data verbs to the terminal.
#include <unistd.h>

#include <iostream>

#include "cli/data/data_program.h"
#include "core/base/exit_status.h"

namespace {

int Main(int argc, char** argv) {
  const birkhoff::Console console = {&std::cout, &std::cerr, ::isatty(STDERR_FILENO) == 1, ""};
  return birkhoff::RunDataProgram(argc, argv, console);
}

}  // namespace

int main(int argc, char** argv) { return birkhoff::RunMain("birkhoff data", Main, argc, argv); }
