// The directory that holds a job's checkpoints: which names in it are ours, and what may go.
//
//   ROOT/step-00000050/                         committed: appears by one rename
//   ROOT/step-00000100.tiny.attempt-2.partial/  being written by attempt 2 of jobs/tiny
//   ROOT/step-00000025.removing/                being removed
//   ROOT/step-00000075.set-aside/               passed over by a resume: kept, never looked at
//   ROOT/.owner                                 whose it is (root_owner.h)
//
// A directory is ours when it is called so, is no symbolic link, and holds nothing but files that
// we write: manifest.json and rank-NNNNN.safetensors.  Nothing else is ever removed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/disk.h"

namespace birkhoff {

inline constexpr char kManifestFile[] = "manifest.json";

std::string CheckpointName(int64_t step);  // "step-00000050"
// "step-00000050.tiny.attempt-2.partial"; `job` with or without "jobs/".
std::string PartialCheckpointName(int64_t step, const std::string& job, int attempt);
std::string ShardFileName(int rank);  // "rank-00000.safetensors"

// Steps of the committed checkpoints, largest first; none where there is no directory.  One with
// files of others beside ours counts, what has neither a manifest nor only our files does not.
absl::StatusOr<std::vector<int64_t>> ListCheckpoints(Disk& disk, const std::string& root);

// The number of the next commit into this root: one more than any manifest in it says.
absl::StatusOr<int64_t> NextCommit(Disk& disk, const std::string& root);

// Removes all but the `keep_last` checkpoints that were committed last.  Those that are not ours,
// or whose manifest cannot be read, do not count and stay.
absl::Status PruneCheckpoints(Disk& disk, const std::string& root, int keep_last);

// Removes what is left of commits that can no longer happen: partial directories but those of a
// later attempt of this job, and what was being removed.  Only for the owner of the root, before
// any rank of the attempt writes.
absl::Status RemovePartials(Disk& disk, const std::string& root, const std::string& job,
                            int attempt);

// Moves a checkpoint that cannot be used out of the way, with all it holds; returns its new name.
absl::StatusOr<std::string> SetAside(Disk& disk, const std::string& root, int64_t step);

// Removes one checkpoint, so that a crash in the middle leaves no half one under its name.
// FAILED_PRECONDITION: it is not ours; says what it holds, and nothing is changed.
absl::Status RemoveCheckpoint(Disk& disk, const std::string& root, const std::string& name);

// Forgets everything: what is ours goes; a checkpoint that holds files of others is set aside.
absl::Status RemoveAllCheckpoints(Disk& disk, const std::string& root);

// The committed checkpoint that `directory` stands for where weights are taken from it: itself, or
// the newest in it, or in its checkpoints/, as an output directory has them.  NOT_FOUND: none.
absl::StatusOr<std::string> FindWeights(Disk& disk, const std::string& directory);

// Whether RemoveAllCheckpoints(root) could take what FindWeights(directory) finds.
bool WouldForget(const std::string& root, const std::string& directory);

}  // namespace birkhoff
