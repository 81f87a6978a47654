// Wrappers that pass every call on inside an Activity::Scope that names it.
#include "worker/watched.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

class WatchedWriter final : public WritableFile {
 public:
  WatchedWriter(std::unique_ptr<WritableFile> file, std::string path, Activity& activity)
      : file_(std::move(file)), path_(std::move(path)), activity_(activity) {}

  absl::Status Append(std::string_view bytes) override {
    const Activity::Scope scope(activity_, absl::StrCat("writes ", path_));
    return file_->Append(bytes);
  }
  absl::Status Sync() override {
    const Activity::Scope scope(activity_, absl::StrCat("syncs ", path_));
    return file_->Sync();
  }
  absl::Status Close() override {
    const Activity::Scope scope(activity_, absl::StrCat("closes ", path_));
    return file_->Close();
  }

 private:
  const std::unique_ptr<WritableFile> file_;
  const std::string path_;
  Activity& activity_;
};

class WatchedReader final : public ReadableFile {
 public:
  WatchedReader(std::unique_ptr<ReadableFile> file, std::string path, Activity& activity)
      : file_(std::move(file)), path_(std::move(path)), activity_(activity) {}

  absl::StatusOr<std::string> Read(int64_t limit) override {
    const Activity::Scope scope(activity_, absl::StrCat("reads ", path_));
    return file_->Read(limit);
  }

 private:
  const std::unique_ptr<ReadableFile> file_;
  const std::string path_;
  Activity& activity_;
};

class WatchedDisk final : public Disk {
 public:
  WatchedDisk(Disk& disk, Activity& activity) : disk_(disk), activity_(activity) {}

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    return Writer(path, &Disk::Create);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenAppend(const std::string& path) override {
    return Writer(path, &Disk::OpenAppend);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> CreateNew(const std::string& path) override {
    return Writer(path, &Disk::CreateNew);
  }
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenRead(const std::string& path) override {
    const Activity::Scope scope = At("opens", path);
    ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, disk_.OpenRead(path));
    return std::make_unique<WatchedReader>(std::move(file), path, activity_);
  }
  absl::StatusOr<std::string> Read(const std::string& path) override {
    const Activity::Scope scope = At("reads", path);
    return disk_.Read(path);
  }
  absl::StatusOr<std::string> ReadRange(const std::string& path, int64_t offset,
                                        int64_t length) override {
    const Activity::Scope scope = At("reads", path);
    return disk_.ReadRange(path, offset, length);
  }
  absl::StatusOr<int64_t> Size(const std::string& path) override {
    const Activity::Scope scope = At("looks at", path);
    return disk_.Size(path);
  }
  bool Exists(const std::string& path) override {
    const Activity::Scope scope = At("looks at", path);
    return disk_.Exists(path);
  }
  FileKind KindOf(const std::string& path) override {
    const Activity::Scope scope = At("looks at", path);
    return disk_.KindOf(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    const Activity::Scope scope = At("lists", directory);
    return disk_.List(directory);
  }
  absl::Status CreateDirectories(const std::string& path) override {
    const Activity::Scope scope = At("makes", path);
    return disk_.CreateDirectories(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    const Activity::Scope scope = At("renames", from);
    return disk_.Rename(from, to);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    const Activity::Scope scope = At("syncs", path);
    return disk_.SyncDirectory(path);
  }
  absl::Status RemoveFile(const std::string& path) override {
    const Activity::Scope scope = At("removes", path);
    return disk_.RemoveFile(path);
  }
  absl::Status RemoveDirectory(const std::string& path) override {
    const Activity::Scope scope = At("removes", path);
    return disk_.RemoveDirectory(path);
  }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    const Activity::Scope scope = At("locks", path);
    return disk_.Lock(path);
  }

 private:
  Activity::Scope At(const char* verb, const std::string& path) {
    return Activity::Scope(activity_, absl::StrCat(verb, " ", path));
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> Writer(
      const std::string& path,
      absl::StatusOr<std::unique_ptr<WritableFile>> (Disk::*open)(const std::string&)) {
    const Activity::Scope scope = At("opens", path);
    ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, (disk_.*open)(path));
    return std::make_unique<WatchedWriter>(std::move(file), path, activity_);
  }

  Disk& disk_;
  Activity& activity_;
};

class WatchedCouncil final : public Council {
 public:
  WatchedCouncil(Council& council, Activity& activity) : council_(council), activity_(activity) {
    for (int rank = 0; rank < council.size(); ++rank) {
      if (rank != council.index()) others_.push_back(rank);
    }
  }
  absl::Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const Activity::Scope scope(activity_, "agrees with all hosts", others_);
    return council_.AllGather(mine, all);
  }
  int size() const override { return council_.size(); }
  int index() const override { return council_.index(); }

 private:
  Council& council_;
  Activity& activity_;
  std::vector<int> others_;
};

class WatchedTransport final : public Transport {
 public:
  WatchedTransport(Transport& transport, Activity& activity)
      : transport_(transport), council_(transport.council(), activity) {}

  Link* link(int channel) override { return transport_.link(channel); }
  Group* group(const std::vector<int>& global_ranks) override {
    return transport_.group(global_ranks);
  }
  Council& council() override { return council_; }
  absl::Status status() const override { return transport_.status(); }
  void Abort(absl::Status reason) override { transport_.Abort(std::move(reason)); }

 private:
  Transport& transport_;
  WatchedCouncil council_;
};

}  // namespace

std::unique_ptr<Disk> WatchDisk(Disk& disk, Activity& activity) {
  return std::make_unique<WatchedDisk>(disk, activity);
}

std::unique_ptr<Transport> WatchTransport(Transport& transport, Activity& activity) {
  return std::make_unique<WatchedTransport>(transport, activity);
}

}  // namespace birkhoff
