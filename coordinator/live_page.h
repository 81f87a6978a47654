// The page that a person watches in a browser: jobs, their states and reasons, and live charts.
//
//   /             the page, which holds its scripts and styles
//   /api/jobs     the newest jobs, one object each, and the workers
//   /api/figures  ?job=NAME&job=NAME&show=ID&show=ID:FIRST:LAST&points=N: figures of these jobs,
//                 their events and specs; numbers for the figures alone that are shown, of N points
//                 a line, and N more between two values of x
#pragma once

#include <list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/coordinator.h"
#include "coordinator/job_history.h"
#include "core/base/disk.h"
#include "core/net/http_server.h"

namespace birkhoff {

class LivePage {
 public:
  // `listen` is "127.0.0.1:8080"; port 0: any free one.  `coordinator` must outlive it.
  // INVALID_ARGUMENT: no address, or one beyond loopback without `allow_plaintext`; UNAVAILABLE:
  // cannot be bound.
  static absl::StatusOr<std::unique_ptr<LivePage>> Start(const std::string& listen,
                                                         Coordinator& coordinator,
                                                         bool allow_plaintext = false);
  std::string address() const { return server_->address(); }  // with the real port

 private:
  static constexpr size_t kMostHistories = 4;     // kept, of the jobs that were asked for last
  static constexpr size_t kUpdatesAtOnce = 2000;  // read in one request, of each job

  explicit LivePage(Coordinator& coordinator) : coordinator_(coordinator) {}
  // Thread of the server, as all below.
  HttpPage Jobs();
  HttpPage Figures(const HttpQuery& query);
  absl::StatusOr<JobHistory*> HistoryOf(const std::string& name);
  // Reads trace.json where the job's directory can be seen from here; else what its plan says.
  void LookForTrace(const std::string& name, JobHistory* history);

  Coordinator& coordinator_;
  PosixDisk disk_;
  std::list<JobHistory> histories_;     // the last that was asked for first
  std::unique_ptr<HttpServer> server_;  // last: its thread uses the others
};

}  // namespace birkhoff
