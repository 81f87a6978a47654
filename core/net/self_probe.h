// Whether this server can still be reached: a server that has run out of descriptors may be deaf
// for good (gRPC 1.51, CVE-2023-4785) while all that it does otherwise looks healthy.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpc {
class ClientContext;
}

namespace birkhoff {

struct SelfProbeOptions {
  std::string address;                         // that the server listens on
  absl::Duration interval = absl::Seconds(5);  // between two calls
  absl::Duration patience = absl::Seconds(5);  // with one call
  int failures = 3;                            // in a row, after which it is deaf
  // How many connections the server has refused so far because there were too many.  A call during
  // which that has grown is no failure: whoever refuses hears.  May be null.
  std::function<int64_t()> refused = nullptr;
};

// Calls GetVersion over a new connection again and again, from a thread of its own.
class SelfProbe {
 public:
  // `on_deaf` is called once, from the thread, with what the last call said.
  SelfProbe(SelfProbeOptions options, std::function<void(const std::string&)> on_deaf);
  ~SelfProbe();  // cancels a running call

 private:
  void Run();
  absl::Status Call();

  const SelfProbeOptions options_;
  const std::function<void(const std::string&)> on_deaf_;
  absl::Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace birkhoff
