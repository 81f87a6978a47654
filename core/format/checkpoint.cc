// Committing: shards are read back and compared with what their writers said, the manifest is laid
// beside them, and one rename makes it all count.  Reading: manifest, sizes and headers when it is
// opened, the bytes of a tensor when it is asked for.
#include "core/format/checkpoint.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "core/format/checksum.h"

namespace birkhoff {
namespace {

std::string Join(const std::string& directory, const std::string& name) {
  return absl::StrCat(directory, "/", name);
}

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

absl::StatusOr<std::string> ChecksumOfFile(Disk& disk, const std::string& path) {
  constexpr int64_t kPiece = 1 << 20;
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, disk.OpenRead(path));
  Checksum checksum;
  while (true) {
    ASSIGN_OR_RETURN(const std::string bytes, file->Read(kPiece));
    if (bytes.empty()) return checksum.Hex();
    checksum.Update(bytes);
  }
}

// Makes room under the name of a checkpoint that is about to be committed.
absl::Status GiveWay(Disk& disk, const std::string& root, int64_t step) {
  const std::string name = CheckpointName(step);
  if (disk.KindOf(Join(root, name)) == FileKind::kNone) return absl::OkStatus();
  const absl::Status removed = RemoveCheckpoint(disk, root, name);
  if (!absl::IsFailedPrecondition(removed)) return removed;
  return SetAside(disk, root, step).status();
}

}  // namespace

absl::Status AddShard(Disk& disk, const std::string& directory, const std::string& file,
                      const WrittenShard& written, Manifest& manifest) {
  const std::string path = Join(directory, file);
  ASSIGN_OR_RETURN(const ShardHeader header, ReadShardHeader(disk, path));
  if (header.file_bytes != written.bytes) {
    return Damaged(path, absl::StrCat("has ", header.file_bytes, " bytes; its rank has written ",
                                      written.bytes));
  }
  // Two writers in one directory make files of the same size.
  ASSIGN_OR_RETURN(const std::string checksum, ChecksumOfFile(disk, path));
  if (checksum != written.checksum) {
    return Damaged(
        path, absl::StrCat("has checksum ", checksum, "; its rank has written ", written.checksum));
  }
  for (const auto& [name, tensor] : header.tensors) {
    const bool fresh =
        manifest.tensors
            .emplace(name, ManifestTensor{file, tensor.shape, tensor.dtype, tensor.checksum})
            .second;
    if (!fresh) {
      return Damaged(
          path, absl::StrCat("tensor ", name, " is also in ", manifest.tensors.at(name).shard));
    }
  }
  manifest.shards.push_back({file, written.bytes, written.checksum, header.checksum});
  return absl::OkStatus();
}

absl::StatusOr<std::string> CommitCheckpointDirectory(Disk& disk, const std::string& root,
                                                      Manifest manifest) {
  const std::string partial =
      Join(root, PartialCheckpointName(manifest.step, manifest.job, manifest.attempt));
  ASSIGN_OR_RETURN(manifest.commit, NextCommit(disk, root));
  const std::string json = ManifestToJson(manifest);
  const std::string path = Join(partial, kManifestFile);
  RETURN_IF_ERROR(disk.RemoveFile(path));  // of a try that has failed
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, disk.CreateNew(path));
  RETURN_IF_ERROR(file->Append(json));
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(file->Close());
  RETURN_IF_ERROR(disk.SyncDirectory(partial));
  RETURN_IF_ERROR(GiveWay(disk, root, manifest.step));
  RETURN_IF_ERROR(disk.Rename(partial, Join(root, CheckpointName(manifest.step))));
  RETURN_IF_ERROR(disk.SyncDirectory(root));
  return ChecksumOf(json);
}

absl::StatusOr<std::unique_ptr<CheckpointReader>> CheckpointReader::Open(
    Disk& disk, const std::string& directory) {
  std::unique_ptr<CheckpointReader> reader(new CheckpointReader(disk, directory));
  const std::string path = Join(directory, kManifestFile);
  if (!disk.Exists(path)) return Damaged(path, "missing");
  ASSIGN_OR_RETURN(const std::string json, disk.Read(path));
  absl::StatusOr<Manifest> manifest = ManifestFromJson(json);
  if (!manifest.ok()) return Damaged(path, std::string(manifest.status().message()));
  reader->manifest_ = *std::move(manifest);
  for (const ManifestShard& shard : reader->manifest_.shards) {
    RETURN_IF_ERROR(reader->OpenShard(shard));
  }
  RETURN_IF_ERROR(reader->CheckTensors());
  return reader;
}

absl::Status CheckpointReader::OpenShard(const ManifestShard& shard) {
  // A manifest may be a stranger's: it leads nowhere else.
  if (shard.file.empty() || shard.file.find('/') != std::string::npos) {
    return Damaged(Join(directory_, kManifestFile),
                   absl::StrCat("a shard is '", Printable(shard.file),
                                "'; need the name of a file beside it"));
  }
  const std::string path = Join(directory_, shard.file);
  const absl::StatusOr<int64_t> size = disk_.Size(path);
  if (absl::IsNotFound(size.status())) return Damaged(path, "missing");
  RETURN_IF_ERROR(size.status());
  if (*size != shard.bytes) {
    return Damaged(path, absl::StrCat("has ", *size, " bytes; need ", shard.bytes));
  }
  ASSIGN_OR_RETURN(ShardHeader header, ReadShardHeader(disk_, path));
  if (header.checksum != shard.header_checksum) {
    return Damaged(path, absl::StrCat("the header's checksum is ", header.checksum, "; need ",
                                      shard.header_checksum));
  }
  headers_.emplace(shard.file, std::move(header));
  return absl::OkStatus();
}

absl::Status CheckpointReader::CheckTensors() const {
  for (const auto& [name, tensor] : manifest_.tensors) {
    const auto header = headers_.find(tensor.shard);
    if (header == headers_.end() || header->second.tensors.count(name) == 0) {
      return Damaged(Join(directory_, kManifestFile),
                     absl::StrCat("tensor ", name, " is not in ", tensor.shard));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointReader::Read(const std::string& name, const std::vector<int64_t>& shape,
                                    float* out) {
  const auto entry = manifest_.tensors.find(name);
  if (entry == manifest_.tensors.end()) {
    return Damaged(Join(directory_, kManifestFile), absl::StrCat("has no tensor ", name));
  }
  const ManifestTensor& tensor = entry->second;
  const std::string path = Join(directory_, tensor.shard);
  const StoredTensorInfo& info = headers_.at(tensor.shard).tensors.at(name);
  const TensorView wanted{name, shape, out};
  if (tensor.shape != shape || info.dtype != "F32" || info.bytes != wanted.NumBytes()) {
    return Damaged(path, absl::StrCat("tensor ", name, " is ", info.dtype, " of ", info.bytes,
                                      " bytes; need F32 of ", wanted.NumBytes(), " bytes"));
  }
  ASSIGN_OR_RETURN(const std::string bytes, disk_.ReadRange(path, info.offset, info.bytes));
  const std::string found = ChecksumOf(bytes);
  if (found != tensor.checksum || static_cast<int64_t>(bytes.size()) != info.bytes) {
    return Damaged(
        path, absl::StrCat("tensor ", name, " has checksum ", found, "; need ", tensor.checksum));
  }
  std::memcpy(out, bytes.data(), bytes.size());
  return absl::OkStatus();
}

}  // namespace birkhoff
