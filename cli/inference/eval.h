// birkhoff eval: how well trained weights foretell a text.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "cli/console.h"
#include "core/base/disk.h"

namespace birkhoff {

struct EvalOptions {
  std::string checkpoint;
  std::string data;       // a token file; empty: the run's validation data
  std::string tokenizer;  // counts bytes; empty: the run's
  int64_t sequences = 0;  // 0: all
  std::string output;     // "" for people, or json
};

// The figures go to out, progress and what is missing for one of them to err.
absl::Status EvaluateModel(const EvalOptions& options, Disk& disk, const Console& console);

}  // namespace birkhoff
