// The services under pressure: requests that are too large, handlers that throw, streams that never
// greet or never read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/daemon.h"
#include "tests/coordinator/job_events.h"
#include "tests/coordinator/service_fixture.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

using PressureTest = ServiceFixture;

// Item 27.
TEST_F(PressureTest, AHandlerThatThrowsIsNamedAndTheNextCallWorks) {
  store_.ThrowAtNextAppend();
  const absl::Status status = Create(Tiny());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "CreateJob: there is no more memory");
  ASSERT_TRUE(Create(Tiny()).ok());
  StreamWorker a(server_->address(), "workers/a", 1), b(server_->address(), "workers/b", 1);
  ASSERT_TRUE(a.Greet());
  a.Hear<Welcome>();
  ASSERT_TRUE(b.Greet());
  b.Hear<Welcome>();
  a.Hear<StartAttempt>();
  store_.ThrowAtNextAppend();
  ASSERT_TRUE(a.Say(Ready(1, 0)));
  EXPECT_EQ(a.End().code(), absl::StatusCode::kResourceExhausted) << "and it says it again";
}

// Item 26.
TEST_F(PressureTest, RequestsBeyondTheirBoundsAreRefusedBeforeAnyWork) {
  v1::ListJobsRequest states;
  for (int i = 0; i < 9; ++i) states.add_states(v1::Job::STATE_QUEUED);
  EXPECT_EQ(List(states).status().message(),
            "birkhoff.v1.ListJobsRequest.states: 9 items; need at most 8");
  for (int i = 0; i < 16'000'000; ++i) states.add_states(v1::Job::STATE_QUEUED);
  EXPECT_EQ(List(states).status().code(), absl::StatusCode::kResourceExhausted);
  v1::CreateJobRequest overrides = Tiny();
  overrides.set_validate_only(true);
  for (int i = 0; i < 1'000'000; ++i) overrides.add_overrides("a=1");
  const absl::Status many = Create(overrides);
  EXPECT_FALSE(many.ok());
  overrides.clear_overrides();
  for (int i = 0; i < 1024; ++i) overrides.add_overrides(std::string(4096, ' '));
  EXPECT_FALSE(Create(overrides).ok()) << "4 MiB of overrides";
}

// What YAML cannot say does not come through the wire either.
TEST_F(PressureTest, ASpecInProtobufIsJudgedLikeOneInYaml) {
  const auto create = [&](auto&& change) {
    v1::CreateJobRequest request;
    request.mutable_spec()->set_name("message");
    request.mutable_spec()->mutable_data()->add_train()->set_path("corpus");
    change(*request.mutable_spec());
    return Create(request);
  };
  EXPECT_THAT(create([](auto& spec) { spec.mutable_parallelism()->set_recompute(-2); }).message(),
              HasSubstr("parallelism.recompute: -2 is not allowed"));
  EXPECT_THAT(create([](auto& spec) {
                for (int i = 0; i < 4096; ++i) spec.mutable_data()->add_train()->set_path("p");
              }).message(),
              HasSubstr("data.train: 4097 items is not allowed; need at most 4096"));
  EXPECT_THAT(create([](auto& spec) {
                for (int i = 0; i < 4095; ++i) {
                  spec.mutable_data()->add_train()->set_path(std::string(300, 'p'));
                }
              }).message(),
              HasSubstr("job spec: "));
  EXPECT_THAT(create([](auto& spec) {
                spec.mutable_data()->set_validation("a\njobs/other SUCCEEDED");
              }).message(),
              HasSubstr("data.validation: a\\njobs/other SUCCEEDED is not allowed"));
  EXPECT_TRUE(create([](auto&) {}).ok());
}

TEST_F(PressureTest, AListIsBoundedInBytesAndCarriesNoSpecsUnlessAsked) {
  for (int i = 0; i < 6; ++i) {
    v1::CreateJobRequest request;
    request.mutable_spec()->set_name(absl::StrCat("large-", i));
    for (int j = 0; j < 900; ++j) {
      request.mutable_spec()->mutable_data()->add_train()->set_path(std::string(1000, 'p'));
    }
    ASSERT_TRUE(Create(request).ok());
  }
  absl::StatusOr<v1::ListJobsResponse> page = List({});
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->jobs_size(), 6);
  EXPECT_LT(page->ByteSizeLong(), 10'000u);
  EXPECT_FALSE(page->jobs(0).has_spec());
  EXPECT_EQ(page->jobs(0).total_steps(), 200);
  v1::ListJobsRequest with_spec;
  with_spec.set_with_spec(true);
  std::vector<std::string> names;
  do {
    page = List(with_spec);
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_LT(page->ByteSizeLong(), size_t{4} << 20) << "what a client takes";
    for (const v1::Job& job : page->jobs()) names.push_back(job.name());
    with_spec.set_page_token(page->next_page_token());
  } while (!page->next_page_token().empty());
  EXPECT_THAT(names, ::testing::ElementsAre("jobs/large-5", "jobs/large-4", "jobs/large-3",
                                            "jobs/large-2", "jobs/large-1", "jobs/large-0"));
}

// Item 22: names are shown and logged.
TEST_F(PressureTest, AWorkersNameIsChecked) {
  for (const char* name :
       {"", "a", "workers/", "workers/-a", "workers/a\nb", "workers/a\x1b[2J", "workers/a/b"}) {
    StreamWorker worker(server_->address(), name, 1);
    worker.Greet();
    EXPECT_TRUE(absl::IsInvalidArgument(worker.End())) << name;
  }
}

class ImpatientTest : public ServiceFixture {
 protected:
  ImpatientTest() {
    limits_.greeting = absl::Milliseconds(40);
    limits_.queue = 8;
    limits_.streams = 2;
  }
};

// Item 30.
TEST_F(ImpatientTest, AStreamThatNeverGreetsEnds) {
  StreamWorker silent(server_->address(), "workers/a", 1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(silent.End()));
  StreamWorker polite(server_->address(), "workers/b", 1);
  ASSERT_TRUE(polite.Greet());
  polite.Hear<Welcome>();
  StreamWorker later(server_->address(), "workers/c", 1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(later.End()));
  ASSERT_TRUE(polite.Say(Heartbeat{}));
  polite.Close();
  EXPECT_TRUE(polite.End().ok()) << "it has outlived the other's patience";
}

TEST_F(ImpatientTest, SoManyStreamsAndNoMore) {
  StreamWorker a(server_->address(), "workers/a", 1), b(server_->address(), "workers/b", 1);
  for (StreamWorker* worker : {&a, &b}) {
    ASSERT_TRUE(worker->Greet());
    worker->Hear<Welcome>();
  }
  StreamWorker c(server_->address(), "workers/c", 1);
  EXPECT_EQ(c.End().code(), absl::StatusCode::kResourceExhausted);
}

// Each word of an attempt that there is not is answered; nobody reads the answers.
TEST_F(ImpatientTest, AStreamThatNeverReadsIsCut) {
  StreamWorker deaf(server_->address(), "workers/a", 1);
  ASSERT_TRUE(deaf.Greet());
  const std::string job(4000, 'j');
  bool alive = true;
  for (int i = 0; i < 100'000 && alive; ++i) alive = deaf.Say(Meet{job, 1, 0, "key", ""});
  EXPECT_FALSE(alive) << "400 MB of answers would have been kept";
}

// Item 36.
TEST(DaemonTest, RefusesFlagsThatCannotBeMeant) {
  const auto start = [](auto&& change) {
    DaemonOptions options;
    options.listen = options.metrics_listen = "127.0.0.1:0";
    options.store_path = ":memory:";
    change(options);
    return Daemon::Start(options).status();
  };
  EXPECT_TRUE(start([](DaemonOptions&) {}).ok());
  const absl::Status lease = start([](DaemonOptions& o) { o.heartbeat = absl::Seconds(3); });
  EXPECT_EQ(lease.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(lease.message(), HasSubstr("--lease-seconds: 5 is not allowed; need at least two"));
  EXPECT_THAT(start([](DaemonOptions& o) { o.metrics_listen = "0.0.0.0:0"; }).message(),
              HasSubstr("--allow-plaintext"));
  EXPECT_THAT(start([](DaemonOptions& o) { o.metrics_series_per_job = 99; }).message(),
              HasSubstr("--metrics-series-per-job: 99 is not allowed; need at least 100"));
  EXPECT_THAT(start([](DaemonOptions& o) { o.listen = "127.0.0.1"; }).message(),
              HasSubstr("--listen: '127.0.0.1' is not allowed; need HOST:PORT"));
}

}  // namespace
}  // namespace birkhoff
