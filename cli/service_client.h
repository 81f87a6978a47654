// The coordinator's JobService for the verbs: one call each, errors as Status in the words of the
// server, or with how to start one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "birkhoff/v1/job.pb.h"
#include "birkhoff/v1/job_service.pb.h"

namespace birkhoff {

inline constexpr char kDefaultServer[] = "127.0.0.1:7443";

class ServiceClient {
 public:
  virtual ~ServiceClient() = default;
  // `server` empty: kDefaultServer.  UNAVAILABLE: nobody listens there.
  static absl::StatusOr<std::unique_ptr<ServiceClient>> Connect(const std::string& server);

  virtual absl::StatusOr<v1::Job> Create(const v1::CreateJobRequest& request) = 0;
  virtual absl::StatusOr<v1::Job> Get(const std::string& name) = 0;
  virtual absl::StatusOr<v1::Job> Cancel(const std::string& name) = 0;
  virtual absl::StatusOr<std::vector<v1::Job>> List(bool with_spec) = 0;  // all pages
  virtual absl::StatusOr<std::vector<v1::Worker>> ListWorkers() = 0;
  // Calls `visit` for each event after `after`, until the job ends (OK), `visit` returns false
  // (OK), or the server goes (UNAVAILABLE).
  virtual absl::Status Watch(const std::string& name, int64_t after,
                             const std::function<bool(const v1::JobEvent&)>& visit) = 0;
};

// "tiny" or "jobs/tiny" to "jobs/tiny".
std::string JobName(const std::string& name);

}  // namespace birkhoff
