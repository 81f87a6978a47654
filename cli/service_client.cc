// Blocking calls over one channel.
#include "cli/service_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"
#include "core/net/status.h"

namespace birkhoff {
namespace {

constexpr std::chrono::seconds kCallTimeout(30);
constexpr absl::Duration kConnectTimeout = absl::Seconds(2);

template <typename Method, typename Request, typename Response>
absl::Status Call(const std::shared_ptr<grpc::Channel>& channel, Method method,
                  const Request& request, Response* response) {
  v1::JobService::Stub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  return FromGrpc((stub.*method)(&context, request, response));
}

}  // namespace

absl::StatusOr<ServiceClient> ServiceClient::Connect(const std::string& server) {
  const std::string address = server.empty() ? kDefaultServer : server;
  std::shared_ptr<grpc::Channel> channel = NewChannel(address);
  RETURN_IF_ERROR(WaitForChannel(*channel, address, kConnectTimeout));
  return ServiceClient(std::move(channel));
}

absl::StatusOr<v1::Job> ServiceClient::Create(const v1::CreateJobRequest& request) const {
  v1::CreateJobResponse response;
  RETURN_IF_ERROR(Call(channel_, &v1::JobService::Stub::CreateJob, request, &response));
  return response.job();
}

absl::StatusOr<v1::Job> ServiceClient::Get(const std::string& name) const {
  v1::GetJobRequest request;
  request.set_name(name);
  v1::GetJobResponse response;
  RETURN_IF_ERROR(Call(channel_, &v1::JobService::Stub::GetJob, request, &response));
  return response.job();
}

absl::StatusOr<v1::Job> ServiceClient::Cancel(const std::string& name) const {
  v1::CancelJobRequest request;
  request.set_name(name);
  v1::CancelJobResponse response;
  RETURN_IF_ERROR(Call(channel_, &v1::JobService::Stub::CancelJob, request, &response));
  return response.job();
}

absl::StatusOr<std::vector<v1::Job>> ServiceClient::List(bool with_spec) const {
  std::vector<v1::Job> jobs;
  v1::ListJobsRequest request;
  request.set_with_spec(with_spec);
  do {
    v1::ListJobsResponse response;
    RETURN_IF_ERROR(Call(channel_, &v1::JobService::Stub::ListJobs, request, &response));
    jobs.insert(jobs.end(), response.jobs().begin(), response.jobs().end());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return jobs;
}

absl::StatusOr<std::vector<v1::Worker>> ServiceClient::ListWorkers() const {
  std::vector<v1::Worker> workers;
  v1::ListWorkersRequest request;
  do {
    v1::ListWorkersResponse response;
    RETURN_IF_ERROR(Call(channel_, &v1::JobService::Stub::ListWorkers, request, &response));
    workers.insert(workers.end(), response.workers().begin(), response.workers().end());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return workers;
}

absl::Status ServiceClient::Watch(const std::string& name, int64_t after,
                                  const std::function<bool(const v1::JobEvent&)>& visit) const {
  v1::JobService::Stub stub(channel_);
  grpc::ClientContext context;  // without a deadline: jobs take as long as they take
  v1::WatchJobRequest request;
  request.set_name(name);
  request.set_after_event_id(after);
  const auto reader = stub.WatchJob(&context, request);
  v1::WatchJobResponse response;
  while (reader->Read(&response)) {
    if (!response.has_event() || visit(response.event())) continue;
    context.TryCancel();
    reader->Finish();
    return absl::OkStatus();
  }
  return FromGrpc(reader->Finish());
}

std::string JobName(const std::string& name) {
  return absl::StartsWith(name, "jobs/") ? name : absl::StrCat("jobs/", name);
}

}  // namespace birkhoff
