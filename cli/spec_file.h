// A job file as the verbs use it: read, overridden, judged, with absolute paths.
#pragma once

#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/disk.h"
#include "core/spec/job_spec.h"
#include "core/spec/problem.h"

namespace birkhoff {

struct SpecFile {
  std::string path;                    // "-": `in`
  std::vector<std::string> overrides;  // "path=value"
  bool spec_only = false;              // leave the files that the spec names alone
  bool skip_tokens = false;            // somebody else looks at its token files
  std::istream* in = nullptr;          // the standard input
  std::optional<std::string> text =
      std::nullopt;  // what it holds, where that has been read (KeepText)

  std::string ShownPath() const { return path == "-" ? "standard input" : path; }
  // Whether it can be read once only.
  bool IsPipe() const;
};

// Reads and judges a job file, then resolves the vocabulary and makes all paths absolute, so that
// workers elsewhere on the machine read the same files.  Everything that is wrong is in `problems`;
// `spec` can run only when there is none.
std::vector<Problem> ReadSpecFile(const SpecFile& file, Disk& disk, JobSpec* spec);

// For who reads it several times, under several overrides: a pipe can be read once only.  What
// cannot be read is left to ReadSpecFile to tell.
void KeepText(Disk& disk, SpecFile* file);

// Whether the token files of a sound spec can be read, fit the vocabulary and are long enough.
// Looks at every token.
std::vector<Problem> CheckTokenFiles(const JobSpec& spec);

// One sentence where a sound spec asks for more validation samples than its files hold; else empty.
std::string ValidationNotice(const JobSpec& spec);

// The number of pieces of a SentencePiece .model.  INVALID_ARGUMENT: the file is no such model.
absl::StatusOr<int> CountPieces(Disk& disk, const std::string& path);

// `path` from the working directory on; empty stays empty.
std::string AbsolutePath(const std::string& path);

}  // namespace birkhoff
