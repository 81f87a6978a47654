// A lock lies on a file and not on its name: who takes over locks a fresh file and renames it over
// the old one.  The holder before finds another text under the name, and is fenced.
#include "core/format/root_owner.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

std::string ToText(const RootClaim& claim) {
  const Json json = {
      {"job", claim.job}, {"output_directory", claim.output_directory}, {"attempt", claim.attempt}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Nobody where nothing can be read: a crash has cut it.
RootClaim Read(Disk& disk, const std::string& path) {
  RootClaim claim;
  const absl::StatusOr<std::string> text = disk.Read(path);
  if (!text.ok()) return claim;
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("job") || !json["job"].is_string() ||
      !json.contains("output_directory") || !json["output_directory"].is_string() ||
      !json.contains("attempt") || !json["attempt"].is_number_integer()) {
    return claim;
  }
  return {json["job"].get<std::string>(), json["output_directory"].get<std::string>(),
          json["attempt"].get<int>()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<RootOwner>> RootOwner::Take(Disk& disk, const std::string& root,
                                                           const RootClaim& claim) {
  RETURN_IF_ERROR(disk.CreateDirectories(root));
  const std::string path = absl::StrCat(root, "/.owner");
  const absl::StatusOr<std::unique_ptr<FileLock>> free = disk.Lock(path);
  if (!free.ok() && !absl::IsFailedPrecondition(free.status())) return free.status();
  if (const RootClaim there = Read(disk, path); !free.ok()) {
    const bool earlier = there.job == claim.job && there.attempt < claim.attempt &&
                         there.output_directory == claim.output_directory;
    if (!earlier) {
      return absl::FailedPreconditionError(
          absl::StrCat(root, ": attempt ", there.attempt, " of ", there.job, " with output in ",
                       there.output_directory,
                       " writes its checkpoints there; wait for its end, "
                       "or give another checkpoint.directory"));
    }
  }
  auto owner = std::unique_ptr<RootOwner>(new RootOwner(disk, root, ToText(claim)));
  RETURN_IF_ERROR(owner->Write());
  return owner;
}

RootOwner::RootOwner(Disk& disk, std::string root, std::string text)
    : disk_(disk),
      root_(std::move(root)),
      path_(absl::StrCat(root_, "/.owner")),
      text_(std::move(text)) {}

// A file of its own, locked before it has the name: who holds the old one holds nothing.
absl::Status RootOwner::Write() {
  const std::string fresh = absl::StrCat(path_, ".new");
  RETURN_IF_ERROR(disk_.RemoveFile(fresh));
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, disk_.CreateNew(fresh));
  RETURN_IF_ERROR(file->Append(text_));
  RETURN_IF_ERROR(file->Sync());
  ASSIGN_OR_RETURN(lock_, disk_.Lock(fresh));
  return disk_.Rename(fresh, path_);
}

absl::Status RootOwner::Restore() {
  const absl::Status there = Check();
  if (!absl::IsUnavailable(there)) return there;
  RETURN_IF_ERROR(disk_.CreateDirectories(root_));
  return Write();
}

absl::Status RootOwner::Check() const {
  const absl::StatusOr<std::string> text = disk_.Read(path_);
  if (absl::IsNotFound(text.status())) {
    return absl::UnavailableError(absl::StrCat(path_, ": was removed while this job writes there"));
  }
  RETURN_IF_ERROR(text.status());
  if (*text == text_) return absl::OkStatus();
  const RootClaim there = Read(disk_, path_);
  return absl::AbortedError(
      absl::StrCat(path_, ": attempt ", there.attempt, " of ", there.job, " has taken over"));
}

}  // namespace birkhoff
