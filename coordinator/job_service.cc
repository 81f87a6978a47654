// Requests are checked here, bounds first, then every problem at once; what is left is one call of
// the coordinator and a message made of its answer.
#include "coordinator/job_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "coordinator/convert_view.h"
#include "coordinator/watch_service.h"
#include "core/base/guarded.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "core/net/bounds.h"
#include "core/net/convert.h"
#include "core/net/status.h"
#include "core/plan/text.h"
#include "core/spec/spec_change.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

constexpr int kDefaultWorkers = 1000;  // of a page
constexpr int kMostWorkers = 10000;
constexpr size_t kPageBytes = 1 << 20;  // a page ends with the job that goes beyond

// Runs a handler to its end, in the thread of the call, and answers.
template <class Request, class Handler>
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const Request& request,
                                 const char* method, Handler handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(Guarded(method, [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckBounds(request));
    return handler();
  })));
  return reactor;
}

absl::StatusOr<JobSpec> SpecOf(const v1::CreateJobRequest& request) {
  JobSpec spec;
  std::vector<Problem> problems;
  if (request.has_yaml()) {
    const std::vector<std::string> overrides(request.overrides().begin(),
                                             request.overrides().end());
    problems = ReadJobSpec(request.yaml(), overrides, &spec);
  } else if (request.has_spec()) {
    RETURN_IF_ERROR(BadRequest(CheckSpecBytes(request.spec().ByteSizeLong())));
    if (!request.overrides().empty()) {
      problems.push_back({"overrides", request.overrides(0), "overrides with yaml only",
                          "set the field in the spec"});
    }
    ASSIGN_OR_RETURN(spec, FromProto(request.spec()));
    for (Problem& problem : ValidateJobSpec(spec)) problems.push_back(std::move(problem));
  } else {
    problems.push_back({"source", "none", "spec or yaml", ""});
  }
  if (problems.empty() && !ResolveVocabulary(&spec)) {
    problems.push_back({"model.vocab_size", "0", "the size of the tokenizer's vocabulary",
                        "the coordinator opens no files; birkhoff submit fills it in"});
  }
  RETURN_IF_ERROR(BadRequest(problems));
  return spec;
}

// What a job begins with, beside its spec.
std::vector<Problem> CheckBeginning(const SubmitRequest& submit) {
  std::vector<Problem> problems = CheckAskedChanges(submit.changes, "changes");
  if (Printable(submit.init_from) != submit.init_from) {
    problems.push_back(
        {"init_from", Printable(submit.init_from), "a text without control characters", ""});
  }
  return problems;
}

class GrpcJobService final : public JobService, private v1::JobService::CallbackService {
 public:
  GrpcJobService(Coordinator& coordinator, std::string version)
      : coordinator_(coordinator), version_(std::move(version)), watches_(coordinator) {}
  grpc::Service* service() override { return this; }
  void EndWatches() override { watches_.Close(); }

 private:
  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext* context,
                                      const v1::CreateJobRequest* request,
                                      v1::CreateJobResponse* response) override {
    return Answer(context, *request, "CreateJob", [&] { return Create(*request, *response); });
  }
  absl::Status Create(const v1::CreateJobRequest& request, v1::CreateJobResponse& response) {
    SubmitRequest submit;
    ASSIGN_OR_RETURN(submit.spec, SpecOf(request));
    std::vector<Problem> problems;
    CheckText("output_directory", request.output_directory(), &problems);
    RETURN_IF_ERROR(BadRequest(problems));
    submit.changes.assign(request.changes().begin(), request.changes().end());
    submit.init_from = request.init_from();
    RETURN_IF_ERROR(BadRequest(CheckBeginning(submit)));
    if (request.validate_only()) {
      response.mutable_job()->set_name(absl::StrCat("jobs/", submit.spec.name));
      ToProto(submit.spec, response.mutable_job()->mutable_spec());
      return absl::OkStatus();
    }
    submit.request_id = request.request_id();
    submit.priority = request.priority();
    submit.output_directory = request.output_directory();
    submit.fresh = request.fresh();
    ASSIGN_OR_RETURN(const JobView job, coordinator_.Submit(submit));
    ToProto(job, response.mutable_job());
    return absl::OkStatus();
  }

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request,
                                   v1::GetJobResponse* response) override {
    return Answer(context, *request, "GetJob", [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const JobView job, coordinator_.GetJob(request->name()));
      ToProto(job, response->mutable_job());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override {
    return Answer(context, *request, "ListJobs", [&] { return List(*request, *response); });
  }
  absl::Status List(const v1::ListJobsRequest& request, v1::ListJobsResponse& response) {
    ListRequest list{request.page_size(), request.page_token(), {}, request.with_spec()};
    for (const int state : request.states()) {
      if (state < static_cast<int>(JobState::kQueued) ||
          state > static_cast<int>(JobState::kCancelled)) {
        return BadRequest({{"states", absl::StrCat(state), "a state of Job.State", ""}});
      }
      list.states.push_back(static_cast<JobState>(state));
    }
    ASSIGN_OR_RETURN(const JobPage page, coordinator_.ListJobs(list));
    response.set_next_page_token(page.next_page_token);
    size_t bytes = 0;
    for (size_t i = 0; i < page.jobs.size(); ++i) {
      v1::Job* job = response.add_jobs();
      ToProto(page.jobs[i], job, request.with_spec());
      bytes += job->ByteSizeLong();
      if (bytes < kPageBytes || i + 1 == page.jobs.size()) continue;
      response.set_next_page_token(page.jobs[i].page_token);
      break;
    }
    return absl::OkStatus();
  }

  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext* /*context*/, const v1::WatchJobRequest* request) override {
    return watches_.Watch(*request);  // which checks its bounds
  }

  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request,
                                      v1::CancelJobResponse* response) override {
    return Answer(context, *request, "CancelJob", [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const JobView job, coordinator_.Cancel(request->name()));
      ToProto(job, response->mutable_job());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetPlan(grpc::CallbackServerContext* context,
                                    const v1::GetPlanRequest* request,
                                    v1::GetPlanResponse* response) override {
    return Answer(context, *request, "GetPlan", [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const Plan plan, coordinator_.GetPlan(request->name()));
      ToProto(plan, response->mutable_plan());
      response->set_plan_hash(PlanHash(plan));
      response->set_text(PlanToText(plan));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListWorkers(grpc::CallbackServerContext* context,
                                        const v1::ListWorkersRequest* request,
                                        v1::ListWorkersResponse* response) override {
    return Answer(context, *request, "ListWorkers", [&] { return List(*request, *response); });
  }
  // The token is the last name of the page before: workers come and go between pages.
  absl::Status List(const v1::ListWorkersRequest& request, v1::ListWorkersResponse& response) {
    const int size = request.page_size();
    if (size < 0) return BadRequest({{"page_size", absl::StrCat(size), "at least 0", ""}});
    const int limit = size == 0 ? kDefaultWorkers : std::min(size, kMostWorkers);
    for (const WorkerView& worker : coordinator_.ListWorkers()) {
      if (worker.resources.name <= request.page_token()) continue;
      if (response.workers_size() == limit) {
        response.set_next_page_token(response.workers(limit - 1).name());
        break;
      }
      ToProto(worker, response.add_workers());
    }
    return absl::OkStatus();
  }

  grpc::ServerUnaryReactor* GetVersion(grpc::CallbackServerContext* context,
                                       const v1::GetVersionRequest* request,
                                       v1::GetVersionResponse* response) override {
    return Answer(context, *request, "GetVersion", [&] {
      response->set_version(version_);
      return absl::OkStatus();
    });
  }

  Coordinator& coordinator_;
  const std::string version_;
  WatchHub watches_;
};

}  // namespace

std::unique_ptr<JobService> JobService::New(Coordinator& coordinator, std::string version) {
  return std::make_unique<GrpcJobService>(coordinator, std::move(version));
}

}  // namespace birkhoff
