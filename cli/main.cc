// birkhoff: wires the command line to the terminal.
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "cli/program.h"

namespace {

std::string DirectoryOfThisProgram() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string(".") : self.parent_path().string();
}

int Main(int argc, char** argv) {
  ::setenv("OPENBLAS_NUM_THREADS", "1", 1);  // inherited by the workers: same sums everywhere
  birkhoff::Program program;
  program.console = {&std::cout, &std::cerr, ::isatty(STDERR_FILENO) == 1,
                     DirectoryOfThisProgram()};
  return birkhoff::RunProgram(argc, argv, std::move(program));
}

}  // namespace

int main(int argc, char** argv) { return birkhoff::RunMain("birkhoff", Main, argc, argv); }
