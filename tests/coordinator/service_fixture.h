// A coordinator behind its two services on a loopback port, and clients of both.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "birkhoff/v1/worker_service.grpc.pb.h"
#include "coordinator/job_service.h"
#include "coordinator/worker_service.h"
#include "core/net/channel.h"
#include "core/net/convert.h"
#include "core/net/server.h"
#include "core/net/status.h"
#include "core/plan/compile.h"

namespace birkhoff {

// A store in memory whose disk can be full.
class FullableStore final : public JobStore {
 public:
  absl::Status Append(const std::vector<StoredEvent>& events) override {
    if (full_) return absl::UnavailableError("the disk is full");
    if (throws_.exchange(false)) throw std::bad_alloc();
    return store_->Append(events);
  }
  absl::StatusOr<std::vector<StoredEvent>> Read(const std::string& job, int64_t after_id,
                                                int limit) const override {
    return store_->Read(job, after_id, limit);
  }
  absl::StatusOr<std::vector<StoredEvent>> ReadForReplay() const override {
    return store_->ReadForReplay();
  }
  absl::Status PutPlan(const std::string& hash, const std::string& bytes) override {
    return store_->PutPlan(hash, bytes);
  }
  absl::StatusOr<std::string> GetPlan(const std::string& hash) const override {
    return store_->GetPlan(hash);
  }
  void SetFull(bool full) { full_ = full; }
  void ThrowAtNextAppend() { throws_ = true; }

 private:
  const std::unique_ptr<JobStore> store_ = *OpenSqliteStore(":memory:");
  std::atomic<bool> full_{false};
  std::atomic<bool> throws_{false};
};

// The context of one call; no call of a test takes longer than this.
class Call : public grpc::ClientContext {
 public:
  Call() { set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30))); }
};

// A worker by its stream alone.
class StreamWorker {
 public:
  StreamWorker(const std::string& address, std::string name, uint64_t incarnation)
      : name_(std::move(name)),
        incarnation_(incarnation),
        stub_(v1::WorkerService::NewStub(NewChannel(address))),
        stream_(stub_->Connect(&call_)) {}
  ~StreamWorker() {
    if (!finished_) call_.TryCancel();
  }

  bool Say(WorkerPayload payload) {
    v1::ConnectRequest request;
    ToProto(WorkerMessage{name_, incarnation_, std::move(payload)}, &request);
    return stream_->Write(request);
  }
  bool SayNothing() { return stream_->Write({}); }
  bool Greet() {
    Hello hello;
    hello.resources.device = "cpu";
    hello.address = "127.0.0.1";
    return Say(hello);
  }
  // The next message must be of this kind.
  template <typename Message>
  Message Hear() {
    v1::ConnectResponse response;
    if (!stream_->Read(&response)) {
      ADD_FAILURE() << "the stream has ended: " << End();
      return {};
    }
    const absl::StatusOr<CoordinatorMessage> message = FromProto(response);
    const auto* wanted = message.ok() ? std::get_if<Message>(&*message) : nullptr;
    EXPECT_NE(wanted, nullptr) << response.ShortDebugString();
    return wanted == nullptr ? Message{} : *wanted;
  }
  // How the stream ends; what still comes before is dropped.
  absl::Status End() {
    v1::ConnectResponse response;
    while (stream_->Read(&response)) {
    }
    finished_ = true;
    return FromGrpc(stream_->Finish());
  }
  void Close() { stream_->WritesDone(); }

 private:
  const std::string name_;
  const uint64_t incarnation_;
  Call call_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::ConnectRequest, v1::ConnectResponse>> stream_;
  bool finished_ = false;
};

class ServiceFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    auto coordinator = Coordinator::Create({}, clock_, store_, CompilePlan);
    ASSERT_TRUE(coordinator.ok()) << coordinator.status();
    coordinator_ = *std::move(coordinator);
    jobs_service_ = JobService::New(*coordinator_, "1.2.3");
    workers_service_ = WorkerService::New(*coordinator_, limits_);
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"},
                                   {jobs_service_->service(), workers_service_->service()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    jobs_ = v1::JobService::NewStub(NewChannel(server_->address()));
  }

  static v1::CreateJobRequest Tiny(const std::string& request_id = "") {
    v1::CreateJobRequest request;
    request.set_request_id(request_id);
    request.set_yaml("{name: tiny, data: {train: corpus}}");
    return request;
  }
  absl::Status Create(const v1::CreateJobRequest& request, v1::Job* job = nullptr) {
    Call call;
    v1::CreateJobResponse response;
    const absl::Status status = FromGrpc(jobs_->CreateJob(&call, request, &response));
    if (job != nullptr) *job = response.job();
    return status;
  }
  absl::Status Get(const std::string& name, v1::Job* job = nullptr) {
    Call call;
    v1::GetJobRequest request;
    request.set_name(name);
    v1::GetJobResponse response;
    const absl::Status status = FromGrpc(jobs_->GetJob(&call, request, &response));
    if (job != nullptr) *job = response.job();
    return status;
  }
  absl::Status Cancel(const std::string& name) {
    Call call;
    v1::CancelJobRequest request;
    request.set_name(name);
    v1::CancelJobResponse response;
    return FromGrpc(jobs_->CancelJob(&call, request, &response));
  }
  absl::StatusOr<v1::ListJobsResponse> List(const v1::ListJobsRequest& request) {
    Call call;
    v1::ListJobsResponse response;
    const absl::Status status = FromGrpc(jobs_->ListJobs(&call, request, &response));
    if (!status.ok()) return status;
    return response;
  }
  std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>> Watch(Call& call,
                                                                  const std::string& name,
                                                                  int64_t after_event_id) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_after_event_id(after_event_id);
    return jobs_->WatchJob(&call, request);
  }

  WorkerServiceLimits limits_;
  SystemClock clock_;
  FullableStore store_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<JobService> jobs_service_;
  std::unique_ptr<WorkerService> workers_service_;
  std::unique_ptr<RpcServer> server_;  // goes before what its calls use
  std::unique_ptr<v1::JobService::Stub> jobs_;
};

}  // namespace birkhoff
