// Checkpoints of one rank, the metrics file, and a step's line in it.
#include "worker/checkpointer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/compile.h"
#include "tests/testing/device_vector.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/test_device.h"
#include "worker/metrics_file.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using testing::FaultDisk;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::Survives;
using testing::ToDevice;
using testing::ToHost;

class RecordingListener final : public RankListener {
 public:
  void Send(WorkerPayload payload) override {
    absl::MutexLock lock(&mutex_);
    payloads_.push_back(std::move(payload));
  }
  template <typename T>
  std::vector<T> All() {
    absl::MutexLock lock(&mutex_);
    std::vector<T> all;
    for (const WorkerPayload& payload : payloads_) {
      if (const T* one = std::get_if<T>(&payload)) all.push_back(*one);
    }
    return all;
  }

 private:
  absl::Mutex mutex_;
  std::vector<WorkerPayload> payloads_;
};

// One rank that owns everything; the test is its coordinator.
class CheckpointerTest : public ::testing::Test {
 protected:
  CheckpointerTest() : device_(NewTestDevice()), stream_(device_->NewStream("test")) {
    assignment_.job = "jobs/test";
    assignment_.attempt = 3;
    assignment_.spec = testing::SmallJob(testing::NewTestDirectory());
    assignment_.spec.parallelism.pipeline_parallel_degree = 1;
    assignment_.spec.checkpoint.keep_last = 2;
    assignment_.plan = *CompilePlan(assignment_.spec, ClusterSpec{});
    assignment_.plan_hash = PlanHash(assignment_.plan);
    assignment_.output_directory = "/out";
    store_ = *ParameterStore::Create(assignment_.plan, 0, 0, assignment_.spec, *device_);
    checkpointer_ = *Checkpointer::Create(Parts());
  }

  Checkpointer::Parts Parts() {
    return {&assignment_, store_.get(), device_.get(), &disk_, &listener_, &data_};
  }
  void Capture() {
    checkpointer_->Capture(*stream_);
    stream_->Synchronize();
  }
  // Captures and writes `step`, and waits for the shard.
  ShardDurable Write(int64_t step) {
    Capture();
    checkpointer_->Write({step, 10 * step, 0, 0});
    Capture();  // waits for the write
    return listener_.All<ShardDurable>().back();
  }
  CommitCheckpoint CommitOf(const ShardDurable& shard) const {
    return {shard.job, shard.attempt, shard.step, {{0, shard.file, shard.checksum, shard.bytes}}};
  }
  absl::Status Finish() {
    return checkpointer_->Finish([] { return absl::OkStatus(); });
  }

  FaultDisk disk_;
  RecordingListener listener_;
  const DataFacts data_ = {{{"/data/a.bin", 100, "uint16", "s"}}, {}};
  Assignment assignment_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Checkpointer> checkpointer_;
};

TEST_F(CheckpointerTest, CommitsOnTheCoordinatorsWordOnly) {
  const ShardDurable shard = Write(5);
  EXPECT_EQ(shard.attempt, 3);
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), SizeIs(0));
  checkpointer_->Commit(CommitOf(shard));
  ASSERT_EQ(Finish(), absl::OkStatus());
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), ElementsAre(5));
}

TEST_F(CheckpointerTest, WritesThreeTensorsPerParameterAndTheProgress) {
  checkpointer_->Commit(CommitOf(Write(5)));
  ASSERT_EQ(Finish(), absl::OkStatus());
  const auto reader = CheckpointReader::Open(disk_, "/out/checkpoints/step-00000005");
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Manifest& manifest = (*reader)->manifest();
  EXPECT_THAT(manifest.tensors, SizeIs(3 * assignment_.plan.parameters.size()));
  EXPECT_EQ(manifest.tokens, 50);
  EXPECT_EQ(manifest.next_sample, 80);
  ASSERT_THAT(manifest.train_files, SizeIs(1));
  EXPECT_EQ(manifest.train_files[0].tokens, 100);
  EXPECT_EQ(manifest.train_files[0].sample, "s");
  EXPECT_THAT(manifest.spec, HasSubstr("name: small"));
  for (const ParameterStore::Slot& slot : store_->slots()) {
    std::vector<float> values(slot.count);
    ASSERT_TRUE((*reader)->Read(slot.spec.name, slot.spec.shape, values.data()).ok());
    EXPECT_TRUE(values == ToHost(*device_, slot.weight, slot.count)) << slot.spec.name;
  }
}

TEST_F(CheckpointerTest, WritesWhatWasCapturedAndNotWhatCameLater) {
  const ParameterStore::Slot& slot = store_->slots().front();
  const float before = ToHost(*device_, slot.weight, 1).front();
  Capture();
  ToDevice(*device_, slot.weight, {before + 1.0f});
  checkpointer_->Write({5, 0, 0, 0});
  Capture();
  checkpointer_->Commit(CommitOf(listener_.All<ShardDurable>().back()));
  ASSERT_EQ(Finish(), absl::OkStatus());
  const auto reader = CheckpointReader::Open(disk_, "/out/checkpoints/step-00000005");
  ASSERT_TRUE(reader.ok());
  std::vector<float> values(slot.count);
  ASSERT_TRUE((*reader)->Read(slot.spec.name, slot.spec.shape, values.data()).ok());
  EXPECT_EQ(values[0], before);
}

TEST_F(CheckpointerTest, WritesMoments) {
  const ParameterStore::Slot& slot = store_->slots().back();
  const std::vector<float> first(slot.count, 0.5f), second(slot.count, 0.25f);
  ToDevice(*device_, slot.first_moment, first);
  ToDevice(*device_, slot.second_moment, second);
  checkpointer_->Commit(CommitOf(Write(5)));
  ASSERT_EQ(Finish(), absl::OkStatus());
  const auto reader = CheckpointReader::Open(disk_, "/out/checkpoints/step-00000005");
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<float> values(slot.count);
  ASSERT_TRUE((*reader)->Read(slot.spec.name + ".adam_m", slot.spec.shape, values.data()).ok());
  EXPECT_EQ(values, first);
  ASSERT_TRUE((*reader)->Read(slot.spec.name + ".adam_v", slot.spec.shape, values.data()).ok());
  EXPECT_EQ(values, second);
}

TEST_F(CheckpointerTest, CapturesInStreamOrder) {
  const ParameterStore::Slot& slot = store_->slots().front();
  const std::vector<float> later(slot.count, 3.0f);
  Upload(*stream_, slot.weight, later.data(), slot.count);  // as an optimizer that still runs
  checkpointer_->Capture(*stream_);
  stream_->Fill(slot.weight.As<std::byte>(), std::byte{0xff}, 4 * slot.count);
  stream_->Synchronize();
  checkpointer_->Write({5, 0, 0, 0});
  Capture();
  checkpointer_->Commit(CommitOf(listener_.All<ShardDurable>().back()));
  ASSERT_EQ(Finish(), absl::OkStatus());
  const auto reader = CheckpointReader::Open(disk_, "/out/checkpoints/step-00000005");
  ASSERT_TRUE(reader.ok()) << reader.status();
  std::vector<float> values(slot.count);
  ASSERT_TRUE((*reader)->Read(slot.spec.name, slot.spec.shape, values.data()).ok());
  EXPECT_EQ(values, later);
}

TEST_F(CheckpointerTest, RepeatedCommitAnswersAgain) {
  const CommitCheckpoint commit = CommitOf(Write(5));
  checkpointer_->Commit(commit);
  checkpointer_->Commit(commit);
  checkpointer_->Commit(CommitOf(Write(6)));
  ASSERT_EQ(Finish(), absl::OkStatus());
  const auto committed = listener_.All<CheckpointCommitted>();
  ASSERT_THAT(committed, SizeIs(3));
  EXPECT_EQ(committed[0].checksum, committed[1].checksum);
  EXPECT_EQ(committed[2].path, "/out/checkpoints/step-00000006");
}

TEST_F(CheckpointerTest, KeepsTheLastOnes) {
  for (const int64_t step : {5, 6, 7}) checkpointer_->Commit(CommitOf(Write(step)));
  ASSERT_EQ(Finish(), absl::OkStatus());
  EXPECT_THAT(*disk_.List("/out/checkpoints"), ElementsAre("step-00000006", "step-00000007"));
}

TEST_F(CheckpointerTest, ShardThatIsNotWhatWasWrittenIsNotCommitted) {
  ShardDurable shard = Write(5);
  shard.bytes -= 1;
  checkpointer_->Commit(CommitOf(shard));
  EXPECT_THAT(Finish().ToString(), HasSubstr("checkpoint of step 5: /out/checkpoints/"));
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), SizeIs(0));
}

TEST_F(CheckpointerTest, FullDiskIsAnErrorAndTheNextOneMaySucceed) {
  disk_.FailFrom(disk_.num_operations() + 3);
  Capture();
  checkpointer_->Write({5, 0, 0, 0});
  EXPECT_THAT(Finish().ToString(), HasSubstr("checkpoint of step 5: injected disk failure"));
  ASSERT_THAT(listener_.All<CheckpointFailed>(), SizeIs(1)) << "the coordinator hears of it";
  EXPECT_EQ(listener_.All<CheckpointFailed>()[0].step, 5);
  EXPECT_THAT(listener_.All<CheckpointFailed>()[0].reason, HasSubstr("injected disk failure"));
  disk_.FailFrom(-1);
  checkpointer_->Commit(CommitOf(Write(6)));
  EXPECT_TRUE(Finish().ok());
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), ElementsAre(6));
}

TEST_F(CheckpointerTest, WhatDidNotFitLeavesNoBytesSoThatTheNextOneFits) {
  checkpointer_->Commit(CommitOf(Write(5)));
  ASSERT_EQ(Finish(), absl::OkStatus());
  const int64_t one = disk_.NumBytes();
  disk_.SetCapacity(one + one / 2);
  Capture();
  checkpointer_->Write({6, 0, 0, 0});
  EXPECT_EQ(Finish().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(checkpointer_->failed(), 6);
  EXPECT_THAT(*disk_.List("/out/checkpoints"), ElementsAre("step-00000005"));
  EXPECT_EQ(disk_.NumBytes(), one);
  disk_.SetCapacity(2 * one + one / 2);
  checkpointer_->Commit(CommitOf(Write(7)));
  EXPECT_TRUE(Finish().ok());
}

TEST_F(CheckpointerTest, PartOfACheckpointThatAnotherRankCouldNotWriteIsRemoved) {
  Write(5);
  checkpointer_->Discard(5);
  Capture();
  checkpointer_->Commit(CommitOf(Write(6)));
  ASSERT_EQ(Finish(), absl::OkStatus());
  EXPECT_THAT(*disk_.List("/out/checkpoints"), ElementsAre("step-00000006"));
}

// The weights are in memory: they are not thrown away because the disk is full for a while.
TEST_F(CheckpointerTest, TheLastOneIsTriedAgainUntilItFits) {
  Checkpointer::Parts parts = Parts();
  parts.pauses.assign(100'000, absl::Microseconds(100));
  checkpointer_ = *Checkpointer::Create(parts);
  disk_.SetCapacity(1000);
  Capture();
  checkpointer_->Write({5, 50, 0, 0}, Checkpointer::Patience::kLast);
  while (listener_.All<CheckpointFailed>().empty()) std::this_thread::yield();
  EXPECT_THAT(listener_.All<CheckpointFailed>()[0].reason, HasSubstr("tried again"));
  disk_.SetCapacity(-1);
  Capture();  // waits for the write
  ASSERT_THAT(listener_.All<ShardDurable>(), SizeIs(1));
  disk_.SetCapacity(disk_.NumBytes() + 10);  // the manifest does not fit
  checkpointer_->Commit(CommitOf(listener_.All<ShardDurable>()[0]));
  while (listener_.All<CheckpointFailed>().size() < 2) std::this_thread::yield();
  disk_.SetCapacity(-1);
  ASSERT_EQ(Finish(), absl::OkStatus());
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), ElementsAre(5));
}

TEST_F(CheckpointerTest, CountsOnlyOnceItsRowsAreSafeAndMarksEachTry) {
  Activity activity;
  std::atomic<bool> full{true};
  Checkpointer::Parts parts = Parts();
  parts.pauses.assign(100'000, absl::Microseconds(100));
  parts.activity = &activity;
  parts.before_commit = [&] {
    return full ? DiskError("/out/metrics.jsonl", "write", ENOSPC) : absl::OkStatus();
  };
  checkpointer_ = *Checkpointer::Create(parts);
  Capture();
  checkpointer_->Write({5, 50, 0, 0}, Checkpointer::Patience::kLast);
  Capture();  // waits for the write
  ASSERT_THAT(listener_.All<ShardDurable>(), SizeIs(1));
  checkpointer_->Commit(CommitOf(listener_.All<ShardDurable>()[0]));
  while (activity.Look().marks < 3) std::this_thread::yield();
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), SizeIs(0));
  full = false;
  ASSERT_EQ(Finish(), absl::OkStatus());
  EXPECT_THAT(*ListCheckpoints(disk_, "/out/checkpoints"), ElementsAre(5));
}

TEST_F(CheckpointerTest, SaysThatADiskWasTheReason) {
  Checkpointer::Parts parts = Parts();
  parts.pauses = {};
  checkpointer_ = *Checkpointer::Create(parts);
  disk_.SetCapacity(1000);
  Capture();
  checkpointer_->Write({5, 50, 0, 0}, Checkpointer::Patience::kLast);
  EXPECT_TRUE(IsDiskTrouble(Finish()));
}

TEST_F(CheckpointerTest, TheLastOneIsGivenUpAtLengthAndTheEndWaitsForNoPause) {
  Checkpointer::Parts parts = Parts();
  parts.pauses = {absl::Microseconds(1), absl::Microseconds(1)};
  checkpointer_ = *Checkpointer::Create(parts);
  disk_.SetCapacity(1000);
  Capture();
  checkpointer_->Write({5, 50, 0, 0}, Checkpointer::Patience::kLast);
  EXPECT_EQ(Finish().code(), absl::StatusCode::kResourceExhausted);
  parts.pauses = {absl::InfiniteDuration()};
  checkpointer_ = *Checkpointer::Create(parts);
  Capture();
  checkpointer_->Write({6, 60, 0, 0}, Checkpointer::Patience::kLast);
  EXPECT_EQ(checkpointer_->Finish([] { return absl::AbortedError("over"); }),
            absl::AbortedError("over"));
  checkpointer_ = nullptr;
}

TEST(CheckpointerPausesTest, GrowToAMinuteForAQuarterOfAnHour) {
  const std::vector<absl::Duration> pauses = Checkpointer::LongPauses();
  absl::Duration total;
  for (const absl::Duration pause : pauses) total += pause;
  EXPECT_EQ(pauses.front(), absl::Seconds(1));
  EXPECT_EQ(pauses.back(), absl::Minutes(1));
  EXPECT_GE(total, absl::Minutes(15));
  EXPECT_LE(total, absl::Minutes(16));
}

TEST_F(CheckpointerTest, AnAttemptThatWasTakenOverCommitsNothing) {
  const std::string root = "/out/checkpoints";
  const auto owner = *RootOwner::Take(disk_, root, {"jobs/test", "/out", 3});
  Checkpointer::Parts parts = Parts();
  parts.owner = owner.get();
  checkpointer_ = *Checkpointer::Create(parts);
  const ShardDurable shard = Write(5);
  const auto next = *RootOwner::Take(disk_, root, {"jobs/test", "/out", 4});
  checkpointer_->Commit(CommitOf(shard));
  EXPECT_EQ(Finish().code(), absl::StatusCode::kAborted);
  EXPECT_THAT(*ListCheckpoints(disk_, root), SizeIs(0));
}

// The next attempt sweeps what earlier ones have left: that is no damage.
TEST_F(CheckpointerTest, AnAttemptThatWasTakenOverSaysSoWhereItsPartsAreGone) {
  const std::string root = "/out/checkpoints";
  const auto owner = *RootOwner::Take(disk_, root, {"jobs/test", "/out", 3});
  Checkpointer::Parts parts = Parts();
  parts.owner = owner.get();
  checkpointer_ = *Checkpointer::Create(parts);
  const ShardDurable shard = Write(5);
  const auto next = *RootOwner::Take(disk_, root, {"jobs/test", "/out", 4});
  disk_.RemoveTree(absl::StrCat(root, "/", PartialCheckpointName(5, "jobs/test", 3)));
  checkpointer_->Commit(CommitOf(shard));
  const absl::Status status = Finish();
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("attempt 4 of jobs/test"));
}

TEST_F(CheckpointerTest, FinishEndsWhenTheAttemptIsOver) {
  Write(5);  // never committed
  EXPECT_EQ(checkpointer_->Finish([] { return absl::AbortedError("over"); }),
            absl::AbortedError("over"));
}

const absl::Time kTime = absl::FromUnixSeconds(1'000'000);

StepReport ReportOf(int64_t step) {
  StepReport report;
  report.step = step;
  report.loss = 1.0 / static_cast<double>(step);
  return report;
}

class MetricsFileTest : public ::testing::Test {
 protected:
  void Append(int64_t resumed, const std::vector<int64_t>& steps) {
    auto file = MetricsFile::Open(disk_, "/out", resumed);
    ASSERT_TRUE(file.ok()) << file.status();
    for (const int64_t step : steps) ASSERT_TRUE((*file)->Append(ReportOf(step), kTime).ok());
    ASSERT_TRUE((*file)->Flush().ok());
  }
  std::vector<int64_t> Steps() {
    std::vector<int64_t> steps;
    const std::string text = *disk_.Read("/out/metrics.jsonl");
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
      steps.push_back(std::stoll(text.substr(at + 8)));
    }
    return steps;
  }
  FaultDisk disk_;
};

TEST_F(MetricsFileTest, HoldsEachStepOnceAfterAResume) {
  Append(0, {1, 2, 3, 4, 5});
  Append(3, {4, 5, 6});
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(MetricsFileTest, StartsOverFromStepZero) {
  Append(0, {1, 2, 3});
  Append(0, {1});
  EXPECT_THAT(Steps(), ElementsAre(1));
}

TEST_F(MetricsFileTest, RemovesARowThatAKillHasCut) {
  Append(0, {1, 2, 3});
  for (int cut = 1; cut < 40; ++cut) {
    disk_.Edit("/out/metrics.jsonl", [](std::string& text) { text.resize(text.size() - 30); });
    Append(2, {3});
    EXPECT_THAT(Steps(), ElementsAre(1, 2, 3));
  }
}

// From a worker's side a coordinator that is away and a cut cannot be told apart: it goes on.
TEST_F(MetricsFileTest, AnAttemptThatWasGivenUpWritesWhereNobodyReads) {
  auto lost = *MetricsFile::Open(disk_, "/out", 0);
  for (const int64_t step : {1, 2, 3}) ASSERT_TRUE(lost->Append(ReportOf(step), kTime).ok());
  auto next = *MetricsFile::Open(disk_, "/out", 3);  // nothing to cut, yet another file
  for (const int64_t step : {4, 5, 6}) {
    ASSERT_TRUE(lost->Append(ReportOf(step), kTime).ok());
    ASSERT_TRUE(next->Append(ReportOf(step), kTime).ok());
  }
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(MetricsFileTest, RowsOutOfOrderAndBadOnesCutNothing) {
  Append(0, {1, 2, 3, 4, 4, 5, 5, 6, 6});  // as a lost attempt left it once
  disk_.Edit("/out/metrics.jsonl", [](std::string& text) {
    const size_t third = text.find("{\"step\":3");
    text.insert(third, "garbage\n{\"step\":2,\"lo{\"step\":9}\n\n{\"step\":-1}\n{\"step\":x}\n");
  });
  Append(5, {6, 7});
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3, 4, 5, 6, 7));
}

// Item 34: a full disk ends no training; what it refused is written once there is room, and half a
// row of it is not left behind.
TEST_F(MetricsFileTest, RowsWaitWhileTheDiskIsFull) {
  auto file = *MetricsFile::Open(disk_, "/out", 0);
  ASSERT_TRUE(file->Append(ReportOf(1), kTime).ok());
  disk_.SetCapacity(disk_.NumBytes() + 10);
  for (const int64_t step : {2, 3}) EXPECT_TRUE(file->Append(ReportOf(step), kTime).ok());
  EXPECT_TRUE(IsDiskTrouble(file->Flush())) << "no checkpoint counts without its rows";
  EXPECT_FALSE(disk_.Exists("/out/metrics.jsonl.new")) << "it would take room";
  disk_.SetCapacity(-1);
  EXPECT_TRUE(file->Append(ReportOf(4), kTime).ok());
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3, 4));
  disk_.SetCapacity(0);
  EXPECT_TRUE(file->Append(ReportOf(5), kTime).ok());
  disk_.SetCapacity(-1);
  EXPECT_TRUE(file->Flush().ok());
  ASSERT_TRUE(disk_.SyncDirectory("").ok());
  disk_.Crash(Survives::kOnlyDurable);
  EXPECT_THAT(Steps(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(MetricsFileTest, OneThatWasTakenOverDoesNotTakeTheFileBack) {
  absl::Status allowed;
  auto file = *MetricsFile::Open(disk_, "/out", 0, [&] { return allowed; });
  disk_.SetCapacity(0);
  EXPECT_TRUE(file->Append(ReportOf(1), kTime).ok());
  disk_.SetCapacity(-1);
  allowed = absl::AbortedError("attempt 2 has taken over");
  EXPECT_EQ(file->Append(ReportOf(2), kTime), allowed);
}

TEST_F(MetricsFileTest, CrashWhileItIsCutKeepsTheRows) {
  for (const Survives survives : {Survives::kOnlyDurable, Survives::kEverything}) {
    for (int64_t k = 0; k < 12; ++k) {
      disk_.RemoveTree("/out");
      Append(0, {1, 2, 3, 4});
      ASSERT_TRUE(disk_.SyncDirectory("").ok());
      disk_.FailFrom(disk_.num_operations() + k);
      (void)MetricsFile::Open(disk_, "/out", 2);
      disk_.Crash(survives);
      Append(2, {3});
      EXPECT_THAT(Steps(), ElementsAre(1, 2, 3)) << "operation " << k;
    }
  }
}

TEST(StepReportTest, BecomesOneLineWithNullForWhatIsNotFinite) {
  StepReport report = ReportOf(7);
  report.loss = std::numeric_limits<double>::quiet_NaN();
  report.gain.forward_by_sublayer = {1.5, 2.0};
  const std::string row = StepRowToJson(report, absl::FromUnixMillis(1'234'567'890'123));
  EXPECT_EQ(row.find(R"({"step":)"), 0u);
  EXPECT_NE(row.find(R"(,"time":"2009-02-13T23:31:30.123Z","loss":)"), std::string::npos) << row;
  const std::string json = StepReportToJson(report);
  EXPECT_THAT(json, HasSubstr(R"({"step":7,"loss":null,)"));
  EXPECT_THAT(json, HasSubstr(R"("mfu":null)"));
  EXPECT_THAT(json, HasSubstr(R"("gain_forward_by_sublayer":[1.5,2.0])"));
  EXPECT_EQ(json.find('\n'), std::string::npos);
  EXPECT_EQ(json.find("validation_loss"), std::string::npos);
}

}  // namespace
}  // namespace birkhoff
