// The first bytes of a file say what it is; they are read ahead and handed on before the
// rest.  Gzip is inflated as it comes, member after member.
#include "cli/data/text_input.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPiece = 1 << 20;
constexpr absl::string_view kGzip = "\x1f\x8b";
constexpr size_t kLongestMagic = 6;

// Kinds of compression that are seen and not taken.
struct Refused {
  absl::string_view magic;
  const char* name;
  const char* command;
};
constexpr Refused kRefused[] = {{"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"},
                                {"\xfd"
                                 "7zXZ",
                                 "xz", "xz -dc"},
                                {"BZh", "bzip2", "bzip2 -dc"},
                                {"PK\x03\x04", "zip", "unzip -p"}};

absl::Status AddFolder(const std::string& folder, std::vector<std::string>* files) {
  std::error_code error;
  std::vector<std::string> below;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code unreadable;
    const fs::file_status status = entry->status(unreadable);
    if (fs::is_directory(status) && !entry->is_symlink()) continue;
    if (!fs::is_regular_file(status)) {
      return absl::InvalidArgumentError(absl::StrCat(
          entry->path().string(), ": is neither file nor folder; take it out of ", folder));
    }
    below.push_back(entry->path().string());
  }
  if (error) return absl::NotFoundError(absl::StrCat(folder, ": list: ", error.message()));
  if (below.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(folder, ": holds no files; need text"));
  }
  std::sort(below.begin(), below.end());
  files->insert(files->end(), below.begin(), below.end());
  return absl::OkStatus();
}

class PlainInput final : public TextInput {
 public:
  PlainInput(std::string first, std::unique_ptr<ReadableFile> file)
      : first_(std::move(first)), file_(std::move(file)) {}

  absl::StatusOr<std::string> Read() override {
    if (!first_.empty()) return std::exchange(first_, std::string());
    return file_->Read(kPiece);
  }

 private:
  std::string first_;  // read already, to see what it is
  const std::unique_ptr<ReadableFile> file_;
};

// Any number of gzip members one after the other, as parallel compressors write them.
class GzipInput final : public TextInput {
 public:
  GzipInput(std::string path, std::unique_ptr<TextInput> packed)
      : path_(std::move(path)), packed_(std::move(packed)) {}
  ~GzipInput() override {
    if (open_) inflateEnd(&stream_);
  }
  GzipInput(const GzipInput&) = delete;
  GzipInput& operator=(const GzipInput&) = delete;

  absl::StatusOr<std::string> Read() override {
    std::string text;
    while (text.empty()) {
      RETURN_IF_ERROR(Refill());
      if (input_.size() == used_) {
        if (inside_) return Damaged("ends in the middle");
        return text;
      }
      ASSIGN_OR_RETURN(text, Inflate());
    }
    return text;
  }

 private:
  absl::Status Damaged(absl::string_view what) const {
    return absl::DataLossError(absl::StrCat(path_, ": the gzip data ", what));
  }

  absl::Status Refill() {
    if (used_ < input_.size()) return absl::OkStatus();
    ASSIGN_OR_RETURN(input_, packed_->Read());
    used_ = 0;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Inflate() {
    if (!inside_) RETURN_IF_ERROR(BeginMember());
    std::string text(kPiece, '\0');
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data() + used_);
    stream_.avail_in = static_cast<uInt>(input_.size() - used_);
    stream_.next_out = reinterpret_cast<Bytef*>(text.data());
    stream_.avail_out = static_cast<uInt>(text.size());
    const int code = inflate(&stream_, Z_NO_FLUSH);
    used_ = input_.size() - stream_.avail_in;
    text.resize(text.size() - stream_.avail_out);
    if (code == Z_STREAM_END) inside_ = false;
    if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR) return text;
    return Damaged(stream_.msg == nullptr ? "is damaged" : stream_.msg);
  }

  absl::Status BeginMember() {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    const int code = open_ ? inflateReset(&stream_) : inflateInit2(&stream_, kGzipOnly);
    if (code != Z_OK) return absl::ResourceExhaustedError(absl::StrCat(path_, ": zlib: ", code));
    open_ = inside_ = true;
    return absl::OkStatus();
  }

  const std::string path_;
  const std::unique_ptr<TextInput> packed_;
  std::string input_;
  size_t used_ = 0;  // of input_
  z_stream stream_ = {};
  bool open_ = false;    // stream_ has memory
  bool inside_ = false;  // of a member that has not ended
};

}  // namespace

absl::StatusOr<std::vector<std::string>> FilesBelow(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) {
      RETURN_IF_ERROR(AddFolder(path, &files));
    } else {
      files.push_back(path);
    }
  }
  return files;
}

absl::StatusOr<std::unique_ptr<TextInput>> TextInput::Open(Disk& disk, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, disk.OpenRead(path));
  std::string first;
  while (first.size() < kLongestMagic) {  // a pipe gives what it has
    ASSIGN_OR_RETURN(const std::string more, file->Read(kPiece));
    if (more.empty()) break;
    first += more;
  }
  for (const Refused& refused : kRefused) {
    if (!absl::StartsWith(first, refused.magic)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": is compressed with ", refused.name, "; need text or gzip: ", refused.command, " ",
        path, " | birkhoff data tokenize --input /dev/stdin"));
  }
  const bool gzip = absl::StartsWith(first, kGzip);
  if (!gzip && absl::EndsWith(path, ".gz")) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not gzip, as its name says"));
  }
  std::unique_ptr<TextInput> input =
      std::make_unique<PlainInput>(std::move(first), std::move(file));
  if (!gzip) return input;
  return std::make_unique<GzipInput>(path, std::move(input));
}

absl::StatusOr<std::string> TextInput::ReadAll() {
  std::string all;
  while (true) {
    ASSIGN_OR_RETURN(const std::string more, Read());
    if (more.empty()) return all;
    all += more;
  }
}

}  // namespace birkhoff
