// A safetensors file: eight bytes of header length, a JSON header, then the tensors back to back.
// The checksum of each tensor stands in the header's __metadata__ as "checksum.NAME".
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/disk.h"

namespace birkhoff {

// A tensor to be written: fp32, row-major.
struct TensorView {
  std::string name;
  std::vector<int64_t> shape;
  const float* data = nullptr;

  int64_t NumBytes() const;
};

struct WrittenShard {
  int64_t bytes = 0;
  std::string checksum;  // of the whole file
};

// Writes and syncs the file; the entry in its directory is the caller's to sync.
absl::StatusOr<WrittenShard> WriteShard(Disk& disk, const std::string& path,
                                        std::span<const TensorView> tensors);

struct StoredTensorInfo {
  std::vector<int64_t> shape;
  std::string dtype;   // "F32"
  int64_t offset = 0;  // in the file
  int64_t bytes = 0;
  std::string checksum;  // empty: the file has none (written by others)
};

struct ShardHeader {
  std::map<std::string, StoredTensorInfo> tensors;
  int64_t file_bytes = 0;
  std::string checksum;  // of the eight bytes and the JSON
};

// DATA_LOSS: missing, cut short, or not a safetensors file; says what is wrong, with the path.
absl::StatusOr<ShardHeader> ReadShardHeader(Disk& disk, const std::string& path);

}  // namespace birkhoff
