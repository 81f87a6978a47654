// Writing: the header goes first, with the checksums of all tensors.  Reading: no number in it is
// trusted, and what the JSON library throws ends in ParseHeader.
#include "core/format/shard.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/checksum.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMetadata[] = "__metadata__";
constexpr char kChecksumPrefix[] = "checksum.";
constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the safetensors library

std::string_view BytesOf(const TensorView& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), static_cast<size_t>(tensor.NumBytes())};
}

std::string MakeHeader(std::span<const TensorView> tensors) {
  Json header = Json::object();
  Json metadata = Json::object();
  for (const TensorView& tensor : tensors) {
    metadata[absl::StrCat(kChecksumPrefix, tensor.name)] = ChecksumOf(BytesOf(tensor));
  }
  header[kMetadata] = std::move(metadata);
  int64_t end = 0;
  for (const TensorView& tensor : tensors) {
    const int64_t begin = end;
    end += tensor.NumBytes();
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
  const uint64_t length = text.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + text;
}

absl::Status DamagedShard(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

// Length and JSON, as they stand in the file.
absl::StatusOr<std::string> ReadHeaderBytes(Disk& disk, const std::string& path, int64_t size) {
  if (size < kLengthBytes)
    return DamagedShard(path, absl::StrCat("cut short after ", size, " bytes"));
  ASSIGN_OR_RETURN(const std::string prefix, disk.ReadRange(path, 0, kLengthBytes));
  uint64_t length;
  std::memcpy(&length, prefix.data(), sizeof(length));
  if (length > kMaxHeaderBytes || static_cast<int64_t>(length) > size - kLengthBytes) {
    return DamagedShard(path,
                        absl::StrCat("the header says it has ", length, " bytes; the file has ",
                                     size - kLengthBytes, " after the length"));
  }
  return disk.ReadRange(path, 0, kLengthBytes + static_cast<int64_t>(length));
}

// A count of bytes.  Throws where it is none: sums of these never overflow.
int64_t Bytes(const Json& number) {
  constexpr uint64_t kMost = uint64_t{1} << 60;
  if (!number.is_number_unsigned() || number.get<uint64_t>() > kMost) {
    throw std::out_of_range(absl::StrCat("data_offsets hold ", number.dump()));
  }
  return static_cast<int64_t>(number.get<uint64_t>());
}

// One entry of the header.  Throws what the JSON library throws.
StoredTensorInfo ParseTensor(const Json& entry, int64_t data_begin) {
  StoredTensorInfo info;
  info.dtype = entry.at("dtype").get<std::string>();
  info.shape = entry.at("shape").get<std::vector<int64_t>>();
  const Json& offsets = entry.at("data_offsets");
  info.offset = data_begin + Bytes(offsets.at(0));
  info.bytes = Bytes(offsets.at(1)) - Bytes(offsets.at(0));
  return info;
}

absl::StatusOr<ShardHeader> ParseHeader(const std::string& path, const std::string& bytes,
                                        int64_t file_bytes) {
  ShardHeader header;
  header.file_bytes = file_bytes;
  header.checksum = ChecksumOf(bytes);
  const auto data_begin = static_cast<int64_t>(bytes.size());
  try {
    const Json json = Json::parse(bytes.begin() + kLengthBytes, bytes.end());
    for (const auto& [name, entry] : json.items()) {
      if (name == kMetadata) continue;
      StoredTensorInfo info = ParseTensor(entry, data_begin);
      if (info.offset < data_begin || info.bytes < 0 || info.offset > file_bytes - info.bytes) {
        return DamagedShard(path, absl::StrCat("tensor ", name, " lies outside of the file's ",
                                               file_bytes, " bytes"));
      }
      if (json.contains(kMetadata)) {
        info.checksum = json[kMetadata].value(absl::StrCat(kChecksumPrefix, name), std::string());
      }
      header.tensors.emplace(name, std::move(info));
    }
  } catch (const std::exception& error) {  // what is not JSON, or has another shape
    return DamagedShard(path, absl::StrCat("the header cannot be read: ", error.what()));
  }
  return header;
}

}  // namespace

int64_t TensorView::NumBytes() const {
  int64_t bytes = sizeof(float);
  for (const int64_t extent : shape) bytes *= extent;
  return bytes;
}

absl::StatusOr<WrittenShard> WriteShard(Disk& disk, const std::string& path,
                                        std::span<const TensorView> tensors) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, disk.Create(path));
  Checksum checksum;
  WrittenShard written;
  const auto append = [&](std::string_view bytes) {
    checksum.Update(bytes);
    written.bytes += static_cast<int64_t>(bytes.size());
    return file->Append(bytes);
  };
  RETURN_IF_ERROR(append(MakeHeader(tensors)));
  for (const TensorView& tensor : tensors) RETURN_IF_ERROR(append(BytesOf(tensor)));
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(file->Close());
  written.checksum = checksum.Hex();
  return written;
}

absl::StatusOr<ShardHeader> ReadShardHeader(Disk& disk, const std::string& path) {
  const absl::StatusOr<int64_t> size = disk.Size(path);
  if (absl::IsNotFound(size.status())) return DamagedShard(path, "missing");
  RETURN_IF_ERROR(size.status());
  ASSIGN_OR_RETURN(const std::string bytes, ReadHeaderBytes(disk, path, *size));
  return ParseHeader(path, bytes, *size);
}

}  // namespace birkhoff
