// The rank process as its supervisor sees it: started, spoken to, killed, reaped.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "core/protocol/messages.h"
#include "worker/frame_pipe.h"
#include "worker/outbox.h"
#include "worker/rank_process.h"

namespace birkhoff {

// How a rank ended.
struct RankEnd {
  ExitCode code = ExitCode::kInternal;
  std::string reason;
  bool disk = false;  // RankExited::disk
};

// A child process of this program, executed with the hidden verb `rank`.  The kernel kills it when
// the thread that started it ends.
class RankChild {
 public:
  // Both are called from a thread of this object, `on_end` last and exactly once.
  struct Callbacks {
    std::function<void(WorkerPayload)> on_payload;
    std::function<void(RankEnd)> on_end;
  };
  // `program` is this program's path.  UNAVAILABLE: no process can be made.
  static absl::StatusOr<std::unique_ptr<RankChild>> Start(const std::string& program,
                                                          const RankOptions& options,
                                                          const Assignment& assignment,
                                                          Callbacks callbacks);
  ~RankChild();  // kills and reaps

  void Tell(const CoordinatorMessage& message);  // never waits; lost if the rank has just ended
  void Kill();
  // "stopped" where the system does not let the process run, "waits for a disk" where nothing can
  // end its wait; else empty.
  std::string Trouble() const;

 private:
  RankChild(pid_t pid, std::unique_ptr<FramePipe> pipe, Callbacks callbacks);
  void Listen();
  RankEnd Reap();

  const pid_t pid_;
  const std::unique_ptr<FramePipe> pipe_;
  const Callbacks callbacks_;
  RankExited last_words_;  // of the rank, before it exits; the listener's
  std::thread listener_;
  Outbox<std::string> outbox_;  // frames: a rank that does not read holds up nobody
};

}  // namespace birkhoff
