// A verb of birkhoff, run as a library call.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "cli/invocation.h"

namespace birkhoff {

struct VerbResult {
  int code = 0;
  std::string out;
  std::string err;
};

// `words` without the program's name; `input` is what the standard input holds.
inline VerbResult RunVerb(const std::vector<std::string>& words, const std::string& input = "") {
  std::ostringstream out, err;
  std::istringstream in(input);
  Invocation invocation;
  invocation.console = {&out, &err, /*terminal=*/false, /*program_directory=*/"/nonexistent", &in};
  std::vector<const char*> argv = {"birkhoff"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  const int code = RunProgram(static_cast<int>(argv.size()), argv.data(), std::move(invocation));
  return {code, out.str(), err.str()};
}

}  // namespace birkhoff
