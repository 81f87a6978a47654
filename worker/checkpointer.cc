#include "worker/checkpointer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kInterruptPoll = absl::Milliseconds(10);
constexpr int kTensorsPerParameter = 3;  // weight, first moment, second moment

int64_t OwnedCount(const ParameterStore& store) {
  int64_t count = 0;
  for (const ParameterStore::Slot& slot : store.slots()) count += slot.owner ? slot.count : 0;
  return count;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Manifest NewManifest(const Assignment& assignment, const Progress& progress) {
  Manifest manifest;
  manifest.job = assignment.job;
  manifest.attempt = assignment.attempt;
  manifest.step = progress.step;
  manifest.tokens = progress.tokens;
  manifest.skipped = progress.skipped;
  manifest.skipped_in_a_row = progress.skipped_in_a_row;
  manifest.next_sample = progress.step * assignment.spec.training.global_batch_size;
  manifest.data_seed = assignment.spec.data.seed;
  manifest.training_seed = assignment.spec.training.seed;
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

Checkpointer::~Checkpointer() { stream_->Synchronize(); }

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

void Checkpointer::Write(const Progress& progress) {
  {
    absl::MutexLock lock(&mutex_);
    pending_[progress.step] = progress;
    requested_ = progress.step;
  }
  stream_->HostWork([this, progress] { WriteNow(progress); });
  stream_->Record(*written_);
}

void Checkpointer::WriteNow(const Progress& progress) {
  const Assignment& assignment = *parts_.assignment;
  const std::string file = ShardFileName(assignment.rank);
  const std::string directory =
      absl::StrCat(root_, "/", PartialCheckpointName(progress.step, assignment.attempt));
  const absl::StatusOr<WrittenShard> written = WriteShardFile(directory, file);
  // The news go first: the process may end as soon as Finish sees the end.
  if (written.ok()) {
    parts_.listener->Send(ShardDurable{assignment.job, assignment.attempt, assignment.rank,
                                       progress.step, file, written->checksum, written->bytes});
  }
  if (!written.ok() || assignment.rank != 0) Ended(progress.step, written.status());
}

absl::StatusOr<WrittenShard> Checkpointer::WriteShardFile(const std::string& directory,
                                                          const std::string& file) {
  RETURN_IF_ERROR(parts_.disk->CreateDirectories(directory));
  std::vector<TensorView> views;
  for (const OwnedTensor& tensor : tensors_) {
    views.push_back({tensor.name, tensor.shape, tensor.copy});
  }
  ASSIGN_OR_RETURN(const WrittenShard written,
                   WriteShard(*parts_.disk, absl::StrCat(directory, "/", file), views));
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
  std::optional<CheckpointCommitted> again;
  {
    absl::MutexLock lock(&mutex_);
    if (committed_ && committed_->step == commit.step) again = committed_;
    if (!again && pending_.count(commit.step) == 0) return;  // it has failed here
  }
  if (again) return parts_.listener->Send(*again);
  const absl::StatusOr<CheckpointCommitted> committed = CommitDirectory(commit);
  if (committed.ok()) {
    absl::MutexLock lock(&mutex_);
    committed_ = *committed;
  }
  if (committed.ok()) parts_.listener->Send(*committed);
  Ended(commit.step, committed.status());
}

absl::StatusOr<CheckpointCommitted> Checkpointer::CommitDirectory(const CommitCheckpoint& commit) {
  const Assignment& assignment = *parts_.assignment;
  Progress progress;
  {
    absl::MutexLock lock(&mutex_);
    progress = pending_.at(commit.step);
  }
  Manifest manifest = NewManifest(assignment, progress);
  const std::string partial =
      absl::StrCat(root_, "/", PartialCheckpointName(commit.step, assignment.attempt));
  for (const Shard& shard : commit.shards) {
    RETURN_IF_ERROR(
        AddShard(*parts_.disk, partial, shard.file, {shard.bytes, shard.checksum}, manifest));
  }
  ASSIGN_OR_RETURN(const std::string checksum,
                   CommitCheckpointDirectory(*parts_.disk, root_, manifest));
  // What is over is only room on the disk: the commit stands without it.
  (void)PruneCheckpoints(*parts_.disk, root_, assignment.spec.checkpoint.keep_last,
                         assignment.attempt);
  return CheckpointCommitted{assignment.job, assignment.attempt, commit.step,
                             absl::StrCat(root_, "/", CheckpointName(commit.step)), checksum};
}

void Checkpointer::Ended(int64_t step, const absl::Status& status) {
  const Assignment& assignment = *parts_.assignment;
  if (!status.ok()) {
    parts_.listener->Send(CheckpointFailed{assignment.job, assignment.attempt, assignment.rank,
                                           step, std::string(status.message())});
  }
  absl::MutexLock lock(&mutex_);
  pending_.erase(pending_.begin(), pending_.upper_bound(step));
  ended_ = std::max(ended_, step);
  outcome_ = status.ok() ? status
                         : absl::Status(status.code(), absl::StrCat("checkpoint of step ", step,
                                                                    ": ", status.message()));
}

absl::Status Checkpointer::status() const {
  absl::MutexLock lock(&mutex_);
  return outcome_;
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
