// WatchJob: one reactor per watcher, woken by the coordinator when the job has news.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <set>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "birkhoff/v1/job_service.pb.h"
#include "coordinator/coordinator.h"

namespace birkhoff {

class WatchReactor;

// Gives idle watchers a heartbeat.  Thread-safe.
class WatchHub {
 public:
  explicit WatchHub(Coordinator& coordinator);
  ~WatchHub();  // all calls must have ended

  // Ends all calls, and those that come later, with UNAVAILABLE: whoever watches goes on elsewhere.
  void Close();

  // The reactor deletes itself when its call has ended.
  grpc::ServerWriteReactor<v1::WatchJobResponse>* Watch(const v1::WatchJobRequest& request);

 private:
  friend class WatchReactor;
  void Remove(WatchReactor* reactor);
  void Beat();

  Coordinator& coordinator_;
  absl::Mutex mutex_;
  std::set<WatchReactor*> reactors_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;   // no more calls
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;  // no more heart
  std::thread heart_;
};

}  // namespace birkhoff
