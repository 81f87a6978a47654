// Everything that touches the disk (writes, commits, removals) runs on one host stream in the order
// given, so that no two of them meet; the mutex only guards what is known of them.
#include "worker/checkpointer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kInterruptPoll = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Minutes(1);
constexpr absl::Duration kMaxWait = absl::Minutes(15);
constexpr int kTensorsPerParameter = 3;  // weight, first moment, second moment

int64_t OwnedCount(const ParameterStore& store) {
  int64_t count = 0;
  for (const ParameterStore::Slot& slot : store.slots()) count += slot.owner ? slot.count : 0;
  return count;
}

Manifest NewManifest(const Assignment& assignment, const DataFacts& data,
                     const WeightsOrigin& origin, const Progress& progress) {
  Manifest manifest;
  manifest.job = assignment.job;
  manifest.attempt = assignment.attempt;
  manifest.step = progress.step;
  manifest.tokens = progress.tokens;
  manifest.skipped = progress.skipped;
  manifest.skipped_in_a_row = progress.skipped_in_a_row;
  manifest.next_sample = progress.step * assignment.spec.training.global_batch_size;
  manifest.train_files = data.train;
  manifest.validation_files = data.validation;
  manifest.data_seed = assignment.spec.data.seed;
  manifest.training_seed = assignment.spec.training.seed;
  manifest.origin = origin;
  manifest.model_hash = assignment.plan.model_hash;
  manifest.plan_hash = assignment.plan_hash;
  manifest.spec = JobSpecToYaml(assignment.spec);
  return manifest;
}

}  // namespace

std::string CheckpointRoot(const Assignment& assignment) {
  const std::string& directory = assignment.spec.checkpoint.directory;
  return directory.empty() ? absl::StrCat(assignment.output_directory, "/checkpoints") : directory;
}

absl::StatusOr<std::unique_ptr<Checkpointer>> Checkpointer::Create(const Parts& parts) {
  const int64_t bytes = OwnedCount(*parts.store) * kTensorsPerParameter * int64_t{sizeof(float)};
  ASSIGN_OR_RETURN(std::unique_ptr<HostMemory> memory, parts.device->AllocateHost(bytes));
  return std::unique_ptr<Checkpointer>(new Checkpointer(parts, std::move(memory)));
}

Checkpointer::Checkpointer(const Parts& parts, std::unique_ptr<HostMemory> memory)
    : parts_(parts),
      root_(CheckpointRoot(*parts.assignment)),
      memory_(std::move(memory)),
      host_(NewCpuDevice()),
      written_(host_->NewEvent()),
      stream_(host_->NewStream("checkpoint")) {
  ListTensors();
}

Checkpointer::~Checkpointer() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  stream_->Synchronize();
}

std::vector<absl::Duration> Checkpointer::LongPauses() {
  std::vector<absl::Duration> pauses;
  absl::Duration pause = absl::Seconds(1);
  for (absl::Duration total; total < kMaxWait; total += pauses.back()) {
    pauses.push_back(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
  return pauses;
}

void Checkpointer::ListTensors() {
  float* next = reinterpret_cast<float*>(memory_->data());
  for (const ParameterStore::Slot& slot : parts_.store->slots()) {
    if (!slot.owner) continue;
    const std::pair<const char*, DevicePtr<const float>> sources[kTensorsPerParameter] = {
        {"", slot.weight}, {".adam_m", slot.first_moment}, {".adam_v", slot.second_moment}};
    for (const auto& [suffix, source] : sources) {
      tensors_.push_back(
          {absl::StrCat(slot.spec.name, suffix), slot.spec.shape, source, next, slot.count});
      next += slot.count;
    }
  }
}

void Checkpointer::Capture(Stream& stream) {
  written_->Synchronize();
  for (const OwnedTensor& tensor : tensors_) {
    Download(stream, tensor.copy, tensor.source, tensor.count);
  }
}

void Checkpointer::Write(const Progress& progress, Patience patience) {
  {
    absl::MutexLock lock(&mutex_);
    pending_[progress.step] = {progress, patience};
    requested_ = progress.step;
  }
  stream_->HostWork([this, progress, patience] { WriteNow(progress, patience); });
  stream_->Record(*written_);
}

std::string Checkpointer::PartialOf(int64_t step) const {
  const Assignment& assignment = *parts_.assignment;
  return absl::StrCat(root_, "/", PartialCheckpointName(step, assignment.job, assignment.attempt));
}

void Checkpointer::WriteNow(const Progress& progress, Patience patience) {
  const Assignment& assignment = *parts_.assignment;
  const std::string file = ShardFileName(assignment.rank);
  WrittenShard written;
  const absl::Status status = Retry(progress.step, patience, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(written, WriteShardFile(PartialOf(progress.step), file));
    return absl::OkStatus();
  });
  // The news go first: the process may end as soon as Finish sees the end.
  if (status.ok()) {
    parts_.listener->Send(ShardDurable{assignment.job, assignment.attempt, assignment.rank,
                                       progress.step, file, written.checksum, written.bytes});
  }
  if (!status.ok() || assignment.rank != 0) Ended(progress.step, status);
}

absl::Status Checkpointer::Retry(int64_t step, Patience patience,
                                 const std::function<absl::Status()>& attempt) {
  absl::Status status = attempt();
  if (patience == Patience::kNone || !MayPass(status)) return status;
  SendFailed(step, absl::StrCat(std::string(status.message()),
                                "; it is the last one and tried again, the weights are in memory"));
  for (const absl::Duration pause : parts_.pauses) {
    if (!MayPass(status) || !Pause(pause)) break;
    if (parts_.activity != nullptr) parts_.activity->Mark();
    status = attempt();
  }
  return status;
}

bool Checkpointer::Pause(absl::Duration pause) {
  absl::MutexLock lock(&mutex_);
  return !mutex_.AwaitWithTimeout(absl::Condition(&closing_), pause);
}

// The files of other ranks, if any, are theirs to remove; the last one takes the directory along.
void Checkpointer::RemoveShard(int64_t step) {
  const std::string directory = PartialOf(step);
  const std::string file = ShardFileName(parts_.assignment->rank);
  parts_.disk->RemoveFile(absl::StrCat(directory, "/", file)).IgnoreError();
  if (parts_.assignment->rank == 0) {
    parts_.disk->RemoveFile(absl::StrCat(directory, "/", kManifestFile)).IgnoreError();
  }
  parts_.disk->RemoveDirectory(directory).IgnoreError();
}

void Checkpointer::Discard(int64_t step) {
  stream_->HostWork([this, step] { RemoveShard(step); });
}

absl::StatusOr<WrittenShard> Checkpointer::WriteShardFile(const std::string& directory,
                                                          const std::string& file) {
  RETURN_IF_ERROR(parts_.disk->CreateDirectories(directory));
  std::vector<TensorView> views;
  for (const OwnedTensor& tensor : tensors_) {
    views.push_back({tensor.name, tensor.shape, tensor.copy});
  }
  absl::StatusOr<WrittenShard> written =
      WriteShard(*parts_.disk, absl::StrCat(directory, "/", file), views);
  if (!written.ok()) {  // half a shard only takes the room that the next one needs
    parts_.disk->RemoveFile(absl::StrCat(directory, "/", file)).IgnoreError();
    parts_.disk->RemoveDirectory(directory).IgnoreError();
    return written;
  }
  // The names too: of the file, and of the directories that may be new.
  RETURN_IF_ERROR(parts_.disk->SyncDirectory(directory));
  RETURN_IF_ERROR(parts_.disk->SyncDirectory(root_));
  RETURN_IF_ERROR(parts_.disk->SyncDirectory(ParentOf(root_)));
  return written;
}

void Checkpointer::Commit(const CommitCheckpoint& commit) {
  stream_->HostWork([this, commit] { CommitNow(commit); });
}

void Checkpointer::CommitNow(const CommitCheckpoint& commit) {
  std::optional<CheckpointCommitted> committed;
  Pending pending;
  {
    absl::MutexLock lock(&mutex_);
    if (committed_ && committed_->step == commit.step) committed = committed_;
    const auto found = pending_.find(commit.step);
    if (!committed && found == pending_.end()) return;  // it has failed here
    if (!committed) pending = found->second;
  }
  if (committed) return parts_.listener->Send(*committed);
  const absl::Status status = Retry(commit.step, pending.patience, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(committed, CommitDirectory(commit, pending.progress));
    return absl::OkStatus();
  });
  if (status.ok()) {
    absl::MutexLock lock(&mutex_);
    committed_ = committed;
  }
  if (status.ok()) parts_.listener->Send(*committed);
  Ended(commit.step, status);
}

absl::StatusOr<CheckpointCommitted> Checkpointer::CommitDirectory(const CommitCheckpoint& commit,
                                                                  const Progress& progress) {
  const Assignment& assignment = *parts_.assignment;
  Manifest manifest = NewManifest(assignment, *parts_.data, parts_.origin, progress);
  const std::string partial = absl::StrCat(
      root_, "/", PartialCheckpointName(commit.step, assignment.job, assignment.attempt));
  // A newer attempt, or another job, may have come while this one was cut off, and have removed
  // its parts: nothing is damaged then.
  if (parts_.owner != nullptr) RETURN_IF_ERROR(parts_.owner->Check());
  for (const Shard& shard : commit.shards) {
    RETURN_IF_ERROR(
        AddShard(*parts_.disk, partial, shard.file, {shard.bytes, shard.checksum}, manifest));
  }
  if (parts_.before_commit) RETURN_IF_ERROR(parts_.before_commit());
  if (parts_.owner != nullptr) RETURN_IF_ERROR(parts_.owner->Check());  // or meanwhile
  ASSIGN_OR_RETURN(const std::string checksum,
                   CommitCheckpointDirectory(*parts_.disk, root_, manifest));
  // What is over is only room on the disk: the commit stands without it.
  (void)PruneCheckpoints(*parts_.disk, root_, assignment.spec.checkpoint.keep_last);
  return CheckpointCommitted{assignment.job, assignment.attempt, commit.step,
                             absl::StrCat(root_, "/", CheckpointName(commit.step)), checksum};
}

void Checkpointer::SendFailed(int64_t step, std::string reason) {
  const Assignment& assignment = *parts_.assignment;
  parts_.listener->Send(CheckpointFailed{assignment.job, assignment.attempt, assignment.rank, step,
                                         std::move(reason)});
}

void Checkpointer::Ended(int64_t step, const absl::Status& status) {
  if (!status.ok()) {
    RemoveShard(step);
    SendFailed(step, std::string(status.message()));
  }
  absl::MutexLock lock(&mutex_);
  pending_.erase(pending_.begin(), pending_.upper_bound(step));
  ended_ = std::max(ended_, step);
  if (!status.ok()) failed_ = std::max(failed_, step);
  outcome_ = Reworded(status, absl::StrCat("checkpoint of step ", step, ": ", status.message()));
}

absl::Status Checkpointer::status() const {
  absl::MutexLock lock(&mutex_);
  return outcome_;
}

int64_t Checkpointer::failed() const {
  absl::MutexLock lock(&mutex_);
  return failed_;
}

absl::Status Checkpointer::Finish(const std::function<absl::Status()>& interrupted) {
  const auto over = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ >= requested_; };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&over), kInterruptPoll)) return outcome_;
    }
    RETURN_IF_ERROR(interrupted());
  }
}

}  // namespace birkhoff
