// Frames over a socket pair: four bytes of length (little endian), then the bytes.  Between a
// supervisor and its rank process.
#pragma once

#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace birkhoff {

// Owns the descriptor.  Write from any threads, Read from one.
class FramePipe {
 public:
  explicit FramePipe(int fd) : fd_(fd) {}
  ~FramePipe();
  FramePipe(const FramePipe&) = delete;
  FramePipe& operator=(const FramePipe&) = delete;

  // UNAVAILABLE: the other end is gone.
  absl::Status Write(std::string_view frame) ABSL_LOCKS_EXCLUDED(mutex_);
  // OUT_OF_RANGE: the other end has closed; UNAVAILABLE: it is gone; DATA_LOSS: too long a frame.
  absl::StatusOr<std::string> Read();
  void Shutdown();  // wakes a reader; any thread

 private:
  absl::Mutex mutex_;  // a frame is written whole
  const int fd_;
};

// A connected pair; the second end is not closed on exec.  UNAVAILABLE: no descriptors left.
struct FrameSockets {
  int ours = -1;
  int childs = -1;
};
absl::StatusOr<FrameSockets> NewFrameSockets();

}  // namespace birkhoff
