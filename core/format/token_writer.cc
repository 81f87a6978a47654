// Writing token files.  The tokens stream into PATH.bin.part; llm.c's header and Megatron's index
// need the final counts, so they are made by Prepare: the header goes before a copy of the tokens.
#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/token_file.h"
#include "core/format/token_layout.h"

namespace birkhoff {
namespace {

constexpr int64_t kCopyBytes = 1 << 20;

template <typename T>
void Put(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

TokenType TypeFor(TokenFormat format, int vocab_size) {
  if (vocab_size <= 1 << 16) return TokenType::kUint16;
  return format == TokenFormat::kMegatron ? TokenType::kInt32 : TokenType::kUint32;
}

}  // namespace

TokenWriter::TokenWriter(Disk& disk, const Options& options)
    : disk_(disk),
      options_(options),
      paths_(TokenPathsOf(options.path)),
      type_(TypeFor(options.format, options.vocab_size)) {}

absl::StatusOr<std::unique_ptr<TokenWriter>> TokenWriter::Create(Disk& disk,
                                                                 const Options& options) {
  std::unique_ptr<TokenWriter> writer(new TokenWriter(disk, options));
  RETURN_IF_ERROR(disk.CreateDirectories(ParentOf(writer->paths_.bin)));
  ASSIGN_OR_RETURN(writer->body_, disk.Create(writer->paths_.bin + ".part"));
  return writer;
}

absl::Status TokenWriter::AddDocument(std::span<const int32_t> tokens) {
  if (tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(absl::StrCat(paths_.bin, ": a document of ", tokens.size(),
                                                   " tokens; need fewer than 2^31"));
  }
  std::string bytes;
  bytes.reserve(tokens.size() * static_cast<size_t>(TokenBytes(type_)));
  for (const int32_t token : tokens) {
    if (token < 0 || token >= options_.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat(paths_.bin, ": token ", token, "; need 0 to ", options_.vocab_size - 1));
    }
    if (type_ == TokenType::kUint16) {
      Put(&bytes, static_cast<uint16_t>(token));
    } else {
      Put(&bytes, token);  // int32 and uint32 have the same bytes here
    }
  }
  RETURN_IF_ERROR(body_->Append(bytes));
  lengths_.push_back(static_cast<int32_t>(tokens.size()));
  num_tokens_ += static_cast<int64_t>(tokens.size());
  return absl::OkStatus();
}

std::string TokenWriter::IndexBytes() const {
  std::string index(kMegatronMagic, kMegatronMagicBytes);
  Put<uint64_t>(&index, 1);
  Put<uint8_t>(&index, static_cast<uint8_t>(type_));
  Put<uint64_t>(&index, lengths_.size());
  Put<uint64_t>(&index, lengths_.size() + 1);
  for (const int32_t length : lengths_) Put(&index, length);
  int64_t pointer = 0;
  for (const int32_t length : lengths_) {
    Put(&index, pointer);
    pointer += int64_t{length} * TokenBytes(type_);
  }
  for (size_t document = 0; document <= lengths_.size(); ++document) {
    Put(&index, static_cast<int64_t>(document));
  }
  return index;
}

TokenWriter::~TokenWriter() {
  if (!published_) RemoveParts();
}

void TokenWriter::RemoveParts() {
  for (const std::string& part :
       {paths_.bin + ".part", paths_.bin + ".whole", paths_.idx + ".part"}) {
    disk_.RemoveFile(part).IgnoreError();
  }
}

absl::Status TokenWriter::Finish() {
  RETURN_IF_ERROR(Prepare());
  return Publish();
}

absl::Status TokenWriter::Prepare() {
  RETURN_IF_ERROR(body_->Sync());
  RETURN_IF_ERROR(body_->Close());
  if (options_.format == TokenFormat::kLlmc) return PrepareLlmc();
  return WriteWhole(paths_.idx + ".part", IndexBytes());
}

absl::Status TokenWriter::Publish() {
  // An index left by another run would go with the new .bin, whatever its format.
  RETURN_IF_ERROR(disk_.RemoveFile(paths_.idx));
  const absl::Status status = Rename();
  published_ = status.ok();
  if (!status.ok()) Withdraw();
  return status;
}

absl::Status TokenWriter::Rename() {
  const bool whole = options_.format == TokenFormat::kLlmc;
  RETURN_IF_ERROR(disk_.Rename(paths_.bin + (whole ? ".whole" : ".part"), paths_.bin));
  named_ = true;
  if (!whole) RETURN_IF_ERROR(disk_.Rename(paths_.idx + ".part", paths_.idx));
  return disk_.SyncDirectory(ParentOf(paths_.bin));
}

void TokenWriter::Withdraw() {
  if (!named_) return;  // what stands there is not ours
  disk_.RemoveFile(paths_.idx).IgnoreError();
  disk_.RemoveFile(paths_.bin).IgnoreError();
}

absl::Status TokenWriter::PrepareLlmc() {
  if (num_tokens_ > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(paths_.bin, ": ", num_tokens_,
                                                   " tokens; an llm.c file holds at most 2^31 - 1; "
                                                   "use --format megatron or several files"));
  }
  const bool narrow = type_ == TokenType::kUint16;
  std::string header;
  Put(&header, narrow ? kLlmcMagic16 : kLlmcMagic32);
  Put(&header, narrow ? kLlmcVersion16 : kLlmcVersion32);
  Put(&header, static_cast<int32_t>(num_tokens_));
  header.resize(kLlmcHeaderBytes);

  const std::string body = paths_.bin + ".part", whole = paths_.bin + ".whole";
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, disk_.Create(whole));
  RETURN_IF_ERROR(file->Append(header));
  const int64_t size = num_tokens_ * TokenBytes(type_);
  for (int64_t at = 0; at < size; at += kCopyBytes) {
    ASSIGN_OR_RETURN(const std::string bytes,
                     disk_.ReadRange(body, at, std::min(kCopyBytes, size - at)));
    RETURN_IF_ERROR(file->Append(bytes));
  }
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(file->Close());
  return disk_.RemoveFile(body);
}

absl::Status TokenWriter::WriteWhole(const std::string& path, std::string_view bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, disk_.Create(path));
  RETURN_IF_ERROR(file->Append(bytes));
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace birkhoff
