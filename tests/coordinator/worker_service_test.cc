// WorkerService over loopback: one stream per worker, and when it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/job_events.h"
#include "tests/coordinator/service_fixture.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WorkerServiceTest : public ServiceFixture {
 protected:
  std::unique_ptr<StreamWorker> Join(const std::string& name, uint64_t incarnation = 1) {
    auto worker = std::make_unique<StreamWorker>(server_->address(), name, incarnation);
    EXPECT_TRUE(worker->Greet());
    worker->Hear<Welcome>();
    return worker;
  }
};

TEST_F(WorkerServiceTest, CarriesAnAttemptFromStartToEnd) {
  ASSERT_TRUE(Create(Tiny()).ok());
  const auto a = Join("workers/a"), b = Join("workers/b");
  const Assignment mine = a->Hear<StartAttempt>().assignment;
  EXPECT_EQ(mine.rank, 0);
  EXPECT_EQ(mine.world_size, 2);
  EXPECT_EQ(b->Hear<StartAttempt>().assignment.rank, 1);
  ASSERT_TRUE(a->Say(Meet{"jobs/tiny", 1, 0, "key", "from a"}));
  ASSERT_TRUE(b->Say(Meet{"jobs/tiny", 1, 1, "key", "from b"}));
  EXPECT_THAT(a->Hear<MeetResult>().bytes, ElementsAre("from a", "from b"));
  EXPECT_THAT(b->Hear<MeetResult>().bytes, ElementsAre("from a", "from b"));
  for (const int rank : {0, 1}) {
    StreamWorker& worker = rank == 0 ? *a : *b;
    ASSERT_TRUE(worker.Say(Ready(1, rank)));
    ASSERT_TRUE(worker.Say(Durable(1, rank, 10)));
  }
  EXPECT_EQ(a->Hear<CommitCheckpoint>().shards.size(), 2u);
  ASSERT_TRUE(a->Say(Committed(1, 10)));
  ASSERT_TRUE(a->Say(Exited(1, 0, ExitCode::kDone)));
  ASSERT_TRUE(b->Say(Exited(1, 1, ExitCode::kDone)));
  EXPECT_EQ(a->Hear<JobEnded>().code, ExitCode::kDone);
  EXPECT_EQ(b->Hear<JobEnded>().code, ExitCode::kDone);
  v1::Job job;
  ASSERT_TRUE(Get("jobs/tiny", &job).ok());
  EXPECT_EQ(job.state(), v1::Job::STATE_SUCCEEDED);
  EXPECT_EQ(job.last_checkpoint().step(), 10);
  EXPECT_EQ(job.last_checkpoint().name(), job.name() + "/checkpoints/10");
}

TEST_F(WorkerServiceTest, RanksHearWhatTheJobBeginsWith) {
  v1::CreateJobRequest request = Tiny();
  request.add_changes("optimizer.lr");
  request.add_changes("lr_schedule");
  request.set_init_from("/runs/other");
  ASSERT_TRUE(Create(request).ok());
  const auto a = Join("workers/a"), b = Join("workers/b");
  for (StreamWorker* worker : {a.get(), b.get()}) {
    const Assignment assignment = worker->Hear<StartAttempt>().assignment;
    EXPECT_THAT(assignment.changes, ElementsAre("optimizer.lr", "lr_schedule"));
    EXPECT_EQ(assignment.init_from, "/runs/other");
  }
}

TEST_F(WorkerServiceTest, RefusesAStaleLifeAndEndsItsStream) {
  const auto young = Join("workers/a", 7);
  StreamWorker old(server_->address(), "workers/a", 6);
  ASSERT_TRUE(old.Greet());
  EXPECT_THAT(old.Hear<Refused>().reason, HasSubstr("life 6 speaks after life 7"));
  EXPECT_TRUE(absl::IsAborted(old.End()));
}

TEST_F(WorkerServiceTest, RefusesOneWhoDoesNotGreet) {
  StreamWorker rude(server_->address(), "workers/a", 1);
  ASSERT_TRUE(rude.Say(Heartbeat{}));
  EXPECT_THAT(rude.Hear<Refused>().reason, HasSubstr("has not said hello"));
  EXPECT_TRUE(absl::IsAborted(rude.End()));
}

TEST_F(WorkerServiceTest, EndsAStreamThatMakesNoSense) {
  const auto worker = Join("workers/a");
  ASSERT_TRUE(worker->SayNothing());
  EXPECT_TRUE(absl::IsInvalidArgument(worker->End()));
}

TEST_F(WorkerServiceTest, EndsWithOkWhenTheWorkerClosesItsSide) {
  const auto worker = Join("workers/a");
  worker->Close();
  EXPECT_TRUE(worker->End().ok());
}

TEST_F(WorkerServiceTest, CutsTheStreamWhenTheDiskIsFullAndTakesItAllWhenItIsNot) {
  ASSERT_TRUE(Create(Tiny()).ok());
  const auto a = Join("workers/a");
  auto b = Join("workers/b");
  a->Hear<StartAttempt>();
  b->Hear<StartAttempt>();
  store_.SetFull(true);
  ASSERT_TRUE(b->Say(Ready(1, 1)));
  EXPECT_TRUE(absl::IsUnavailable(b->End()));
  store_.SetFull(false);
  b = std::make_unique<StreamWorker>(server_->address(), "workers/b", 1);
  Hello again;
  again.job = "jobs/tiny";
  again.attempt = 1;
  ASSERT_TRUE(b->Say(again));
  b->Hear<Welcome>();
  EXPECT_EQ(b->Hear<StartAttempt>().assignment.attempt, 1) << "it never said that it was ready";
  ASSERT_TRUE(b->Say(Ready(1, 1)));
  ASSERT_TRUE(a->Say(Ready(1, 0)));
  ASSERT_TRUE(b->Say(Meet{"jobs/tiny", 1, 1, "key", "b"}));
  ASSERT_TRUE(a->Say(Meet{"jobs/tiny", 1, 0, "key", "a"}));
  b->Hear<MeetResult>();  // so all that was said before has arrived
  v1::Job job;
  ASSERT_TRUE(Get("jobs/tiny", &job).ok());
  EXPECT_EQ(job.state(), v1::Job::STATE_RUNNING);
}

TEST_F(WorkerServiceTest, ANewStreamOfOneLifeTakesOver) {
  const auto first = Join("workers/a", 3);
  const auto second = Join("workers/a", 3);
  ASSERT_TRUE(first->Say(Heartbeat{}));
  EXPECT_THAT(first->Hear<Refused>().reason, HasSubstr("another connection"));
  EXPECT_TRUE(absl::IsAborted(first->End()));
  ASSERT_TRUE(second->Say(Heartbeat{}));
  second->Close();
  EXPECT_TRUE(second->End().ok());
}

TEST_F(WorkerServiceTest, TellsItsWorkersToComeBackWhenItStops) {
  StreamWorker worker(server_->address(), "workers/a", 1);
  ASSERT_TRUE(worker.Greet());
  worker.Hear<Welcome>();
  workers_service_->EndStreams();
  const absl::Status end = worker.End();
  EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(end.message(), "the coordinator is stopping");
  StreamWorker late(server_->address(), "workers/b", 1);
  EXPECT_EQ(late.End().code(), absl::StatusCode::kUnavailable);
}

TEST_F(WorkerServiceTest, AShutdownEndsItsStreams) {
  const auto worker = Join("workers/a");
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_FALSE(worker->End().ok());
}

}  // namespace
}  // namespace birkhoff
