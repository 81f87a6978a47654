// birkhoff-inference: wires generate and eval to the terminal.
#include <unistd.h>

#include <iostream>

#include "cli/inference/inference_program.h"
#include "core/base/exit_status.h"

namespace {

int Main(int argc, char** argv) {
  const birkhoff::Console console = {&std::cout, &std::cerr, ::isatty(STDERR_FILENO) == 1, ""};
  return birkhoff::RunInferenceProgram(argc, argv, console, ::isatty(STDOUT_FILENO) == 1);
}

}  // namespace

int main(int argc, char** argv) { return birkhoff::RunMain("birkhoff", Main, argc, argv); }
