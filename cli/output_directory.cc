// Guarding an output directory against other specs and other processes.
#include "cli/output_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint_root.h"
#include "core/format/root_owner.h"
#include "core/spec/load.h"
#include "core/spec/spec_change.h"

namespace birkhoff {
namespace {

// Whether a run is there that this one goes on with; an error where it is another one.
absl::StatusOr<bool> Resumes(const OutputDirectory::Options& options, const JobSpec& spec,
                             Disk& disk) {
  const std::string job_path = options.path + "/job.yaml";
  if (!disk.Exists(job_path)) return false;
  ASSIGN_OR_RETURN(const std::string text, disk.Read(job_path));
  std::vector<Problem> problems;
  const JobSpec before = LoadJobSpec(text, {}, &problems);
  if (!problems.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(job_path, ": is damaged: ", ProblemToString(problems[0]),
                     "; give another --out, or --fresh to forget what is in ", options.path));
  }
  // What has changed is told by the workers, who know from which step on.
  const absl::Status status = AdmitChanges({before, spec, options.changes, 0}).status();
  if (status.ok()) return true;
  return absl::InvalidArgumentError(
      absl::StrCat(options.path, ": ", std::string(status.message())));
}

absl::StatusOr<int> Lock(const std::string& path) {
  const int lock = ::open((path + "/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0) {
    return absl::PermissionDeniedError(absl::StrCat(path, "/.lock: ", std::strerror(errno)));
  }
  if (::flock(lock, LOCK_EX | LOCK_NB) == 0) return lock;
  ::close(lock);
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": another run is using it; wait for it, or give another --out"));
}

std::string CheckpointsOf(const std::string& path, const JobSpec& spec) {
  return spec.checkpoint.directory.empty() ? path + "/checkpoints" : spec.checkpoint.directory;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutputDirectory>> OutputDirectory::Open(const Options& options,
                                                                       const JobSpec& spec,
                                                                       Disk& disk) {
  RETURN_IF_ERROR(disk.CreateDirectories(options.path));
  ASSIGN_OR_RETURN(const int lock, Lock(options.path));
  std::unique_ptr<OutputDirectory> directory(new OutputDirectory(options.path, lock));
  if (options.fresh) {
    // First, and not by the run: a kill in between must not leave old weights under a new spec.
    const std::string root = CheckpointsOf(options.path, spec);
    if (!options.init_from.empty() && WouldForget(root, options.init_from)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--init-from ", options.init_from,
                       ": --fresh would forget these weights; give another --out"));
    }
    ASSIGN_OR_RETURN(const std::unique_ptr<RootOwner> owner,
                     RootOwner::Take(disk, root, {"jobs/" + spec.name, options.path, 0}));
    RETURN_IF_ERROR(RemoveAllCheckpoints(disk, root));
  } else {
    ASSIGN_OR_RETURN(directory->resumes_, Resumes(options, spec, disk));
  }
  RETURN_IF_ERROR(ReplaceFile(disk, options.path + "/job.yaml", JobSpecToYaml(spec)));
  return directory;
}

OutputDirectory::~OutputDirectory() { ::close(lock_); }

}  // namespace birkhoff
