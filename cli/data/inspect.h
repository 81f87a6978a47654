// birkhoff data inspect: what a token file holds.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/console.h"
#include "core/base/disk.h"

namespace birkhoff {

struct InspectOptions {
  std::string path;
  std::string tokenizer;  // empty: tokens are shown as numbers
  int vocab_size = 0;     // above 0: every token is checked
  int64_t first = 0;
  int64_t count = 32;  // tokens to show
  std::string output;  // "" for people, or json
};

absl::Status Inspect(const InspectOptions& options, Disk& disk, const Console& console);

}  // namespace birkhoff
