// The coordinator's JobService for the verbs: one call each, errors as Status in the words of the
// server, or with how to start one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "birkhoff/v1/job.pb.h"
#include "birkhoff/v1/job_service.pb.h"

namespace grpc {
class Channel;
}

namespace birkhoff {

inline constexpr char kDefaultServer[] = "127.0.0.1:7443";

class ServiceClient {
 public:
  // `server` empty: kDefaultServer.  UNAVAILABLE: nobody listens there.
  static absl::StatusOr<ServiceClient> Connect(const std::string& server);

  absl::StatusOr<v1::Job> Create(const v1::CreateJobRequest& request) const;
  absl::StatusOr<v1::Job> Get(const std::string& name) const;
  absl::StatusOr<v1::Job> Cancel(const std::string& name) const;
  absl::StatusOr<std::vector<v1::Job>> List(bool with_spec) const;  // all pages
  absl::StatusOr<std::vector<v1::Worker>> ListWorkers() const;
  // Calls `visit` for each event after `after`, until the job ends (OK), `visit` returns false
  // (OK), or the server goes (UNAVAILABLE).
  absl::Status Watch(const std::string& name, int64_t after,
                     const std::function<bool(const v1::JobEvent&)>& visit) const;

 private:
  explicit ServiceClient(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {}

  const std::shared_ptr<grpc::Channel> channel_;
};

// "tiny" or "jobs/tiny" to "jobs/tiny".
std::string JobName(const std::string& name);

}  // namespace birkhoff
