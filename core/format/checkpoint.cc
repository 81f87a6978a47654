#include "core/format/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/format/checksum.h"

namespace birkhoff {
namespace {

constexpr char kManifestFile[] = "manifest.json";
constexpr absl::string_view kStep = "step-", kAttempt = ".attempt-", kPartial = ".partial";
constexpr absl::string_view kRemoving = ".removing";

std::string Join(const std::string& directory, const std::string& name) {
  return absl::StrCat(directory, "/", name);
}

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

bool IsDigits(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
}

// What a name in ROOT says; empty where it is none of ours.
struct DirectoryName {
  int64_t step = 0;
  int attempt = 0;  // of a partial one
  bool partial = false;
  bool removing = false;
};
std::optional<DirectoryName> ParseName(absl::string_view name) {
  DirectoryName parsed;
  if (!absl::StartsWith(name, kStep)) return std::nullopt;
  name.remove_prefix(kStep.size());
  if (absl::EndsWith(name, kRemoving)) {
    parsed.removing = true;
    name.remove_suffix(kRemoving.size());
  }
  if (absl::EndsWith(name, kPartial)) {
    parsed.partial = true;
    name.remove_suffix(kPartial.size());
    const size_t at = name.find(kAttempt);
    if (at == absl::string_view::npos) return std::nullopt;
    const absl::string_view attempt = name.substr(at + kAttempt.size());
    if (!IsDigits(attempt) || !absl::SimpleAtoi(attempt, &parsed.attempt)) return std::nullopt;
    name = name.substr(0, at);
  }
  if (!IsDigits(name) || !absl::SimpleAtoi(name, &parsed.step)) return std::nullopt;
  return parsed;
}

// Removes a directory so that a crash in the middle leaves no half checkpoint under its name.
absl::Status RemoveDirectory(Disk& disk, const std::string& path) {
  const std::string removing =
      absl::EndsWith(path, kRemoving) ? path : absl::StrCat(path, kRemoving);
  if (removing != path) {
    RETURN_IF_ERROR(disk.RemoveAll(removing));
    RETURN_IF_ERROR(disk.Rename(path, removing));
  }
  return disk.RemoveAll(removing);
}

}  // namespace

std::string CheckpointName(int64_t step) { return absl::StrFormat("step-%08d", step); }
std::string PartialCheckpointName(int64_t step, int attempt) {
  return absl::StrCat(CheckpointName(step), kAttempt, attempt, kPartial);
}
std::string ShardFileName(int rank) { return absl::StrFormat("rank-%05d.safetensors", rank); }

absl::Status AddShard(Disk& disk, const std::string& directory, const std::string& file,
                      const WrittenShard& written, Manifest& manifest) {
  const std::string path = Join(directory, file);
  ASSIGN_OR_RETURN(const ShardHeader header, ReadShardHeader(disk, path));
  if (header.file_bytes != written.bytes) {
    return Damaged(path, absl::StrCat("has ", header.file_bytes, " bytes; its rank has written ",
                                      written.bytes));
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
                                                      const Manifest& manifest) {
  const std::string partial = Join(root, PartialCheckpointName(manifest.step, manifest.attempt));
  const std::string json = ManifestToJson(manifest);
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, disk.Create(Join(partial, kManifestFile)));
  RETURN_IF_ERROR(file->Append(json));
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(file->Close());
  RETURN_IF_ERROR(disk.SyncDirectory(partial));
  const std::string committed = Join(root, CheckpointName(manifest.step));
  if (disk.Exists(committed)) RETURN_IF_ERROR(RemoveDirectory(disk, committed));
  RETURN_IF_ERROR(disk.Rename(partial, committed));
  RETURN_IF_ERROR(disk.SyncDirectory(root));
  return ChecksumOf(json);
}

absl::StatusOr<std::vector<int64_t>> ListCheckpoints(Disk& disk, const std::string& root) {
  std::vector<int64_t> steps;
  if (!disk.Exists(root)) return steps;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List(root));
  for (const std::string& name : names) {
    const auto parsed = ParseName(name);
    if (parsed && !parsed->partial && !parsed->removing) steps.push_back(parsed->step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

absl::Status PruneCheckpoints(Disk& disk, const std::string& root, int keep_last, int attempt) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps, ListCheckpoints(disk, root));
  if (steps.empty()) return absl::OkStatus();
  const int64_t newest = steps.front();
  const int64_t oldest_kept = steps[std::min<size_t>(keep_last, steps.size()) - 1];
  ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List(root));
  for (const std::string& name : names) {
    const auto parsed = ParseName(name);
    if (!parsed) continue;
    const bool over = parsed->partial ? parsed->attempt < attempt ||
                                            (parsed->attempt == attempt && parsed->step <= newest)
                                      : parsed->step < oldest_kept;
    if (over || parsed->removing) RETURN_IF_ERROR(RemoveDirectory(disk, Join(root, name)));
  }
  return absl::OkStatus();
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
