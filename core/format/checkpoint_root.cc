// ROOT is listed anew for every question, and nothing but ParseName says whose a name is.  Removal
// renames to .removing and takes the manifest first: no crash leaves a half that looks committed.
#include "core/format/checkpoint_root.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"

namespace birkhoff {
namespace {

constexpr absl::string_view kStepPrefix = "step-", kAttemptInfix = ".attempt-";
constexpr absl::string_view kPartialSuffix = ".partial", kRemovingSuffix = ".removing";
constexpr absl::string_view kSetAsideSuffix = ".set-aside";

std::string PathIn(const std::string& directory, absl::string_view name) {
  return absl::StrCat(directory, "/", name);
}

bool IsDigits(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
}

enum class NameKind { kCommitted, kPartial, kRemoving, kSetAside };

// What a name in ROOT says.
struct DirectoryName {
  NameKind kind = NameKind::kCommitted;
  int64_t step = 0;
  std::string job;  // of a partial one, without "jobs/"; empty: written before names held it
  int attempt = 0;  // of a partial one
};

// ".tiny.attempt-2" or ".attempt-2".
bool ParseWriter(absl::string_view text, DirectoryName* name) {
  const size_t at = text.rfind(kAttemptInfix);
  if (at == absl::string_view::npos) return false;
  const absl::string_view attempt = text.substr(at + kAttemptInfix.size());
  name->job = std::string(text.substr(0, at));
  if (!name->job.empty()) name->job.erase(0, 1);
  return IsDigits(attempt) && absl::SimpleAtoi(attempt, &name->attempt);
}

// Empty where the name is none of ours.
std::optional<DirectoryName> ParseName(absl::string_view name) {
  DirectoryName parsed;
  if (!absl::ConsumePrefix(&name, kStepPrefix)) return std::nullopt;
  const absl::string_view digits = name.substr(0, name.find('.'));
  if (!IsDigits(digits) || !absl::SimpleAtoi(digits, &parsed.step)) return std::nullopt;
  if (absl::StrCat(kStepPrefix, digits) != CheckpointName(parsed.step)) return std::nullopt;
  name.remove_prefix(digits.size());
  if (name.empty()) return parsed;
  if (absl::ConsumePrefix(&name, kSetAsideSuffix)) {
    parsed.kind = NameKind::kSetAside;
    const bool numbered = absl::ConsumePrefix(&name, "-") && IsDigits(name);
    return name.empty() || numbered ? std::optional(parsed) : std::nullopt;
  }
  const bool removing = absl::ConsumeSuffix(&name, kRemovingSuffix);
  if (absl::ConsumeSuffix(&name, kPartialSuffix)) {
    parsed.kind = NameKind::kPartial;
    if (!ParseWriter(name, &parsed)) return std::nullopt;
    name = absl::string_view();
  }
  if (!name.empty()) return std::nullopt;
  if (removing) parsed.kind = NameKind::kRemoving;
  return parsed;
}

bool IsOwnFileName(absl::string_view name) {
  if (name == kManifestFile) return true;
  return absl::ConsumePrefix(&name, "rank-") && absl::ConsumeSuffix(&name, ".safetensors") &&
         IsDigits(name);
}

// The files in it where the directory is ours.
absl::StatusOr<std::vector<std::string>> OwnFiles(Disk& disk, const std::string& path) {
  if (disk.KindOf(path) != FileKind::kDirectory) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": is no directory of ours"));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List(path));
  for (const std::string& name : names) {
    if (!IsOwnFileName(name) || disk.KindOf(PathIn(path, name)) != FileKind::kFile) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ": holds ", name, ", which no checkpoint has; it stays"));
    }
  }
  return names;
}

// The manifest goes first: what is left without one is no checkpoint.
absl::Status RemoveFiles(Disk& disk, const std::string& path,
                         const std::vector<std::string>& names) {
  RETURN_IF_ERROR(disk.RemoveFile(PathIn(path, kManifestFile)));
  for (const std::string& name : names) RETURN_IF_ERROR(disk.RemoveFile(PathIn(path, name)));
  return disk.RemoveDirectory(path);
}

// Names that say something, with what they say.
absl::StatusOr<std::vector<std::pair<std::string, DirectoryName>>> OwnNames(
    Disk& disk, const std::string& root) {
  std::vector<std::pair<std::string, DirectoryName>> all;
  if (!disk.Exists(root)) return all;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List(root));
  for (const std::string& name : names) {
    if (const auto parsed = ParseName(name)) all.emplace_back(name, *parsed);
  }
  return all;
}

// When a checkpoint was committed; nothing where its manifest cannot be read.
std::optional<int64_t> CommitOf(Disk& disk, const std::string& root, int64_t step) {
  const absl::StatusOr<std::string> json =
      disk.Read(absl::StrCat(root, "/", CheckpointName(step), "/", kManifestFile));
  if (!json.ok()) return std::nullopt;
  const absl::StatusOr<Manifest> manifest = ManifestFromJson(*json);
  if (!manifest.ok()) return std::nullopt;
  return manifest->commit;
}

absl::Status IgnoreForeign(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) ? absl::OkStatus() : status;
}

}  // namespace

std::string CheckpointName(int64_t step) { return absl::StrFormat("step-%08d", step); }
std::string PartialCheckpointName(int64_t step, const std::string& job, int attempt) {
  return absl::StrCat(CheckpointName(step), ".", absl::StripPrefix(job, "jobs/"), kAttemptInfix,
                      attempt, kPartialSuffix);
}
std::string ShardFileName(int rank) { return absl::StrFormat("rank-%05d.safetensors", rank); }

absl::StatusOr<std::vector<int64_t>> ListCheckpoints(Disk& disk, const std::string& root) {
  std::vector<int64_t> steps;
  ASSIGN_OR_RETURN(const auto names, OwnNames(disk, root));
  for (const auto& [name, parsed] : names) {
    if (parsed.kind != NameKind::kCommitted) continue;
    const std::string path = PathIn(root, name);
    const bool counts = disk.Exists(PathIn(path, kManifestFile)) || OwnFiles(disk, path).ok();
    if (counts) steps.push_back(parsed.step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

absl::StatusOr<int64_t> NextCommit(Disk& disk, const std::string& root) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps, ListCheckpoints(disk, root));
  int64_t last = 0;
  for (const int64_t step : steps) {
    last = std::max(last, CommitOf(disk, root, step).value_or(0));
  }
  return last + 1;
}

absl::Status PruneCheckpoints(Disk& disk, const std::string& root, int keep_last) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps, ListCheckpoints(disk, root));
  std::vector<std::pair<int64_t, int64_t>> commits;  // and their steps
  for (const int64_t step : steps) {
    if (!OwnFiles(disk, PathIn(root, CheckpointName(step))).ok()) continue;
    if (const auto commit = CommitOf(disk, root, step)) commits.emplace_back(*commit, step);
  }
  std::sort(commits.rbegin(), commits.rend());
  for (size_t i = static_cast<size_t>(keep_last); i < commits.size(); ++i) {
    RETURN_IF_ERROR(IgnoreForeign(RemoveCheckpoint(disk, root, CheckpointName(commits[i].second))));
  }
  return absl::OkStatus();
}

absl::Status RemovePartials(Disk& disk, const std::string& root, const std::string& job,
                            int attempt) {
  ASSIGN_OR_RETURN(const auto names, OwnNames(disk, root));
  for (const auto& [name, parsed] : names) {
    const bool later = parsed.job == absl::StripPrefix(job, "jobs/") && parsed.attempt > attempt;
    const bool over =
        parsed.kind == NameKind::kRemoving || (parsed.kind == NameKind::kPartial && !later);
    if (over) RETURN_IF_ERROR(IgnoreForeign(RemoveCheckpoint(disk, root, name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SetAside(Disk& disk, const std::string& root, int64_t step) {
  const std::string name = CheckpointName(step);
  std::string aside = absl::StrCat(name, kSetAsideSuffix);
  for (int number = 2; disk.KindOf(PathIn(root, aside)) != FileKind::kNone; ++number) {
    aside = absl::StrCat(name, kSetAsideSuffix, "-", number);
  }
  RETURN_IF_ERROR(disk.Rename(PathIn(root, name), PathIn(root, aside)));
  RETURN_IF_ERROR(disk.SyncDirectory(root));
  return aside;
}

absl::Status RemoveCheckpoint(Disk& disk, const std::string& root, const std::string& name) {
  const std::string path = PathIn(root, name);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, OwnFiles(disk, path));
  if (absl::EndsWith(name, kRemovingSuffix)) return RemoveFiles(disk, path, names);
  const std::string removing = absl::StrCat(path, kRemovingSuffix);
  if (disk.KindOf(removing) != FileKind::kNone) {  // a crash has left it
    ASSIGN_OR_RETURN(const std::vector<std::string> left, OwnFiles(disk, removing));
    RETURN_IF_ERROR(RemoveFiles(disk, removing, left));
  }
  RETURN_IF_ERROR(disk.Rename(path, removing));
  return RemoveFiles(disk, removing, names);
}

absl::Status RemoveAllCheckpoints(Disk& disk, const std::string& root) {
  ASSIGN_OR_RETURN(const auto names, OwnNames(disk, root));
  for (const auto& [name, parsed] : names) {
    const absl::Status removed = RemoveCheckpoint(disk, root, name);
    if (absl::IsFailedPrecondition(removed) && parsed.kind == NameKind::kCommitted) {
      RETURN_IF_ERROR(SetAside(disk, root, parsed.step).status());
    } else {
      RETURN_IF_ERROR(IgnoreForeign(removed));
    }
  }
  return disk.Exists(root) ? disk.SyncDirectory(root) : absl::OkStatus();
}

absl::StatusOr<std::string> FindWeights(Disk& disk, const std::string& directory) {
  if (disk.Exists(PathIn(directory, kManifestFile))) return directory;
  for (const std::string& root : {directory, PathIn(directory, "checkpoints")}) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> steps, ListCheckpoints(disk, root));
    if (!steps.empty()) return PathIn(root, CheckpointName(steps.front()));
  }
  return absl::NotFoundError(
      absl::StrCat(directory, ": holds no committed checkpoint to take weights from; need a ",
                   "checkpoint, a directory of them, or an output directory"));
}

bool WouldForget(const std::string& root, const std::string& directory) {
  return LiesWithin(directory, root) || LiesWithin(PathIn(directory, "checkpoints"), root);
}

}  // namespace birkhoff
