// PosixDisk: the Disk seam over open, write, fsync and rename.  Every error names path and call.
#include "core/base/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"

namespace birkhoff {

constexpr char kDisk[] = "birkhoff/disk";

absl::Status DiskError(absl::string_view path, absl::string_view action, int error) {
  absl::Status status(
      CodeOfErrno(error),
      absl::StrCat(path, ": ", action, action.empty() ? "" : ": ", std::strerror(error)));
  status.SetPayload(kDisk, absl::Cord());
  return status;
}

bool IsDiskTrouble(const absl::Status& status) {
  return status.GetPayload(kDisk).has_value() && MayPass(status);
}

bool MayPass(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status) ||
         absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

namespace {

// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.Release()) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> Open(const std::string& path, int flags) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return DiskError(path, "open", errno);
  return Descriptor(fd);
}

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  absl::Status Append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return DiskError(path_, "write", errno);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    if (::fsync(fd_.get()) != 0) return DiskError(path_, "fsync", errno);
    return absl::OkStatus();
  }
  absl::Status Close() override {
    const int fd = fd_.Release();
    if (fd >= 0 && ::close(fd) != 0) return DiskError(path_, "close", errno);
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  Descriptor fd_;
};

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  absl::StatusOr<std::string> Read(int64_t limit) override {
    std::string bytes(static_cast<size_t>(limit), '\0');
    ssize_t got = -1;
    do {
      got = ::read(fd_.get(), bytes.data(), bytes.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) return DiskError(path_, "read", errno);
    bytes.resize(static_cast<size_t>(got));
    return bytes;
  }

 private:
  const std::string path_;
  const Descriptor fd_;
};

absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path, int flags) {
  ASSIGN_OR_RETURN(Descriptor fd, Open(path, O_WRONLY | O_CREAT | flags));
  return std::make_unique<PosixWritableFile>(path, std::move(fd));
}

absl::StatusOr<int64_t> SizeOf(const std::string& path, int fd) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return DiskError(path, "stat", errno);
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory; need a file"));
  }
  if (S_ISFIFO(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a pipe; need a file"));
  }
  if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {  // perhaps without an end
    return absl::InvalidArgumentError(absl::StrCat(path, ": is a device; need a file"));
  }
  return static_cast<int64_t>(info.st_size);
}

// To the end, wherever that is: files of /proc say that their size is 0.
absl::StatusOr<std::string> ReadToEnd(const std::string& path, int fd) {
  constexpr size_t kPiece = 1 << 16;
  std::string bytes;
  while (true) {
    const size_t before = bytes.size();
    bytes.resize(before + kPiece);
    const ssize_t got = ::read(fd, bytes.data() + before, kPiece);
    bytes.resize(before + static_cast<size_t>(std::max<ssize_t>(0, got)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return DiskError(path, "read", errno);
    if (got == 0) return bytes;
  }
}

// Of a file that has a size.  Without waiting: a pipe has no writer perhaps, and SizeOf refuses it.
absl::StatusOr<Descriptor> OpenSized(const std::string& path) {
  return Open(path, O_RDONLY | O_NONBLOCK);
}

absl::StatusOr<std::string> ReadFrom(const std::string& path, int fd, int64_t offset,
                                     int64_t length) {
  std::string bytes(static_cast<size_t>(length), '\0');
  int64_t done = 0;
  while (done < length) {
    const ssize_t got = ::pread(fd, bytes.data() + done, static_cast<size_t>(length - done),
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return DiskError(path, "read", errno);
    if (got == 0) {
      return absl::DataLossError(absl::StrCat(path, ": ends at byte ", offset + done, "; need ",
                                              length, " bytes from byte ", offset));
    }
    done += got;
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<WritableFile>> PosixDisk::Create(const std::string& path) {
  return OpenForWriting(path, O_TRUNC);
}

absl::StatusOr<std::unique_ptr<WritableFile>> PosixDisk::OpenAppend(const std::string& path) {
  return OpenForWriting(path, O_APPEND);
}

absl::StatusOr<std::unique_ptr<WritableFile>> PosixDisk::CreateNew(const std::string& path) {
  return OpenForWriting(path, O_EXCL);  // which follows no link
}

absl::StatusOr<std::unique_ptr<ReadableFile>> PosixDisk::OpenRead(const std::string& path) {
  ASSIGN_OR_RETURN(Descriptor fd, Open(path, O_RDONLY));
  return std::make_unique<PosixReadableFile>(path, std::move(fd));
}

absl::StatusOr<std::string> PosixDisk::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const Descriptor fd, OpenSized(path));
  ASSIGN_OR_RETURN(const int64_t size, SizeOf(path, fd.get()));
  return size == 0 ? ReadToEnd(path, fd.get()) : ReadFrom(path, fd.get(), 0, size);
}

absl::StatusOr<std::string> PosixDisk::ReadRange(const std::string& path, int64_t offset,
                                                 int64_t length) {
  ASSIGN_OR_RETURN(const Descriptor fd, OpenSized(path));
  ASSIGN_OR_RETURN(const int64_t size, SizeOf(path, fd.get()));
  if (offset < 0 || length < 0 || offset > size || length > size - offset) {
    return absl::DataLossError(
        absl::StrCat(path, ": holds ", size, " bytes; need ", length, " bytes from byte ", offset));
  }
  return ReadFrom(path, fd.get(), offset, length);
}

absl::StatusOr<int64_t> PosixDisk::Size(const std::string& path) {
  ASSIGN_OR_RETURN(const Descriptor fd, OpenSized(path));
  return SizeOf(path, fd.get());
}

bool PosixDisk::Exists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

FileKind PosixDisk::KindOf(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return FileKind::kNone;
  if (S_ISREG(info.st_mode)) return FileKind::kFile;
  return S_ISDIR(info.st_mode) ? FileKind::kDirectory : FileKind::kOther;
}

absl::StatusOr<std::vector<std::string>> PosixDisk::List(const std::string& directory) {
  DIR* handle = ::opendir(directory.c_str());
  if (handle == nullptr) return DiskError(directory, "list", errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(handle)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(handle);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status PosixDisk::CreateDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return DiskError(path, "create directory", error.value());
  return absl::OkStatus();
}

absl::Status PosixDisk::Rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return DiskError(from, absl::StrCat("rename to ", to), errno);
}

absl::Status PosixDisk::SyncDirectory(const std::string& path) {
  ASSIGN_OR_RETURN(const Descriptor fd, Open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return DiskError(path, "fsync", errno);
  return absl::OkStatus();
}

absl::Status PosixDisk::RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno == EISDIR) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is a directory; need a file"));
  }
  return DiskError(path, "remove", errno);
}

absl::Status PosixDisk::RemoveDirectory(const std::string& path) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno == ENOTEMPTY || errno == EEXIST) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is not empty, and stays"));
  }
  return DiskError(path, "remove directory", errno);
}

absl::StatusOr<std::unique_ptr<FileLock>> PosixDisk::Lock(const std::string& path) {
  class Held final : public FileLock {
   public:
    explicit Held(Descriptor fd) : fd_(std::move(fd)) {}

   private:
    const Descriptor fd_;
  };
  while (true) {
    ASSIGN_OR_RETURN(Descriptor fd, Open(path, O_RDWR | O_CREAT | O_NOFOLLOW));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return DiskError(path, "flock", errno);
      return absl::FailedPreconditionError(absl::StrCat(path, ": is locked by another process"));
    }
    struct stat mine, there;
    if (::fstat(fd.get(), &mine) != 0) return DiskError(path, "stat", errno);
    // Replaced between open and lock: then this is the lock of a file that has no name any more.
    const bool current = ::stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino &&
                         mine.st_dev == there.st_dev;
    if (current) return std::make_unique<Held>(std::move(fd));
  }
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

namespace {

absl::Status WriteNew(Disk& disk, const std::string& path, std::string_view bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, disk.CreateNew(path));
  RETURN_IF_ERROR(file->Append(bytes));
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

// Absolute, without links as far as the names exist, without "." and "..".
std::filesystem::path Resolved(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  std::filesystem::path resolved = std::filesystem::weakly_canonical(absolute, error);
  if (error) resolved = absolute.lexically_normal();
  return resolved.has_filename() ? resolved : resolved.parent_path();  // no slash at the end
}

}  // namespace

bool LiesWithin(const std::string& path, const std::string& directory) {
  const std::filesystem::path inner = Resolved(path), outer = Resolved(directory);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

absl::Status ReplaceFile(Disk& disk, const std::string& path, std::string_view bytes) {
  const std::string fresh = absl::StrCat(path, ".new");
  RETURN_IF_ERROR(disk.RemoveFile(fresh));
  absl::Status status = WriteNew(disk, fresh, bytes);
  if (status.ok()) status = disk.Rename(fresh, path);
  if (status.ok()) return disk.SyncDirectory(ParentOf(path));
  disk.RemoveFile(fresh).IgnoreError();  // half a file only takes the room that others need
  return status;
}

}  // namespace birkhoff
