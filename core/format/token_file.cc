// Reading token files: both formats end as one array of tokens in a file and, for Megatron, the
// starts of its documents.
#include "core/format/token_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/rounding.h"
#include "core/base/status_macros.h"
#include "core/format/checksum.h"
#include "core/format/token_layout.h"

namespace birkhoff {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

namespace {

absl::Status Malformed(const std::string& path, int64_t offset, const std::string& found,
                       const std::string& needed) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": byte ", offset, ": ", found, "; need ", needed));
}

bool IsKnownMegatronType(uint8_t code) {
  switch (static_cast<TokenType>(code)) {
    case TokenType::kUint8:
    case TokenType::kInt8:
    case TokenType::kInt16:
    case TokenType::kInt32:
    case TokenType::kInt64:
    case TokenType::kUint16:
      return true;
    default:
      return false;
  }
}

template <typename T>
T LoadFrom(const std::string& bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

constexpr int64_t kTokensAtOnce = 1 << 16;
constexpr int64_t kSamplePieces = 64;
constexpr int64_t kSampleBytes = 4096;

template <typename T>
void Widen(const std::string& bytes, int64_t* out) {
  for (size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    *out++ = static_cast<int64_t>(value);
  }
}

void WidenTokens(TokenType type, const std::string& bytes, int64_t* out) {
  switch (type) {
    case TokenType::kUint8:
      return Widen<uint8_t>(bytes, out);
    case TokenType::kInt8:
      return Widen<int8_t>(bytes, out);
    case TokenType::kInt16:
      return Widen<int16_t>(bytes, out);
    case TokenType::kInt32:
      return Widen<int32_t>(bytes, out);
    case TokenType::kInt64:
      return Widen<int64_t>(bytes, out);
    case TokenType::kUint16:
      return Widen<uint16_t>(bytes, out);
    case TokenType::kUint32:
      return Widen<uint32_t>(bytes, out);
  }
  BIRKHOFF_CHECK(false, "unknown token type");
}

// The header of an .idx file; the arrays behind it are reached by offset.
struct MegatronIndex {
  std::string bytes;
  TokenType type = TokenType::kUint16;
  int64_t num_sequences = 0;
  int64_t num_document_starts = 0;
  int64_t LengthOffset(int64_t sequence) const { return kMegatronHeaderBytes + 4 * sequence; }
  int64_t PointerOffset(int64_t sequence) const {
    return LengthOffset(num_sequences) + 8 * sequence;
  }
  int64_t DocumentOffset(int64_t document) const {
    return PointerOffset(num_sequences) + 8 * document;
  }
};

absl::StatusOr<MegatronIndex> ParseIndexHeader(const std::string& path, std::string bytes) {
  const int64_t size = static_cast<int64_t>(bytes.size());
  if (size < kMegatronHeaderBytes) {
    return Malformed(path, size, "the file ends",
                     absl::StrCat(kMegatronHeaderBytes, " bytes of Megatron header"));
  }
  if (bytes.compare(0, kMegatronMagicBytes, kMegatronMagic, kMegatronMagicBytes) != 0) {
    return Malformed(path, 0, "wrong magic", "MMIDIDX of a Megatron index");
  }
  if (const auto version = LoadFrom<uint64_t>(bytes, 9); version != 1) {
    return Malformed(path, 9, absl::StrCat("version ", version), "version 1");
  }
  const auto code = LoadFrom<uint8_t>(bytes, 17);
  if (!IsKnownMegatronType(code)) {
    return Malformed(path, 17, absl::StrCat("token type code ", static_cast<int>(code)),
                     "an integer type: 1, 2, 3, 4, 5 or 8");
  }
  const auto sequences = LoadFrom<uint64_t>(bytes, 18);
  const auto documents = LoadFrom<uint64_t>(bytes, 26);
  const uint64_t limit = static_cast<uint64_t>(size);  // each entry takes at least one byte
  const bool fits = sequences <= limit && documents <= limit &&
                    kMegatronHeaderBytes + 12 * sequences + 8 * documents == limit;
  if (!fits) {
    return Malformed(path, 18,
                     absl::StrCat(sequences, " sequences and ", documents,
                                  " document starts in a file of ", size, " bytes"),
                     "34 + 12 x sequences + 8 x document starts bytes (a file with sequence modes "
                     "is multimodal and cannot be read)");
  }
  MegatronIndex index;
  index.bytes = std::move(bytes);
  index.type = static_cast<TokenType>(code);
  index.num_sequences = static_cast<int64_t>(sequences);
  index.num_document_starts = static_cast<int64_t>(documents);
  return index;
}

// Sequences must lie back to back from byte 0, as Megatron's builder writes them: then the .bin is
// one array.  Returns the first token of each sequence and, last, the number of tokens.
absl::StatusOr<std::vector<int64_t>> SequenceStarts(const std::string& path,
                                                    const MegatronIndex& index) {
  const int64_t width = TokenBytes(index.type);
  std::vector<int64_t> starts = {0};
  starts.reserve(static_cast<size_t>(index.num_sequences) + 1);
  for (int64_t i = 0; i < index.num_sequences; ++i) {
    const auto length = LoadFrom<int32_t>(index.bytes, index.LengthOffset(i));
    if (length < 0) {
      return Malformed(path, index.LengthOffset(i),
                       absl::StrCat("sequence ", i, " has length ", length), "a length >= 0");
    }
    const auto pointer = LoadFrom<int64_t>(index.bytes, index.PointerOffset(i));
    if (pointer != starts.back() * width) {
      return Malformed(path, index.PointerOffset(i),
                       absl::StrCat("sequence ", i, " points to byte ", pointer, " of the .bin"),
                       absl::StrCat("byte ", starts.back() * width, ", where the one before ends"));
    }
    starts.push_back(starts.back() + length);
  }
  return starts;
}

absl::StatusOr<std::vector<int64_t>> DocumentStarts(const std::string& path,
                                                    const MegatronIndex& index,
                                                    const std::vector<int64_t>& sequences) {
  std::vector<int64_t> starts;
  int64_t last = 0;
  for (int64_t i = 0; i < index.num_document_starts; ++i) {
    const auto sequence = LoadFrom<int64_t>(index.bytes, index.DocumentOffset(i));
    const bool good = i == 0 ? sequence == 0 : sequence >= last && sequence <= index.num_sequences;
    if (!good) {
      return Malformed(path, index.DocumentOffset(i),
                       absl::StrCat("document ", i, " starts at sequence ", sequence),
                       absl::StrCat("ascending sequences from 0 to ", index.num_sequences));
    }
    starts.push_back(sequences[static_cast<size_t>(sequence)]);
    last = sequence;
  }
  if (index.num_document_starts == 0 || last != index.num_sequences) {
    return Malformed(path,
                     index.DocumentOffset(std::max<int64_t>(0, index.num_document_starts - 1)),
                     absl::StrCat("the last document ends at sequence ", last),
                     absl::StrCat("sequence ", index.num_sequences));
  }
  return starts;
}

}  // namespace

int TokenBytes(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
    case TokenType::kInt8:
      return 1;
    case TokenType::kInt16:
    case TokenType::kUint16:
      return 2;
    case TokenType::kInt32:
    case TokenType::kUint32:
      return 4;
    case TokenType::kInt64:
      return 8;
  }
  BIRKHOFF_CHECK(false, "unknown token type");
}

const char* TokenTypeName(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return "uint8";
    case TokenType::kInt8:
      return "int8";
    case TokenType::kInt16:
      return "int16";
    case TokenType::kInt32:
      return "int32";
    case TokenType::kInt64:
      return "int64";
    case TokenType::kUint16:
      return "uint16";
    case TokenType::kUint32:
      return "uint32";
  }
  BIRKHOFF_CHECK(false, "unknown token type");
}

TokenPaths TokenPathsOf(std::string_view path) {
  if (path.ends_with(".bin") || path.ends_with(".idx")) path.remove_suffix(4);
  const std::string stem(path);
  return {stem, stem + ".bin", stem + ".idx"};
}

class TokenFile::Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

TokenFile::TokenFile() = default;
TokenFile::~TokenFile() = default;

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  const TokenPaths paths = TokenPathsOf(path);
  std::unique_ptr<TokenFile> file(new TokenFile());
  file->bin_path_ = paths.bin;
  // Without waiting: a pipe has no writer perhaps, and is refused below.
  const int fd = ::open(paths.bin.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return DiskError(paths.bin, "", errno);
  file->file_ = std::make_unique<const Descriptor>(fd);
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(paths.bin, ": need a regular file"));
  }
  file->size_ = info.st_size;
  const bool has_index = ::access(paths.idx.c_str(), F_OK) == 0;
  RETURN_IF_ERROR(has_index ? file->ParseMegatron(paths.idx) : file->ParseLlmc());
  return file;
}

absl::StatusOr<std::string> TokenFile::ReadBytes(int64_t offset, int64_t length) const {
  std::string bytes(static_cast<size_t>(length), '\0');
  for (int64_t done = 0; done < length;) {
    const ssize_t got = ::pread(file_->get(), bytes.data() + done,
                                static_cast<size_t>(length - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return DiskError(bin_path_, "read", errno);
    if (got == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(bin_path_, ": ends at byte ", offset + done, "; it had ", size_,
                       " bytes when it was opened, and must not be changed while it is used"));
    }
    done += got;
  }
  return bytes;
}

absl::Status TokenFile::ParseLlmc() {
  format_ = TokenFormat::kLlmc;
  const int64_t size = size_;
  if (size < kLlmcHeaderBytes) {
    return Malformed(bin_path_, size, "the file ends",
                     absl::StrCat(kLlmcHeaderBytes,
                                  " bytes of llm.c header, or a Megatron .idx beside the .bin"));
  }
  ASSIGN_OR_RETURN(const std::string header, ReadBytes(0, kLlmcHeaderBytes));
  const auto magic = LoadFrom<int32_t>(header, 0);
  const auto version = LoadFrom<int32_t>(header, 4);
  const auto count = LoadFrom<int32_t>(header, 8);
  if (magic != kLlmcMagic16 && magic != kLlmcMagic32) {
    return Malformed(bin_path_, 0, absl::StrCat("magic ", magic),
                     absl::StrCat("llm.c's ", kLlmcMagic16, " or ", kLlmcMagic32,
                                  ", or a Megatron .idx beside the .bin"));
  }
  const int needed_version = magic == kLlmcMagic16 ? kLlmcVersion16 : kLlmcVersion32;
  if (version != needed_version) {
    return Malformed(bin_path_, 4, absl::StrCat("version ", version),
                     absl::StrCat("version ", needed_version, " with magic ", magic));
  }
  type_ = magic == kLlmcMagic16 ? TokenType::kUint16 : TokenType::kUint32;
  const int64_t held = size - kLlmcHeaderBytes;
  if (count < 0 || held != int64_t{count} * TokenBytes(type_)) {
    return Malformed(bin_path_, 8,
                     absl::StrCat(count, " tokens of ", TokenBytes(type_), " bytes, but ", held,
                                  " bytes follow the header"),
                     "as many as the header says");
  }
  num_tokens_ = count;
  tokens_offset_ = kLlmcHeaderBytes;
  return absl::OkStatus();
}

absl::Status TokenFile::ParseMegatron(const std::string& idx_path) {
  format_ = TokenFormat::kMegatron;
  PosixDisk disk;
  ASSIGN_OR_RETURN(std::string bytes, disk.Read(idx_path));
  ASSIGN_OR_RETURN(const MegatronIndex index, ParseIndexHeader(idx_path, std::move(bytes)));
  ASSIGN_OR_RETURN(const std::vector<int64_t> sequences, SequenceStarts(idx_path, index));
  ASSIGN_OR_RETURN(documents_, DocumentStarts(idx_path, index, sequences));
  type_ = index.type;
  num_tokens_ = sequences.back();
  if (num_tokens_ * TokenBytes(type_) != size_) {
    return Malformed(bin_path_, size_, "the file ends",
                     absl::StrCat(num_tokens_ * TokenBytes(type_), " bytes, as ", idx_path,
                                  " says: ", num_tokens_, " tokens of ", TokenBytes(type_)));
  }
  return absl::OkStatus();
}

absl::Status TokenFile::ReadWide(int64_t first, std::span<int64_t> out) const {
  const int64_t count = static_cast<int64_t>(out.size());
  BIRKHOFF_CHECK(first >= 0 && count <= num_tokens_ && first <= num_tokens_ - count,
                 "tokens outside the file");
  const int64_t width = TokenBytes(type_);
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadBytes(tokens_offset_ + first * width, count * width));
  WidenTokens(type_, bytes, out.data());
  return absl::OkStatus();
}

absl::Status TokenFile::CheckToken(int64_t index, int64_t token, int vocab_size) const {
  if (token >= 0 && token < vocab_size) return absl::OkStatus();
  return Malformed(
      bin_path_, tokens_offset_ + index * TokenBytes(type_),
      absl::StrCat("token ", index, " is ", token),
      absl::StrCat("0 to ", vocab_size - 1, ", because model.vocab_size is ", vocab_size));
}

absl::Status TokenFile::Read(int64_t first, std::span<int32_t> out, int vocab_size) const {
  std::vector<int64_t> wide(out.size());
  RETURN_IF_ERROR(ReadWide(first, wide));
  for (size_t i = 0; i < wide.size(); ++i) {
    RETURN_IF_ERROR(CheckToken(first + static_cast<int64_t>(i), wide[i], vocab_size));
    out[i] = static_cast<int32_t>(wide[i]);
  }
  return absl::OkStatus();
}

absl::Status TokenFile::CheckVocabulary(int vocab_size) const {
  std::vector<int64_t> wide(static_cast<size_t>(std::min(kTokensAtOnce, num_tokens_)));
  int64_t largest = 0;
  absl::Status first_wrong;
  for (int64_t at = 0; at < num_tokens_; at += kTokensAtOnce) {
    const std::span<int64_t> some =
        std::span(wide).first(static_cast<size_t>(std::min(kTokensAtOnce, num_tokens_ - at)));
    RETURN_IF_ERROR(ReadWide(at, some));
    const auto [low, high] = std::ranges::minmax(some);
    largest = std::max(largest, high);
    if (!first_wrong.ok() || (low >= 0 && high < vocab_size)) continue;
    for (size_t i = 0; first_wrong.ok(); ++i) {
      first_wrong = CheckToken(at + static_cast<int64_t>(i), some[i], vocab_size);
    }
  }
  if (first_wrong.ok()) return first_wrong;
  return absl::InvalidArgumentError(absl::StrCat(std::string(first_wrong.message()),
                                                 "; the largest token of the file is ", largest));
}

absl::StatusOr<std::string> TokenFile::SampleChecksum() const {
  Checksum checksum;
  checksum.Update(absl::StrCat(size_, ";"));
  const int64_t length = std::min(kSampleBytes, size_);
  const int64_t pieces =
      size_ <= kSamplePieces * kSampleBytes ? CeilDivide(size_, kSampleBytes) : kSamplePieces;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    // The last begins where it ends with the file.
    const int64_t offset = pieces == 1 ? 0 : (size_ - length) / (pieces - 1) * piece;
    const bool last = piece == pieces - 1;
    ASSIGN_OR_RETURN(const std::string bytes, ReadBytes(last ? size_ - length : offset, length));
    checksum.Update(bytes);
  }
  return checksum.Hex();
}

absl::StatusOr<TokenFacts> FactsOf(const TokenFile& file) {
  ASSIGN_OR_RETURN(const std::string sample, file.SampleChecksum());
  return TokenFacts{file.path(), file.num_tokens(), TokenTypeName(file.type()), sample};
}

}  // namespace birkhoff
