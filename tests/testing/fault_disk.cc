#include "tests/testing/fault_disk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"

namespace birkhoff::testing {
namespace {

std::string ParentOf(const std::string& path) { return path.substr(0, path.find_last_of('/')); }
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

FaultDisk::FaultDisk() : root_(std::make_shared<Node>()) { root_->is_directory = true; }
FaultDisk::~FaultDisk() = default;

void FaultDisk::FailFrom(int64_t operation) {
  absl::MutexLock lock(&mutex_);
  fail_from_ = operation;
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
  if (fail_from_ >= 0 && number >= fail_from_) return absl::InternalError("injected disk failure");
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

absl::StatusOr<std::string> FaultDisk::Read(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, Get(path, false));
  return node->bytes;
}

absl::StatusOr<std::string> FaultDisk::ReadRange(const std::string& path, int64_t offset,
                                                 int64_t length) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, Get(path, false));
  if (offset + length > static_cast<int64_t>(node->bytes.size())) {
    return absl::OutOfRangeError(absl::StrCat(path, ": beyond the end"));
  }
  return node->bytes.substr(offset, length);
}

absl::StatusOr<int64_t> FaultDisk::Size(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const NodePtr node, Get(path, false));
  return static_cast<int64_t>(node->bytes.size());
}

bool FaultDisk::Exists(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  return Find(path) != nullptr;
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

absl::Status FaultDisk::RemoveAll(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Operation());
  if (const NodePtr parent = Find(ParentOf(path)); parent != nullptr) {
    parent->entries.erase(NameOf(path));
  }
  return absl::OkStatus();
}

}  // namespace birkhoff::testing
