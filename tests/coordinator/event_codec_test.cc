// Stored events: every kind comes back, the kinds' names stay, damage is named.
#include "coordinator/event_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/spec/load.h"
#include "tests/coordinator/job_events.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<JobEvent> AllEvents() {
  JobCreated created = Created();
  created.request_id = "id-\"1\"";
  created.priority = -3;
  created.fresh = true;
  created.changes = {"optimizer.lr", "lr_schedule"};
  created.init_from = "/runs/other";
  return {
      created,
      Placed(2),
      PlanRefused{"too\nlarge", ExitCode::kInternal},
      RankReady{"jobs/tiny", 2, 1, 7, "checkpoint 9 is damaged", "training.steps: 1 there, 2 now"},
      Stepped(2, 1, 7),
      Durable(2, 1, 50),
      Committed(2, 50),
      CheckpointFailed{"jobs/tiny", 2, 1, 60, "disk full"},
      Exited(2, 1, ExitCode::kNumerics),
      WorkerLost{2, 1, "was silent"},
      CancelRequested{},
      GraceOver{2},
      PlanDeferred{"NO_ROOM", "waits for \"room\""},
      Noticed{"jobs/tiny", 2, 1, kOutputRemoved, 7, "gone"},
      AttemptStuck{2, 1, "has not moved for 20m"}};
}

StoredEvent Encoded(const JobEvent& event) {
  StoredEvent stored;
  stored.job = "jobs/tiny";
  stored.id = 3;
  EncodeJobEvent(event, &stored);
  return stored;
}

TEST(EventCodec, EveryKindComesBackToTheSameBytes) {
  std::set<size_t> kinds;
  for (const JobEvent& event : AllEvents()) {
    const StoredEvent stored = Encoded(event);
    const absl::StatusOr<JobEvent> back = DecodeJobEvent(stored);
    ASSERT_TRUE(back.ok()) << stored.kind << ": " << back.status();
    EXPECT_EQ(back->index(), event.index());
    EXPECT_EQ(Encoded(*back).body, stored.body) << stored.kind;
    kinds.insert(event.index());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<JobEvent>);
}

// They stand in files: docs/formats.md.
TEST(EventCodec, KindsKeepTheirNames) {
  std::vector<std::string> kinds;
  for (const JobEvent& event : AllEvents()) kinds.push_back(Encoded(event).kind);
  EXPECT_THAT(kinds, ElementsAre("created", "placed", "plan-refused", "ready", "step", "shard",
                                 "checkpoint", "checkpoint-failed", "exited", "worker-lost",
                                 "cancel", "grace-over", "plan-deferred", "noticed", "stuck"));
}

TEST(EventCodec, AJobOfAnOlderReleaseBeginsWithNothingElse) {
  StoredEvent stored = Encoded(AllEvents()[0]);
  for (const std::string key :
       {R"("changes":["optimizer.lr","lr_schedule"],)", R"("init_from":"/runs/other",)"}) {
    const size_t at = stored.body.find(key);
    ASSERT_NE(at, std::string::npos) << stored.body;
    stored.body.erase(at, key.size());
  }
  const absl::StatusOr<JobEvent> created = DecodeJobEvent(stored);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(std::get<JobCreated>(*created).changes.empty());
  EXPECT_EQ(std::get<JobCreated>(*created).init_from, "");
}

TEST(EventCodec, FieldsComeBack) {
  const auto created = std::get<JobCreated>(*DecodeJobEvent(Encoded(AllEvents()[0])));
  EXPECT_EQ(created.request_id, "id-\"1\"");
  EXPECT_EQ(created.priority, -3);
  EXPECT_EQ(created.output_directory, "runs/tiny");
  EXPECT_TRUE(created.fresh);
  EXPECT_THAT(created.changes, ElementsAre("optimizer.lr", "lr_schedule"));
  EXPECT_EQ(created.init_from, "/runs/other");
  EXPECT_EQ(JobSpecToYaml(*created.spec), JobSpecToYaml(TwoRanks()));
  const auto placed = std::get<AttemptPlaced>(*DecodeJobEvent(Encoded(Placed(2))));
  EXPECT_EQ(placed.attempt, 2);
  EXPECT_EQ(placed.workers, Placed(2).workers);
  EXPECT_EQ(placed.plan_hash, "plan-1");
  EXPECT_EQ(placed.cluster_shape, "cpu;cpu;");
  const auto stuck =
      std::get<AttemptStuck>(*DecodeJobEvent(Encoded(AttemptStuck{2, 1, "stands still"})));
  EXPECT_EQ(stuck.attempt, 2);
  EXPECT_EQ(stuck.rank, 1);
  EXPECT_EQ(stuck.reason, "stands still");
  RankExited full = Exited(2, 1, ExitCode::kInfrastructure);
  full.disk = true;
  EXPECT_TRUE(std::get<RankExited>(*DecodeJobEvent(Encoded(full))).disk);
}

TEST(EventCodec, KeepsALargeIncarnation) {
  AttemptPlaced placed = Placed(1);
  placed.workers[0].incarnation = ~uint64_t{0};
  const auto back = std::get<AttemptPlaced>(*DecodeJobEvent(Encoded(placed)));
  EXPECT_EQ(back.workers[0].incarnation, ~uint64_t{0});
}

TEST(EventCodec, NamesAnEventThatCannotBeRead) {
  for (const JobEvent& event : AllEvents()) {
    StoredEvent damaged = Encoded(event);
    damaged.body = "\xff{";
    const absl::Status status = DecodeJobEvent(damaged).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << damaged.kind << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("event 3 of jobs/tiny"));
  }
  StoredEvent foreign = Encoded(CancelRequested{});
  foreign.kind = "promoted";
  EXPECT_THAT(std::string(DecodeJobEvent(foreign).status().message()),
              HasSubstr("(promoted): this release does not know the kind"));
  StoredEvent missing = Encoded(GraceOver{2});
  missing.body = "{}";
  EXPECT_TRUE(absl::IsDataLoss(DecodeJobEvent(missing).status()));
}

}  // namespace
}  // namespace birkhoff
