// Files as a seam, so that tests can fail, tear and forget writes.  Paths are UTF-8; relative ones
// start at the working directory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace birkhoff {

// A file being written from its start.  Not thread-safe.  Bytes are durable only after Sync.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status Append(std::string_view bytes) = 0;
  virtual absl::Status Sync() = 0;   // fsync
  virtual absl::Status Close() = 0;  // without Sync; the destructor closes too and drops the error
};

// A file being read from its start, whatever it is: a pipe has no size.  Not thread-safe.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // The next bytes, at most `limit` (> 0) of them; none at the end of the file.
  virtual absl::StatusOr<std::string> Read(int64_t limit) = 0;
};

// Held as long as it lives, by the process at most.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// What a call of the operating system has said of a file: CodeOfErrno, path and action (if any)
// named, and marked as a disk's.
absl::Status DiskError(absl::string_view path, absl::string_view action, int error);
// Whether a disk that is full, read-only, away or broken has said so: neither a bug, nor wrong for
// ever.  The mark outlives Reworded, not another status made from its words.
bool IsDiskTrouble(const absl::Status& status);
// Whether what a disk says may become otherwise by waiting; bytes that are wrong do not.
bool MayPass(const absl::Status& status);

// What stands under a name itself; a symbolic link is kOther.
enum class FileKind { kNone, kFile, kDirectory, kOther };

// Thread-safe.  Errors carry the path: what CodeOfErrno makes of it; INVALID_ARGUMENT a directory
// is no file, nor is a pipe (but for OpenRead), DATA_LOSS a file is shorter than it was thought to
// be.
class Disk {
 public:
  virtual ~Disk() = default;
  // Create empties what is there, OpenAppend keeps it.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenAppend(const std::string& path) = 0;
  // ALREADY_EXISTS where the name is taken, be it by a symbolic link.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenRead(const std::string& path) = 0;
  virtual absl::StatusOr<std::string> Read(const std::string& path) = 0;
  virtual absl::StatusOr<std::string> ReadRange(const std::string& path, int64_t offset,
                                                int64_t length) = 0;
  virtual absl::StatusOr<int64_t> Size(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;  // a link: what it points to
  virtual FileKind KindOf(const std::string& path) = 0;
  // Names, sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  // Atomic; durable after SyncDirectory.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Of one name, never of what lies below it; OK when there is nothing.  A link goes, what it
  // points to stays.  Errors: FAILED_PRECONDITION a directory is no file; a directory is not empty.
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  virtual absl::Status RemoveDirectory(const std::string& path) = 0;
  // Of the file that has the name, which is made where there is none; it keeps its lock when it is
  // renamed.  FAILED_PRECONDITION: somebody else holds it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
};

// The operating system's files.
class PosixDisk final : public Disk {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenAppend(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenRead(const std::string& path) override;
  absl::StatusOr<std::string> Read(const std::string& path) override;
  absl::StatusOr<std::string> ReadRange(const std::string& path, int64_t offset,
                                        int64_t length) override;
  absl::StatusOr<int64_t> Size(const std::string& path) override;
  bool Exists(const std::string& path) override;
  FileKind KindOf(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
};

// Puts `bytes` under `path`, whole or not at all and durable: written beside as PATH.new, then
// renamed.  A symbolic link under either name is replaced, not followed.
absl::Status ReplaceFile(Disk& disk, const std::string& path, std::string_view bytes);
// The directory that holds a name: "." and "/" where the path has no other.
std::string ParentOf(const std::string& path);
// Whether `path` is `directory` or lies below it, however both are written; links are followed as
// far as the names exist.
bool LiesWithin(const std::string& path, const std::string& directory);

}  // namespace birkhoff
