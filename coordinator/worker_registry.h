// Which workers there are, which life of each, until when its lease runs, and for whom it works.
// Pure: time is an argument.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/protocol/messages.h"
#include "core/spec/cluster.h"

namespace birkhoff {

struct RegisteredWorker {
  WorkerResources resources;
  std::string address;
  uint64_t incarnation = 0;
  bool lost = false;      // its lease ran out, and it has not come back
  Instant lease_end;      // while not lost
  Instant lost_since;     // while lost
  absl::Time last_heard;  // for people
  std::string job;        // that it works for; empty: idle
  int attempt = 0;
  int rank = 0;
};

class WorkerRegistry {
 public:
  // `forget`: how long a lost worker stays in the list.
  WorkerRegistry(absl::Duration lease, absl::Duration forget) : lease_(lease), forget_(forget) {}

  // A life of a worker says hello; `elsewhere`: over another connection than the one that the
  // registered life still holds.  True if it takes the place of another life, whose work is lost.
  // While the registered life is alive: ABORTED an older life speaks; UNAVAILABLE a younger one
  // does, elsewhere: two processes have the name.  One that is silent gives way to either: a clock
  // that was ahead once locks nobody out.
  absl::StatusOr<bool> Register(Instant now, absl::Time wall, uint64_t incarnation,
                                const Hello& hello, bool elsewhere = false);
  // Any other message: renews the lease.  NOT_FOUND: never said hello; ABORTED: not this life.
  absl::Status Heard(Instant now, absl::Time wall, const std::string& name, uint64_t incarnation);
  // After a replay: the worker of a running attempt gets one full lease to come back.
  void Expect(Instant now, const std::string& name, uint64_t incarnation);
  // Nobody could be heard for so long: every lease that still runs ends later by as much.
  void Extend(absl::Duration by);
  // Workers whose leases have just run out; says so once for each.
  std::vector<std::string> Expire(Instant now);

  void Assign(const std::string& name, const std::string& job, int attempt, int rank);
  // The worker is idle again, if it still works for that attempt.
  void Release(const std::string& name, const std::string& job, int attempt);

  // Idle workers that live, by name.  `device`: "cpu", "cuda" or "" for any.
  std::vector<std::string> Idle(const std::string& device) const;
  const RegisteredWorker* Find(const std::string& name) const;  // null: unknown
  const std::map<std::string, RegisteredWorker>& workers() const { return workers_; }

 private:
  absl::Duration lease_;
  absl::Duration forget_;
  std::map<std::string, RegisteredWorker> workers_;
};

}  // namespace birkhoff
