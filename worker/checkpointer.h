// Writes this rank's part of checkpoints in the background, and on rank 0 commits them.
//
//   Capture (in the step) -> Write -> shard durable -> ShardDurable to the coordinator
//   all shards durable -> Commit (rank 0) -> manifest, rename -> CheckpointCommitted -> pruning
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/disk.h"
#include "core/format/checkpoint.h"
#include "core/format/root_owner.h"
#include "core/protocol/messages.h"
#include "kernels/device.h"
#include "worker/activity.h"
#include "worker/data_source.h"
#include "worker/parameter_store.h"
#include "worker/rank_listener.h"

namespace birkhoff {

// Where training stands after a step; resuming needs no more than this and the tensors.
struct Progress {
  int64_t step = 0;  // finished, skipped ones too
  int64_t tokens = 0;
  int64_t skipped = 0;
  int64_t skipped_in_a_row = 0;
};

// OUT/checkpoints, or the directory that the spec names.
std::string CheckpointRoot(const Assignment& assignment);

// A failed write or commit leaves earlier checkpoints as they are and training goes on; what was
// written of it is removed, the coordinator hears of it (CheckpointFailed), and the error stands in
// status() until a later checkpoint has succeeded.  The last one of an attempt has no later one: it
// is tried again with pauses, since the weights are in memory and a full disk may find room.
class Checkpointer {
 public:
  struct Parts {  // all must outlive it
    const Assignment* assignment = nullptr;
    const ParameterStore* store = nullptr;
    Device* device = nullptr;
    Disk* disk = nullptr;
    RankListener* listener = nullptr;
    const DataFacts* data = nullptr;                    // for the manifest
    const RootOwner* owner = nullptr;                   // of rank 0; null: whoever comes may commit
    std::vector<absl::Duration> pauses = LongPauses();  // between tries of the last checkpoint
    WeightsOrigin origin = {};                          // for the manifest
    // On rank 0, before a checkpoint counts; where it fails, the commit does.  Null: nothing.
    std::function<absl::Status()> before_commit = nullptr;
    Activity* activity = nullptr;  // marked at each try; null: nobody looks
  };
  static std::vector<absl::Duration> LongPauses();  // 1 s, doubled up to a minute, for 15 minutes
  enum class Patience { kNone, kLast };             // kLast: no other checkpoint comes after it

  // Errors: RESOURCE_EXHAUSTED no memory for the copy of this rank's parameters.
  static absl::StatusOr<std::unique_ptr<Checkpointer>> Create(const Parts& parts);
  ~Checkpointer();  // waits for the write that is running, and for no pause

  // Enqueues a copy of weights and moments of the parameters that this rank owns into the host's
  // memory, on the stream that has updated them.  Waits while the last copy is still being written.
  void Capture(Stream& stream);
  // Writes the copy in the background; once the stream has passed it.
  void Write(const Progress& progress, Patience patience = Patience::kNone);
  // All shards of a step are durable; rank 0 only, any thread.  May be repeated.
  void Commit(const CommitCheckpoint& commit);
  // Waits until the checkpoint last given to Write is durable (on rank 0: committed), has failed,
  // or `interrupted` is no longer OK.
  absl::Status Finish(const std::function<absl::Status()>& interrupted);
  absl::Status status() const;
  // The newest step whose checkpoint this rank could not write or commit; 0: none.
  int64_t failed() const;
  // Some rank could not write this one: removes this rank's part of it.
  void Discard(int64_t step);

 private:
  struct OwnedTensor {
    std::string name;
    std::vector<int64_t> shape;
    DevicePtr<const float> source;
    float* copy = nullptr;
    int64_t count = 0;
  };

  Checkpointer(const Parts& parts, std::unique_ptr<HostMemory> memory);
  void ListTensors();
  std::string PartialOf(int64_t step) const;
  void WriteNow(const Progress& progress, Patience patience);
  absl::StatusOr<WrittenShard> WriteShardFile(const std::string& directory,
                                              const std::string& file);
  void CommitNow(const CommitCheckpoint& commit);
  absl::StatusOr<CheckpointCommitted> CommitDirectory(const CommitCheckpoint& commit,
                                                      const Progress& progress);
  // Runs `attempt` until it succeeds, as long as there is patience.
  absl::Status Retry(int64_t step, Patience patience, const std::function<absl::Status()>& attempt);
  bool Pause(absl::Duration pause);  // false: this object is going
  void RemoveShard(int64_t step);
  void Ended(int64_t step, const absl::Status& status);
  void SendFailed(int64_t step, std::string reason);

  const Parts parts_;
  const std::string root_;
  const std::unique_ptr<HostMemory> memory_;  // the copy
  const std::unique_ptr<Device> host_;        // whose streams wait for disks
  std::vector<OwnedTensor> tensors_;
  std::unique_ptr<Event> written_;  // the copy may be overwritten

  mutable absl::Mutex mutex_;
  struct Pending {
    Progress progress;
    Patience patience = Patience::kNone;
  };
  std::map<int64_t, Pending> pending_ ABSL_GUARDED_BY(mutex_);  // given to Write, not committed
  std::optional<CheckpointCommitted> committed_ ABSL_GUARDED_BY(mutex_);  // the newest
  int64_t requested_ ABSL_GUARDED_BY(mutex_) = 0;  // the step last given to Write
  int64_t ended_ ABSL_GUARDED_BY(mutex_) = 0;      // the newest step that is done or has failed
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status outcome_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<Stream> stream_;  // last: its work uses the fields above
};

}  // namespace birkhoff
