// A TCP listener of our own in front of gRPC, because connections must be counted: gRPC 1.51 takes
// them without bound, and once descriptors have run out its own listener stays deaf for good
// (CVE-2023-4785).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"

namespace birkhoff {

// How many connections a process with this limit of descriptors may hold: the others are for its
// files and for what it opens itself.
int MostConnections(int64_t descriptor_limit);
// Of this process, as its limit is now.
int MostConnections();

// Thread-safe but for Start and Stop.
class Listener {
 public:
  // Binds every address of HOST:PORT (port 0: any free one, the same for all) and listens; nobody
  // is taken yet.  At most `limit` connections live at a time.  UNAVAILABLE: the address cannot be
  // bound.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const std::string& address, int limit);
  ~Listener();

  // `take` is called from a thread of the listener for each connection that comes, with the
  // listening descriptor and a non-blocking one that it owns from then on and closes in the end.
  // Beyond the limit connections are closed as they come.
  void Start(std::function<void(int listener, int connection)> take);
  // No more are taken, and the address is free.  Idempotent.
  void Stop();

  std::string address() const { return address_; }  // with the real port
  // How many were closed because of the limit, or because descriptors had run out.
  int64_t refused() const;

 private:
  struct Descriptors;  // closes them
  Listener(std::string address, int limit, std::unique_ptr<Descriptors> descriptors);

  void Run();
  void Accept(int listener);
  void Refuse(int connection);
  void MakeRoom(int listener);
  bool IsFull();

  const std::string address_;
  const int limit_;
  std::unique_ptr<Descriptors> descriptors_;
  std::function<void(int, int)> take_;
  // The sockets that were handed out, by descriptor: one that now names something else was closed.
  std::map<int, ino_t> taken_;     // of the thread alone
  std::optional<Instant> looked_;  // when all of them were looked at last and none was closed
  mutable absl::Mutex mutex_;
  int64_t refused_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace birkhoff
