// JobService over loopback: what any client sees, errors with their details included.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/plan/text.h"
#include "tests/coordinator/job_events.h"
#include "tests/coordinator/service_fixture.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

using JobServiceTest = ServiceFixture;

TEST_F(JobServiceTest, CreatesAJobFromYamlWithOverrides) {
  v1::CreateJobRequest request = Tiny();
  request.add_overrides("training.steps=70");
  request.set_priority(3);
  request.set_output_directory("/out");
  request.set_fresh(true);
  v1::Job job;
  ASSERT_TRUE(Create(request, &job).ok());
  EXPECT_EQ(job.name(), "jobs/tiny");
  EXPECT_EQ(job.state(), v1::Job::STATE_QUEUED);
  EXPECT_EQ(job.reason().code(), "WAITING_FOR_WORKERS");
  EXPECT_EQ(job.spec().training().steps(), 70);
  EXPECT_EQ(job.spec().model().vocab_size(), 257) << "resolved";
  EXPECT_EQ(job.priority(), 3);
  EXPECT_EQ(job.output_directory(), "/out");
  EXPECT_GT(job.create_time().seconds(), 0);
  v1::Job again;
  ASSERT_TRUE(Get("jobs/tiny", &again).ok());
  EXPECT_EQ(again.SerializeAsString(), job.SerializeAsString());
}

TEST_F(JobServiceTest, CreatesAJobFromAMessage) {
  v1::CreateJobRequest request;
  request.mutable_spec()->set_name("message");
  request.mutable_spec()->mutable_data()->add_train()->set_path("corpus");
  v1::Job job;
  ASSERT_TRUE(Create(request, &job).ok());
  EXPECT_EQ(job.name(), "jobs/message");
  EXPECT_EQ(job.spec().training().steps(), 200) << "the default";
}

TEST_F(JobServiceTest, ValidateOnlyJudgesAndMakesNothing) {
  v1::CreateJobRequest request = Tiny("id");
  request.set_validate_only(true);
  v1::Job job;
  ASSERT_TRUE(Create(request, &job).ok());
  EXPECT_EQ(job.name(), "jobs/tiny");
  EXPECT_EQ(job.state(), v1::Job::STATE_UNSPECIFIED);
  EXPECT_TRUE(absl::IsNotFound(Get("jobs/tiny")));
  request.add_overrides("training.steps=0");
  EXPECT_TRUE(absl::IsInvalidArgument(Create(request)));
}

TEST_F(JobServiceTest, TellsEverythingThatIsWrongAtOnce) {
  v1::CreateJobRequest request;
  request.set_yaml(
      "{name: tiny, modle: 1, model: {hidden_size: banana}, training: {steps: 0}, "
      "data: {train: corpus}}");
  request.add_overrides("optimizer.lr=-1");
  const absl::Status status = Create(request);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  std::set<std::string> fields;
  for (const FieldViolation& violation : ViolationsOf(status)) {
    fields.insert(violation.field);
    EXPECT_THAT(violation.description, HasSubstr("is not allowed"));
  }
  for (const char* field : {"modle", "model.hidden_size", "training.steps", "optimizer.lr"}) {
    EXPECT_TRUE(fields.contains(field)) << field << " is missing in " << status;
  }
}

TEST_F(JobServiceTest, NamesWhatIsWrongWithARequestItself) {
  EXPECT_THAT(ViolationsOf(Create({})), ElementsAre(Field(&FieldViolation::field, "source")));
  v1::CreateJobRequest mixed;
  mixed.mutable_spec()->mutable_data()->add_train()->set_path("corpus");
  mixed.add_overrides("training.steps=70");
  EXPECT_THAT(ViolationsOf(Create(mixed)), ElementsAre(Field(&FieldViolation::field, "overrides")));
  v1::CreateJobRequest piece = Tiny();
  piece.add_overrides("data.tokenizer=some.model");
  EXPECT_THAT(ViolationsOf(Create(piece)),
              ElementsAre(Field(&FieldViolation::field, "model.vocab_size")));
}

// Whatever is sent: a refusal, and a server that still answers.
TEST_F(JobServiceTest, SurvivesTextsMadeToBreakIt) {
  const std::string deep(200'000, '['), map(200'000, '{'), dashes(200'000, '-');
  std::string bomb = "a0: &a0 [x, x]\n";  // 2^40 leaves, if somebody walks them
  for (int i = 1; i < 40; ++i) {
    absl::StrAppend(&bomb, "a", i, ": &a", i, " [*a", i - 1, ", *a", i - 1, "]\n");
  }
  std::string many;
  for (int i = 0; i < 500; ++i) absl::StrAppend(&many, "kéy", i, ": ", deep.substr(0, 50), "\n");
  for (const std::string& text : {deep, map, dashes, bomb, many, std::string("&a [*a]"),
                                  std::string("a: b: c"), std::string("\t"), std::string("\0", 1),
                                  std::string("- &x\n  *x"), std::string("!!binary |")}) {
    v1::CreateJobRequest request;
    request.set_yaml(text);
    const absl::Status status = Create(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status << " from " << text.substr(0, 40);
  }
  many.clear();
  for (int i = 0; i < 500; ++i) absl::StrAppend(&many, "kéy", i, ": 1\n");
  v1::CreateJobRequest request;
  request.set_yaml(many);
  EXPECT_THAT(ViolationsOf(Create(request)), Not(IsEmpty()));
  EXPECT_TRUE(absl::IsNotFound(Get(std::string(4096, 'x'))));
  EXPECT_TRUE(absl::IsInvalidArgument(Get(std::string(1'000'000, 'x'))));
  EXPECT_TRUE(Create(Tiny()).ok());
}

TEST_F(JobServiceTest, ARepeatedRequestIdReturnsTheFirstJob) {
  v1::Job first, second;
  ASSERT_TRUE(Create(Tiny("one"), &first).ok());
  ASSERT_TRUE(Create(Tiny("one"), &second).ok());
  EXPECT_EQ(second.SerializeAsString(), first.SerializeAsString());
  v1::CreateJobRequest other = Tiny("one");
  other.add_overrides("training.steps=70");
  EXPECT_TRUE(absl::IsAlreadyExists(Create(other)));
  EXPECT_TRUE(absl::IsAlreadyExists(Create(Tiny("two")))) << "the name is taken";
  EXPECT_THAT(List({})->jobs(), SizeIs(1));
}

TEST_F(JobServiceTest, WhatAJobBeginsWithIsChecked) {
  v1::CreateJobRequest request = Tiny("one");
  request.add_changes("optimizer.lr");
  request.add_changes("model.rope_theta");
  request.add_changes("optimizer.rl");
  request.set_init_from("/runs/a\n");
  for (const bool validate_only : {true, false}) {
    request.set_validate_only(validate_only);
    EXPECT_THAT(
        ViolationsOf(Create(request)),
        ElementsAre(
            AllOf(
                Field(&FieldViolation::field, "changes"),
                Field(&FieldViolation::description, HasSubstr("model.rope_theta is not allowed"))),
            AllOf(Field(&FieldViolation::field, "changes"),
                  Field(&FieldViolation::description, HasSubstr("did you mean optimizer.lr?"))),
            Field(&FieldViolation::field, "init_from")));
  }
  EXPECT_THAT(List({})->jobs(), IsEmpty());
}

TEST_F(JobServiceTest, ARequestIdIsThatOfOneBeginning) {
  ASSERT_TRUE(Create(Tiny("one")).ok());
  v1::CreateJobRequest changed = Tiny("one"), begun = Tiny("one");
  changed.add_changes("optimizer.lr");
  begun.set_init_from("/runs/a");
  EXPECT_TRUE(absl::IsAlreadyExists(Create(changed)));
  EXPECT_TRUE(absl::IsAlreadyExists(Create(begun)));
}

TEST_F(JobServiceTest, SaysWhatIsNotThere) {
  const absl::Status status = Get("jobs/nobody");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("there is no job jobs/nobody"));
  EXPECT_TRUE(absl::IsNotFound(Cancel("jobs/nobody")));
}

TEST_F(JobServiceTest, ListsPageByPageNewestFirst) {
  for (int job = 0; job < 5; ++job) {
    v1::CreateJobRequest request = Tiny();
    request.add_overrides(absl::StrCat("name=job-", job));
    ASSERT_TRUE(Create(request).ok());
  }
  v1::ListJobsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  std::vector<int> sizes;
  do {
    const absl::StatusOr<v1::ListJobsResponse> page = List(request);
    ASSERT_TRUE(page.ok()) << page.status();
    sizes.push_back(page->jobs_size());
    for (const v1::Job& job : page->jobs()) names.push_back(job.name());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(sizes, ElementsAre(2, 2, 1));
  EXPECT_THAT(names,
              ElementsAre("jobs/job-4", "jobs/job-3", "jobs/job-2", "jobs/job-1", "jobs/job-0"));
}

TEST_F(JobServiceTest, ListsByStateAndRefusesWhatCannotBeListed) {
  ASSERT_TRUE(Create(Tiny()).ok());
  ASSERT_TRUE(Cancel("jobs/tiny").ok());
  ASSERT_TRUE(Create(Tiny()).ok());
  v1::ListJobsRequest request;
  request.add_states(v1::Job::STATE_CANCELLED);
  const absl::StatusOr<v1::ListJobsResponse> cancelled = List(request);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  ASSERT_THAT(cancelled->jobs(), SizeIs(1));
  EXPECT_EQ(cancelled->jobs(0).name(), "jobs/tiny");
  request.add_states(v1::Job::STATE_UNSPECIFIED);
  EXPECT_THAT(ViolationsOf(List(request).status()),
              ElementsAre(Field(&FieldViolation::field, "states")));
  request.Clear();
  request.set_page_size(-1);
  EXPECT_TRUE(absl::IsInvalidArgument(List(request).status()));
  request.Clear();
  request.set_page_token("not one of ours");
  EXPECT_TRUE(absl::IsInvalidArgument(List(request).status()));
}

TEST_F(JobServiceTest, CancelsOnceAndForAll) {
  ASSERT_TRUE(Create(Tiny()).ok());
  EXPECT_TRUE(Cancel("jobs/tiny").ok());
  EXPECT_TRUE(Cancel("jobs/tiny").ok()) << "repeating it is harmless";
  v1::Job job;
  ASSERT_TRUE(Get("jobs/tiny", &job).ok());
  EXPECT_EQ(job.state(), v1::Job::STATE_CANCELLED);
  EXPECT_EQ(job.exit_code(), 75);
}

TEST_F(JobServiceTest, AFullDiskIsUnavailableAndChangesNothing) {
  store_.SetFull(true);
  EXPECT_TRUE(absl::IsUnavailable(Create(Tiny("one"))));
  EXPECT_THAT(List({})->jobs(), IsEmpty());
  store_.SetFull(false);
  ASSERT_TRUE(Create(Tiny("one")).ok()) << "said again";
  store_.SetFull(true);
  EXPECT_TRUE(absl::IsUnavailable(Cancel("jobs/tiny")));
  v1::Job job;
  ASSERT_TRUE(Get("jobs/tiny", &job).ok());
  EXPECT_EQ(job.state(), v1::Job::STATE_QUEUED);
}

TEST_F(JobServiceTest, AnswersItsVersion) {
  Call call;
  v1::GetVersionResponse response;
  ASSERT_TRUE(jobs_->GetVersion(&call, {}, &response).ok());
  EXPECT_EQ(response.version(), "1.2.3");
}

TEST_F(JobServiceTest, ShowsThePlanOnceThereIsOne) {
  ASSERT_TRUE(Create(Tiny()).ok());
  v1::GetPlanRequest request;
  request.set_name("jobs/tiny");
  v1::GetPlanResponse response;
  {
    Call call;
    const absl::Status none = FromGrpc(jobs_->GetPlan(&call, request, &response));
    EXPECT_TRUE(absl::IsFailedPrecondition(none)) << none;
  }
  StreamWorker a(server_->address(), "workers/a", 1), b(server_->address(), "workers/b", 1);
  for (StreamWorker* worker : {&a, &b}) {
    ASSERT_TRUE(worker->Greet());
    worker->Hear<Welcome>();
  }
  const StartAttempt start = b.Hear<StartAttempt>();
  Call call;
  ASSERT_TRUE(jobs_->GetPlan(&call, request, &response).ok());
  EXPECT_EQ(response.plan_hash(), start.assignment.plan_hash);
  const absl::StatusOr<Plan> parsed = PlanFromText(response.text());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(PlanHash(*parsed), response.plan_hash());
  EXPECT_EQ(PlanHash(*FromProto(response.plan())), response.plan_hash());
}

TEST_F(JobServiceTest, ListsWorkersPageByPage) {
  std::vector<std::unique_ptr<StreamWorker>> workers;
  for (const char* name : {"workers/c", "workers/a", "workers/b"}) {
    workers.push_back(std::make_unique<StreamWorker>(server_->address(), name, 1));
    ASSERT_TRUE(workers.back()->Greet());
    workers.back()->Hear<Welcome>();
  }
  v1::ListWorkersRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    Call call;
    v1::ListWorkersResponse response;
    ASSERT_TRUE(jobs_->ListWorkers(&call, request, &response).ok());
    EXPECT_LE(response.workers_size(), 2);
    for (const v1::Worker& worker : response.workers()) {
      names.push_back(worker.name());
      EXPECT_EQ(worker.state(), v1::Worker::STATE_IDLE);
      EXPECT_EQ(worker.device(), "cpu");
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("workers/a", "workers/b", "workers/c"));
  request.set_page_size(-1);
  Call call;
  v1::ListWorkersResponse response;
  EXPECT_THAT(ViolationsOf(FromGrpc(jobs_->ListWorkers(&call, request, &response))), SizeIs(1));
}

// --- watching ---

TEST_F(JobServiceTest, WatchTellsTheWholeStoryAndEnds) {
  ASSERT_TRUE(Create(Tiny()).ok());
  ASSERT_TRUE(Cancel("jobs/tiny").ok());
  Call call;
  const auto stream = Watch(call, "jobs/tiny", 0);
  std::vector<int64_t> ids;
  std::vector<int> states;
  for (v1::WatchJobResponse response; stream->Read(&response);) {
    ASSERT_TRUE(response.has_event());
    ids.push_back(response.event().event_id());
    states.push_back(response.event().state_changed().state());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(ids, ElementsAre(1, 2));
  EXPECT_THAT(states, ElementsAre(v1::Job::STATE_QUEUED, v1::Job::STATE_CANCELLED));
}

TEST_F(JobServiceTest, WatchHearsWhatHappensNow) {
  ASSERT_TRUE(Create(Tiny()).ok());
  Call call;
  const auto stream = Watch(call, "jobs/tiny", 0);
  v1::WatchJobResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.event().event_id(), 1);
  ASSERT_TRUE(Cancel("jobs/tiny").ok());
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.event().event_id(), 2);
  EXPECT_EQ(response.event().state_changed().exit_code(), 75);
  EXPECT_FALSE(stream->Read(&response)) << "the job is over";
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(JobServiceTest, WatchResumesAfterTheLastEventThatArrived) {
  StreamWorker a(server_->address(), "workers/a", 1), b(server_->address(), "workers/b", 1);
  for (StreamWorker* worker : {&a, &b}) ASSERT_TRUE(worker->Greet());
  ASSERT_TRUE(Create(Tiny()).ok());
  int64_t last = 0;
  {
    Call call;
    const auto stream = Watch(call, "jobs/tiny", 0);
    v1::WatchJobResponse response;
    ASSERT_TRUE(stream->Read(&response));
    last = response.event().event_id();
    call.TryCancel();  // the watcher's connection is cut
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  for (int step = 1; step <= 100; ++step) ASSERT_TRUE(a.Say(Stepped(1, 0, step)));
  ASSERT_TRUE(a.Say(Exited(1, 0, ExitCode::kDone)));
  ASSERT_TRUE(b.Say(Exited(1, 1, ExitCode::kDone)));
  Call call;
  const auto stream = Watch(call, "jobs/tiny", last);
  std::vector<int64_t> steps;
  for (v1::WatchJobResponse response; stream->Read(&response);) {
    if (!response.has_event()) continue;
    EXPECT_EQ(response.event().event_id(), ++last) << "none is lost, none comes twice";
    if (response.event().has_step()) steps.push_back(response.event().step().step());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(steps, SizeIs(100));
  v1::Job job;
  ASSERT_TRUE(Get("jobs/tiny", &job).ok());
  EXPECT_EQ(job.state(), v1::Job::STATE_SUCCEEDED);
  EXPECT_EQ(job.last_event_id(), last);
}

TEST_F(JobServiceTest, WatchRefusesTheUnknownAndTheFuture) {
  Call call;
  EXPECT_EQ(Watch(call, "jobs/nobody", 0)->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  ASSERT_TRUE(Create(Tiny()).ok());
  Call later;
  EXPECT_EQ(Watch(later, "jobs/tiny", 99)->Finish().error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

TEST_F(JobServiceTest, ManyWatchersSeeTheSame) {
  ASSERT_TRUE(Create(Tiny()).ok());
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>>> streams;
  for (int watcher = 0; watcher < 8; ++watcher) {
    calls.push_back(std::make_unique<Call>());
    streams.push_back(Watch(*calls.back(), "jobs/tiny", 0));
  }
  ASSERT_TRUE(Cancel("jobs/tiny").ok());
  for (const auto& stream : streams) {
    int events = 0;
    for (v1::WatchJobResponse response; stream->Read(&response);) ++events;
    EXPECT_EQ(events, 2);
    EXPECT_TRUE(stream->Finish().ok());
  }
}

TEST_F(JobServiceTest, TellsItsWatchersToComeBackWhenItStops) {
  ASSERT_TRUE(Create(Tiny()).ok());
  Call call;
  const auto stream = Watch(call, "jobs/tiny", 0);
  v1::WatchJobResponse response;
  ASSERT_TRUE(stream->Read(&response));
  jobs_service_->EndWatches();
  while (stream->Read(&response)) EXPECT_TRUE(response.has_heartbeat());
  const grpc::Status end = stream->Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(end.error_message(), "the coordinator is stopping; watch on after your last event");
  Call late;
  EXPECT_EQ(Watch(late, "jobs/tiny", 0)->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(JobServiceTest, AShutdownEndsItsWatchers) {
  ASSERT_TRUE(Create(Tiny()).ok());
  Call call;
  const auto stream = Watch(call, "jobs/tiny", 0);
  v1::WatchJobResponse response;
  ASSERT_TRUE(stream->Read(&response));
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_FALSE(stream->Finish().ok());
}

}  // namespace
}  // namespace birkhoff
