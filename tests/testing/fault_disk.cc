// A tree of nodes, each with two states, now and durable: Sync copies the first over the second, a
// loss of power the second over the first.
#include "tests/testing/fault_disk.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"

namespace birkhoff::testing {
namespace {

std::string NameOf(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }
std::vector<std::string> PartsOf(const std::string& path) {
  return absl::StrSplit(path, '/', absl::SkipEmpty());
}

}  // namespace

class FaultFile final : public WritableFile {
 public:
  FaultFile(FaultDisk& disk, FaultDisk::NodePtr node) : disk_(disk), node_(std::move(node)) {}

  absl::Status Append(std::string_view bytes) override {
    absl::MutexLock lock(&disk_.mutex_);
    const bool torn = disk_.operations_ == disk_.fail_from_;
    const absl::Status status = disk_.Operation();
    if (const int64_t room = disk_.Room(); static_cast<int64_t>(bytes.size()) > room) {
      node_->bytes.append(bytes.substr(0, static_cast<size_t>(room)));
      return DiskError("the disk of the test", "write", ENOSPC);
    }
    if (status.ok()) node_->bytes.append(bytes);
    if (torn) node_->bytes.append(bytes.substr(0, bytes.size() / 2));
    return status;
  }
  absl::Status Sync() override {
    absl::MutexLock lock(&disk_.mutex_);
    RETURN_IF_ERROR(disk_.Operation());
    node_->durable_bytes = node_->bytes;
    return absl::OkStatus();
  }
  absl::Status Close() override {
    absl::MutexLock lock(&disk_.mutex_);
    return disk_.Operation();
  }

 private:
  FaultDisk& disk_;
  const FaultDisk::NodePtr node_;
};

class FaultReadableFile final : public ReadableFile {
 public:
  explicit FaultReadableFile(std::string bytes) : bytes_(std::move(bytes)) {}

  absl::StatusOr<std::string> Read(int64_t limit) override {
    const std::string next = bytes_.substr(at_, static_cast<size_t>(limit));
    at_ += next.size();
    return next;
  }

 private:
  const std::string bytes_;
  size_t at_ = 0;
};

FaultDisk::FaultDisk() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
FaultDisk::~FaultDisk() = default;

void FaultDisk::FailFrom(int64_t operation) {
  absl::MutexLock lock(&mutex_);
  fail_from_ = operation;
  fail_until_ = std::numeric_limits<int64_t>::max();
}

void FaultDisk::FailAt(int64_t operation) {
  absl::MutexLock lock(&mutex_);
  fail_from_ = fail_until_ = operation;
}

int64_t FaultDisk::num_operations() const {
  absl::MutexLock lock(&mutex_);
  return operations_;
}

void FaultDisk::Crash(Survives survives) {
  absl::MutexLock lock(&mutex_);
  Restore(*root_, survives);
  fail_from_ = -1;
}

void FaultDisk::Restore(Node& node, Survives survives) {
  if (survives == Survives::kOnlyDurable) {
    node.entries = node.durable_entries;
    node.bytes = node.durable_bytes;
  } else {
    node.durable_entries = node.entries;
    node.durable_bytes = node.bytes;
  }
  for (const auto& [name, child] : node.entries) Restore(*child, survives);
}

void FaultDisk::Edit(const std::string& path, const std::function<void(std::string&)>& change) {
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(path);
  change(node->bytes);
  node->durable_bytes = node->bytes;
}

absl::Status FaultDisk::Operation() {
  const int64_t number = operations_++;
  if (fail_from_ >= 0 && number >= fail_from_ && number <= fail_until_)
    return absl::InternalError("injected disk failure");
  return absl::OkStatus();
}

FaultDisk::NodePtr FaultDisk::Find(const std::string& path) const {
  NodePtr node = root_;
  for (const std::string& part : PartsOf(path)) {
    const auto next = node->entries.find(part);
    if (next == node->entries.end()) return nullptr;
    node = next->second;
  }
  return node;
}

absl::StatusOr<FaultDisk::NodePtr> FaultDisk::Get(const std::string& path, bool directory) const {
  const NodePtr node = Find(path);
  if (node == nullptr || node->is_directory != directory) {
    return absl::NotFoundError(absl::StrCat(path, ": no such ", directory ? "directory" : "file"));
  }
  return node;
}

absl::StatusOr<FaultDisk::NodePtr> FaultDisk::GetReadable(const std::string& path) const {
  const bool fails = !unreadable_.empty() && path.find(unreadable_) != std::string::npos;
  if (fails) return DiskError(path, "read", EIO);
  return Get(path, false);
}

void FaultDisk::FailReadsOf(const std::string& words) {
  absl::MutexLock lock(&mutex_);
  unreadable_ = words;
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultDisk::Open(const std::string& path,
                                                              bool truncate) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  ASSIGN_OR_RETURN(const NodePtr parent, Get(ParentOf(path), true));
  NodePtr& node = parent->entries[NameOf(path)];
  if (node == nullptr) node = std::make_shared<Node>();
  if (truncate) node->bytes.clear();
  return std::make_unique<FaultFile>(*this, node);
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultDisk::Create(const std::string& path) {
  return Open(path, true);
}
absl::StatusOr<std::unique_ptr<WritableFile>> FaultDisk::OpenAppend(const std::string& path) {
  return Open(path, false);
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultDisk::CreateNew(const std::string& path) {
  if (Exists(path)) return absl::AlreadyExistsError(absl::StrCat(path, ": is there"));
  return Open(path, true);
}

absl::StatusOr<std::unique_ptr<ReadableFile>> FaultDisk::OpenRead(const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, Read(path));
  return std::make_unique<FaultReadableFile>(std::move(bytes));
}

absl::StatusOr<std::string> FaultDisk::Read(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, GetReadable(path));
  return node->bytes;
}

absl::StatusOr<std::string> FaultDisk::ReadRange(const std::string& path, int64_t offset,
                                                 int64_t length) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, GetReadable(path));
  if (offset + length > static_cast<int64_t>(node->bytes.size())) {
    return absl::OutOfRangeError(absl::StrCat(path, ": beyond the end"));
  }
  return node->bytes.substr(offset, length);
}

absl::StatusOr<int64_t> FaultDisk::Size(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, GetReadable(path));
  return static_cast<int64_t>(node->bytes.size());
}

bool FaultDisk::Exists(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  return Find(path) != nullptr;
}

FileKind FaultDisk::KindOf(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(path);
  if (node == nullptr) return FileKind::kNone;
  return node->is_directory ? FileKind::kDirectory : FileKind::kFile;
}

void FaultDisk::SetCapacity(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  capacity_ = bytes;
}

int64_t FaultDisk::NumBytes() const {
  absl::MutexLock lock(&mutex_);
  return BytesOf(*root_);
}

int64_t FaultDisk::BytesOf(const Node& node) {
  auto bytes = static_cast<int64_t>(node.bytes.size());
  for (const auto& [name, child] : node.entries) bytes += BytesOf(*child);
  return bytes;
}

int64_t FaultDisk::Room() const {
  if (capacity_ < 0) return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(0, capacity_ - BytesOf(*root_));
}

absl::StatusOr<std::vector<std::string>> FaultDisk::List(const std::string& directory) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, Get(directory, true));
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

absl::Status FaultDisk::CreateDirectories(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  NodePtr node = root_;
  for (const std::string& part : PartsOf(path)) {
    NodePtr& next = node->entries[part];
    if (next == nullptr) {
      next = std::make_shared<Node>();
      next->is_directory = true;
    }
    node = next;
  }
  return absl::OkStatus();
}

absl::Status FaultDisk::Rename(const std::string& from, const std::string& to) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  const NodePtr node = Find(from);
  if (node == nullptr) return absl::NotFoundError(absl::StrCat(from, ": nothing to rename"));
  ASSIGN_OR_RETURN(const NodePtr target, Get(ParentOf(to), true));
  const auto there = target->entries.find(NameOf(to));
  if (there != target->entries.end() && !there->second->entries.empty()) {
    return absl::AlreadyExistsError(absl::StrCat(to, ": a directory that is not empty"));
  }
  Find(ParentOf(from))->entries.erase(NameOf(from));
  target->entries[NameOf(to)] = node;
  return absl::OkStatus();
}

absl::Status FaultDisk::SyncDirectory(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  ASSIGN_OR_RETURN(const NodePtr node, Get(path.empty() ? "/" : path, true));
  node->durable_entries = node->entries;
  return absl::OkStatus();
}

absl::Status FaultDisk::RemoveFile(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  const NodePtr node = Find(path);
  if (node == nullptr) return absl::OkStatus();
  if (node->is_directory) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is a directory; need a file"));
  }
  Find(ParentOf(path))->entries.erase(NameOf(path));
  return absl::OkStatus();
}

absl::Status FaultDisk::RemoveDirectory(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  const NodePtr node = Find(path);
  if (node == nullptr) return absl::OkStatus();
  if (!node->entries.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is not empty, and stays"));
  }
  Find(ParentOf(path))->entries.erase(NameOf(path));
  return absl::OkStatus();
}

class FaultLock final : public FileLock {
 public:
  FaultLock(FaultDisk& disk, FaultDisk::NodePtr node) : disk_(disk), node_(std::move(node)) {}
  ~FaultLock() override {
    absl::MutexLock lock(&disk_.mutex_);
    node_->locked = false;
  }

 private:
  FaultDisk& disk_;
  const FaultDisk::NodePtr node_;
};

absl::StatusOr<std::unique_ptr<FileLock>> FaultDisk::Lock(const std::string& path) {
  RETURN_IF_ERROR(Open(path, false).status());
  absl::MutexLock lock(&mutex_);
  const NodePtr node = Find(path);
  if (node->locked) return absl::FailedPreconditionError(absl::StrCat(path, ": is locked"));
  node->locked = true;
  return std::make_unique<FaultLock>(*this, node);
}

void FaultDisk::RemoveTree(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  if (const NodePtr parent = Find(ParentOf(path)); parent != nullptr) {
    parent->entries.erase(NameOf(path));
  }
}

}  // namespace birkhoff::testing
