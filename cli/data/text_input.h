// Text as it lies about: files, pipes, folders, and what gzip has made of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/disk.h"

namespace birkhoff {

// The files that the given paths name: a folder is all the files below it, in the order of their
// names.  Errors: NOT_FOUND; INVALID_ARGUMENT a folder without files, or with something in it that
// is neither file nor folder.
absl::StatusOr<std::vector<std::string>> FilesBelow(const std::vector<std::string>& paths);

// One file from its start to its end, whether it has a size or not; gzip is taken apart by what the
// bytes say, not by the name.  Not thread-safe.
class TextInput {
 public:
  // INVALID_ARGUMENT: compressed in another way; names the command that takes it apart.
  static absl::StatusOr<std::unique_ptr<TextInput>> Open(Disk& disk, const std::string& path);
  virtual ~TextInput() = default;

  // Some more bytes; none at the end.  DATA_LOSS: a compressed file that is cut or damaged.
  virtual absl::StatusOr<std::string> Read() = 0;
  // All that is left.
  absl::StatusOr<std::string> ReadAll();
};

}  // namespace birkhoff
