// A disk in memory that knows what is durable, and can fail or lose power at any operation.
//
// Bytes are durable after Sync of their file, names after SyncDirectory of their directory: the
// strict reading of POSIX, stricter than most file systems.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/base/disk.h"

namespace birkhoff::testing {

// What survives a loss of power, beside what is durable.
enum class Survives { kOnlyDurable, kEverything };

// Thread-safe.  Paths are absolute ("/out/x").
class FaultDisk final : public Disk {
 public:
  FaultDisk();
  ~FaultDisk() override;

  // From the n-th changing operation on (0-based: Create, OpenAppend, Append, Sync, Close,
  // CreateNew, CreateDirectories, Rename, SyncDirectory, RemoveFile, RemoveDirectory, Lock), each
  // fails and changes nothing; an Append at n itself writes half of its bytes.  Negative: never.
  void FailFrom(int64_t operation);
  void FailAt(int64_t operation);  // this one alone
  int64_t num_operations() const;  // changing ones so far
  // Reading files whose paths hold these words is an input/output error; empty: of none.
  void FailReadsOf(const std::string& words);
  // Loses power and comes back, healthy.
  void Crash(Survives survives);
  // Changes bytes in place, as a bad disk does.
  void Edit(const std::string& path, const std::function<void(std::string&)>& change);

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
  // A whole tree, for the tests themselves; no operation of the disk.
  void RemoveTree(const std::string& path);
  // From here on the disk takes no more than this many bytes in all its files: an Append that does
  // not fit writes what fits and says RESOURCE_EXHAUSTED.  Negative: as many as come.
  void SetCapacity(int64_t bytes);
  int64_t NumBytes() const;  // of all files

 private:
  friend class FaultFile;
  friend class FaultLock;
  // A file or a directory, now and as it would be after a loss of power.
  struct Node {
    bool is_directory = false;
    bool locked = false;
    std::string bytes, durable_bytes;
    std::map<std::string, std::shared_ptr<Node>> entries, durable_entries;
  };
  using NodePtr = std::shared_ptr<Node>;

  // All need the lock.
  absl::Status Operation();  // counts; the injected error
  // Bytes that still fit.
  int64_t Room() const;
  static int64_t BytesOf(const Node& node);
  NodePtr Find(const std::string& path) const;
  absl::StatusOr<NodePtr> Get(const std::string& path, bool directory) const;
  absl::StatusOr<NodePtr> GetReadable(const std::string& path) const;
  absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path, bool truncate);
  static void Restore(Node& node, Survives survives);

  mutable absl::Mutex mutex_;
  NodePtr root_;
  int64_t operations_ = 0;
  int64_t fail_from_ = -1, fail_until_ = -1;
  int64_t capacity_ = -1;
  std::string unreadable_;
};

}  // namespace birkhoff::testing
