// birkhoff generate: text from trained weights.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/console.h"
#include "core/base/disk.h"
#include "worker/inference/generation.h"

namespace birkhoff {

struct GenerateOptions {
  std::string checkpoint;
  std::string tokenizer;  // empty: the run's
  GenerationOptions generation;
  std::string output;      // "" for people, or json
  bool printable = false;  // out is a terminal: what is no character is written as in C, "\x1b"
};

// Prompt and text go to out as they are made; or one JSON object when all is made, in which bytes
// that are no UTF-8 become U+FFFD and `tokens` are exact.  Words go to err.
absl::Status GenerateText(const GenerateOptions& options, Disk& disk, const Console& console);

}  // namespace birkhoff
