// Where job events last.  Events are appended, nothing is ever changed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace birkhoff {

// One logged event.  docs/formats.md has the kinds; body is theirs (event_codec.h).
struct StoredEvent {
  std::string job;      // "jobs/tiny"
  int64_t id = 0;       // 1-based, ascending within the job
  int64_t wall_ns = 0;  // since the Unix epoch, for people
  std::string kind;     // "created", "step", ...
  std::string body;
  // What the event made of the job, so that a watcher needs no replay; 0: state unchanged.
  int state = 0;
  std::string reason_code;
  std::string reason;
  int exit_code = 0;
  int attempt = 0;
};

// Thread-safe.  Errors: UNAVAILABLE the disk refuses (full, gone, locked by another process);
// DATA_LOSS the file is damaged, or holds another event of that number; RESOURCE_EXHAUSTED an event
// is too large, or memory has run out.
class JobStore {
 public:
  virtual ~JobStore() = default;
  // Whether what is appended will be found again: UNAVAILABLE where the file was removed, moved or
  // replaced while it is in use.  Append refuses then too.
  virtual absl::Status Check() const { return absl::OkStatus(); }
  // All or nothing; durable on return.
  virtual absl::Status Append(const std::vector<StoredEvent>& events) = 0;
  // Events of `job` with larger ids, at most `limit`, ascending.
  virtual absl::StatusOr<std::vector<StoredEvent>> Read(const std::string& job, int64_t after_id,
                                                        int limit) const = 0;
  // What a replay needs, in the order of appending: all events but steps, and the last step of each
  // job.
  virtual absl::StatusOr<std::vector<StoredEvent>> ReadForReplay() const = 0;
  // Plans by hash; writing one again is harmless.
  virtual absl::Status PutPlan(const std::string& hash, const std::string& bytes) = 0;
  virtual absl::StatusOr<std::string> GetPlan(const std::string& hash) const = 0;  // NOT_FOUND
};

// SQLite in WAL mode with full sync; ":memory:" keeps nothing.  Others may read the file meanwhile
// (sqlite3 FILE 'select ...'); that it has one coordinator is what the lock on PATH.lock says.
// FAILED_PRECONDITION: another coordinator has the file, or a newer release wrote it.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(const std::string& path);

}  // namespace birkhoff
