// Reading token files: both formats end as one mapped array of tokens and, for Megatron, the starts
// of its documents.
#include "core/format/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
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
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
T LoadFrom(const std::string& bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// Calls visit(pointer to the first token as its own type).
template <typename Visitor>
auto VisitTokens(TokenType type, const std::byte* tokens, Visitor visit) {
  switch (type) {
    case TokenType::kUint8:
      return visit(tokens, uint8_t{});
    case TokenType::kInt8:
      return visit(tokens, int8_t{});
    case TokenType::kInt16:
      return visit(tokens, int16_t{});
    case TokenType::kInt32:
      return visit(tokens, int32_t{});
    case TokenType::kInt64:
      return visit(tokens, int64_t{});
    case TokenType::kUint16:
      return visit(tokens, uint16_t{});
    case TokenType::kUint32:
      return visit(tokens, uint32_t{});
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

// A whole file in the address space.
struct TokenFile::Mapping {
  const std::byte* data = nullptr;
  int64_t size = 0;
  ~Mapping() {
    if (size > 0) ::munmap(const_cast<std::byte*>(data), static_cast<size_t>(size));
  }
  static absl::StatusOr<std::unique_ptr<Mapping>> Open(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      const absl::StatusCode code =
          errno == EACCES ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kNotFound;
      return absl::Status(code, absl::StrCat(path, ": ", std::strerror(errno)));
    }
    struct stat info;
    const bool regular = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    auto mapping = std::make_unique<Mapping>();
    void* address = nullptr;
    if (regular && info.st_size > 0) {
      address = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, fd, 0);
    }
    ::close(fd);
    if (!regular) return absl::InvalidArgumentError(absl::StrCat(path, ": need a regular file"));
    if (address == MAP_FAILED) {
      return absl::ResourceExhaustedError(absl::StrCat(path, ": mmap: ", std::strerror(errno)));
    }
    mapping->data = static_cast<const std::byte*>(address);
    mapping->size = info.st_size;
    return mapping;
  }
};

TokenFile::TokenFile() = default;
TokenFile::~TokenFile() = default;

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  const TokenPaths paths = TokenPathsOf(path);
  std::unique_ptr<TokenFile> file(new TokenFile());
  file->bin_path_ = paths.bin;
  ASSIGN_OR_RETURN(file->mapping_, Mapping::Open(paths.bin));
  const bool has_index = ::access(paths.idx.c_str(), F_OK) == 0;
  RETURN_IF_ERROR(has_index ? file->ParseMegatron(paths.idx) : file->ParseLlmc());
  return file;
}

absl::Status TokenFile::ParseLlmc() {
  format_ = TokenFormat::kLlmc;
  const int64_t size = mapping_->size;
  if (size < kLlmcHeaderBytes) {
    return Malformed(bin_path_, size, "the file ends",
                     absl::StrCat(kLlmcHeaderBytes,
                                  " bytes of llm.c header, or a Megatron .idx beside the .bin"));
  }
  const auto magic = Load<int32_t>(mapping_->data);
  const auto version = Load<int32_t>(mapping_->data + 4);
  const auto count = Load<int32_t>(mapping_->data + 8);
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
  tokens_ = mapping_->data + tokens_offset_;
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
  if (num_tokens_ * TokenBytes(type_) != mapping_->size) {
    return Malformed(bin_path_, mapping_->size, "the file ends",
                     absl::StrCat(num_tokens_ * TokenBytes(type_), " bytes, as ", idx_path,
                                  " says: ", num_tokens_, " tokens of ", TokenBytes(type_)));
  }
  tokens_ = mapping_->data;
  return absl::OkStatus();
}

void TokenFile::Read(int64_t first, std::span<int32_t> out) const {
  const int64_t count = static_cast<int64_t>(out.size());
  BIRKHOFF_CHECK(first >= 0 && count <= num_tokens_ && first <= num_tokens_ - count,
                 "tokens outside the file");
  VisitTokens(type_, tokens_, [&](const std::byte* tokens, auto zero) {
    using T = decltype(zero);
    const std::byte* at = tokens + first * static_cast<int64_t>(sizeof(T));
    for (int32_t& token : out) {
      // Of signed types a negative value stays one, to be refused as no token.
      token = static_cast<int32_t>(Load<T>(at));  // NOLINT(bugprone-signed-char-misuse)
      at += sizeof(T);
    }
  });
}

absl::Status TokenFile::CheckVocabulary(int vocab_size) const {
  return VisitTokens(type_, tokens_, [&](const std::byte* tokens, auto zero) -> absl::Status {
    using T = decltype(zero);
    for (int64_t i = 0; i < num_tokens_; ++i) {
      const T token = Load<T>(tokens + i * static_cast<int64_t>(sizeof(T)));
      if (token >= T{0} && static_cast<uint64_t>(token) < static_cast<uint64_t>(vocab_size)) {
        continue;
      }
      return Malformed(
          bin_path_, tokens_offset_ + i * static_cast<int64_t>(sizeof(T)),
          absl::StrCat("token ", i, " is ", static_cast<int64_t>(token)),
          absl::StrCat("0 to ", vocab_size - 1, ", because model.vocab_size is ", vocab_size));
    }
    return absl::OkStatus();
  });
}

}  // namespace birkhoff
