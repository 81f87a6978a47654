// birkhoff data tokenize: text or JSONL to token files.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/console.h"
#include "core/base/disk.h"
#include "core/format/token_file.h"

namespace birkhoff {

struct TokenizeOptions {
  std::vector<std::string> inputs;  // files, pipes, folders; plain or gzip
  bool jsonl = false;               // one JSON object per line, each a document; else a file is one
  std::string field = "text";       // of a JSONL object
  std::string tokenizer = "bytes";
  std::string output;  // path without extension
  TokenFormat format = TokenFormat::kMegatron;
  bool force = false;  // replace outputs that are there
  // Above 0: that share of the documents (IsHeldOut) goes to OUTPUT-val, the rest to OUTPUT-train.
  double validation_share = 0;
};

// Whether a document, counted from 0, is held out for validation: documents are counted off in runs
// of 1 / share, and a seeded hash of the run's number draws one of each.  So its length says
// nothing about where it goes, and the shares are kept.
bool IsHeldOut(int64_t document, double share);

// Each document ends with the tokenizer's end-of-document token.  The files written go to out, one
// per line; progress and the summary to err.  Errors name the file, and the line of JSONL, and
// leave nothing behind.
absl::Status Tokenize(const TokenizeOptions& options, Disk& disk, const Console& console);

}  // namespace birkhoff
