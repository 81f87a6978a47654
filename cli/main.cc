// birkhoff: wires the command line to the terminal.
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "cli/invocation.h"

namespace {

std::string DirectoryOfThisProgram() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string(".") : self.parent_path().string();
}

std::string Variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

// One whose cursor can be moved.
bool IsTerminal() { return ::isatty(STDERR_FILENO) == 1 && Variable("TERM") != "dumb"; }

// The first of these that is set counts (POSIX, 8.2).
bool IsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string locale = absl::AsciiStrToLower(Variable(name));
    if (locale.empty()) continue;
    return absl::StrContains(locale, "utf-8") || absl::StrContains(locale, "utf8");
  }
  return false;
}

int Main(int argc, char** argv) {
  ::setenv("OPENBLAS_NUM_THREADS", "1", 1);  // inherited by the workers: same sums everywhere
  birkhoff::Invocation invocation;
  invocation.console = {.out = &std::cout,
                        .err = &std::cerr,
                        .terminal = IsTerminal(),
                        .program_directory = DirectoryOfThisProgram(),
                        .in = &std::cin,
                        .unicode = IsUtf8()};
  if (argc > 0) invocation.console.command = argv[0];
  return birkhoff::RunProgram(argc, argv, std::move(invocation));
}

}  // namespace

int main(int argc, char** argv) { return birkhoff::RunMain("birkhoff", Main, argc, argv); }
