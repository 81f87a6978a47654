// Attempts that end anywhere, and the next ones: same bits as if nothing had happened, each step
// once in metrics.jsonl, and no state on disk that cannot be resumed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"
#include "core/format/checkpoint.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/poisoning_transport.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using testing::FaultDisk;
using ::testing::HasSubstr;
using testing::MetricsSteps;
using testing::NewTestDirectory;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;
using testing::Survives;
using testing::TensorChecksums;

// Output on a disk in memory; the token files are real.
class ResumeTest : public ::testing::Test {
 protected:
  ResumeTest() {
    options_.spec = SmallJob(NewTestDirectory());
    options_.spec.checkpoint.interval = 3;
    options_.spec.training.validation_interval = 0;
    options_.disk = &disk_;
    Use("/undisturbed");
  }

  void Use(const std::string& directory) {
    options_.directory = directory;
    options_.attempt = 1;
    options_.before_step = nullptr;
  }
  // The next attempt, to the end.
  RunResult Resume() {
    ++options_.attempt;
    options_.before_step = nullptr;
    const RunResult result = RunRanks(options_);
    EXPECT_TRUE(result.status().ok()) << result.status();
    return result;
  }
  std::string Checkpoint(int64_t step) const {
    return absl::StrCat(options_.directory, "/checkpoints/", CheckpointName(step));
  }
  std::string FinalTensors() {
    return TensorChecksums(disk_, Checkpoint(options_.spec.training.steps));
  }
  std::vector<int64_t> AllSteps() const {
    std::vector<int64_t> steps(options_.spec.training.steps);
    std::iota(steps.begin(), steps.end(), 1);
    return steps;
  }

  FaultDisk disk_;
  RunOptions options_;
};

TEST_F(ResumeTest, KillBeforeAnyStepGivesTheSameBits) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const RunResult undisturbed = RunRanks(options_);
  ASSERT_TRUE(undisturbed.status().ok()) << undisturbed.status();
  const std::string want = FinalTensors();
  const std::vector<double> losses = undisturbed.losses();
  for (int64_t step = 0; step < options_.spec.training.steps; ++step) {
    Use(absl::StrCat("/killed", step));
    const int victim = static_cast<int>(step % 2);
    options_.before_step = [step, victim](int rank, int64_t steps, Rank&, Transport& transport) {
      if (rank == victim && steps == step) transport.Abort(absl::AbortedError("killed"));
    };
    EXPECT_FALSE(RunRanks(options_).status().ok());
    const RunResult rest = Resume();
    EXPECT_EQ(FinalTensors(), want) << "killed before step " << step;
    EXPECT_EQ(MetricsSteps(disk_, options_.directory), AllSteps());
    for (const StepReport& report : rest.reports[0]) {
      EXPECT_EQ(report.loss, losses[report.step - 1]) << "step " << report.step;
      EXPECT_EQ(report.total_tokens, undisturbed.reports[0][report.step - 1].total_tokens);
    }
  }
}

TEST_F(ResumeTest, StopAndResumeGivesTheSameBits) {
  const int world = options_.spec.parallelism.pipeline_parallel_degree;
  for (const PrecisionKind precision : TestPrecisions()) {
    const std::string suffix = std::to_string(static_cast<int>(precision));
    options_.spec.training.precision = precision;
    Use("/undisturbed" + suffix);
    ASSERT_TRUE(RunRanks(options_).status().ok());
    const std::string want = FinalTensors();
    Use("/stopped" + suffix);
    options_.before_step = [world](int rank, int64_t steps, Rank& self, Transport&) {
      if (rank == world - 1 && steps == 4) self.RequestStop();
    };
    ASSERT_TRUE(RunRanks(options_).status().ok());
    const RunResult rest = Resume();
    EXPECT_EQ(rest.ready.front().resumed_step, 5);
    EXPECT_EQ(FinalTensors(), want);
    EXPECT_EQ(MetricsSteps(disk_, options_.directory), AllSteps());
  }
}

TEST_F(ResumeTest, SkippedStepsAreNotForgotten) {
  // Steps that throw the weights out of range, and one attempt more: the count in a row goes on.
  options_.spec.optimizer.lr = 1e30;
  options_.spec.lr_schedule.warmup_steps = 0;
  options_.spec.stability.max_skipped_steps = 7;
  options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
    if (steps == 4) self.RequestStop();
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  ++options_.attempt;
  options_.before_step = nullptr;
  EXPECT_THAT(RunRanks(options_).status().ToString(),
              HasSubstr("step 9: loss or gradient not finite in 8 steps in a row"));
}

// Skipped steps are no updates of the optimizer, in this attempt and in the next.
TEST_F(ResumeTest, SkippedStepBeforeAResumeGivesTheSameBits) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const auto poison = [](int, std::unique_ptr<Transport> inner) {
    constexpr int kChannel = 0, kMicrobatches = 16;
    return std::make_unique<testing::PoisoningTransport>(std::move(inner), kChannel,
                                                         /*target=*/3 * kMicrobatches + 7);
  };
  options_.wrap_transport = poison;
  const RunResult undisturbed = RunRanks(options_);
  ASSERT_TRUE(undisturbed.status().ok()) << undisturbed.status();
  ASSERT_TRUE(undisturbed.reports[0][3].skipped);
  const std::string want = FinalTensors();
  Use("/stopped");
  options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
    if (steps == 5) self.RequestStop();
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  options_.wrap_transport = nullptr;
  const RunResult rest = Resume();
  EXPECT_EQ(rest.ready.front().resumed_step, 6);
  EXPECT_EQ(rest.reports[0].back().skipped_total, 1);
  EXPECT_EQ(FinalTensors(), want);
}

TEST_F(ResumeTest, FinishedJobEndsAtOnce) {
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const RunResult again = Resume();
  EXPECT_TRUE(again.reports[0].empty());
  EXPECT_EQ(again.ready.front().resumed_step, 12);
  EXPECT_EQ(MetricsSteps(disk_, options_.directory), AllSteps());
}

TEST_F(ResumeTest, FreshForgetsWhatIsThere) {
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const std::string want = FinalTensors();
  options_.fresh = true;
  const RunResult again = Resume();
  EXPECT_EQ(again.reports[0].size(), 12u);
  EXPECT_EQ(FinalTensors(), want);
  EXPECT_EQ(MetricsSteps(disk_, options_.directory), AllSteps());
}

TEST_F(ResumeTest, AnotherPlanGoesOnWithTheSameTraining) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const RunResult undisturbed = RunRanks(options_);
  ASSERT_TRUE(undisturbed.status().ok());
  struct Other {
    ScheduleKind schedule;
    int ranks, recompute, replicas;
  };
  int runs = 0;
  for (const Other& other :
       {Other{ScheduleKind::kDualPipeV, 2, 2, 1}, Other{ScheduleKind::k1F1B, 1, 0, 1},
        Other{ScheduleKind::kDualPipe, 4, 0, 2}}) {
    Use(absl::StrCat("/replanned", runs++));
    const ParallelismSpec before = options_.spec.parallelism;
    options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
      if (steps == 5) self.RequestStop();
    };
    ASSERT_TRUE(RunRanks(options_).status().ok());
    ParallelismSpec& parallelism = options_.spec.parallelism;
    parallelism.schedule = other.schedule;
    parallelism.pipeline_parallel_degree = other.ranks;
    parallelism.recompute = other.recompute;
    parallelism.data_parallel_degree = other.replicas;
    const RunResult rest = Resume();
    ASSERT_EQ(rest.reports[0].size(), 6u);
    for (const StepReport& report : rest.reports[0]) {
      const double want = undisturbed.reports[0][report.step - 1].loss;
      EXPECT_NEAR(report.loss, want, 1e-5 * want) << "step " << report.step;
    }
    options_.spec.parallelism = before;
  }
}

TEST_F(ResumeTest, DamagedCheckpointIsNamedAndTheOneBeforeIsUsed) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  using Change = std::function<void(std::string&)>;
  const Change flip = [](std::string& bytes) { bytes[bytes.size() - 3] ^= 4; };
  const Change cut = [](std::string& bytes) { bytes.resize(bytes.size() / 2); };
  const Change garble = [](std::string& bytes) { bytes[1] = '?'; };
  struct Damage {
    const char* file;
    const Change* change;  // null: remove it
    const char* words;
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const std::string want = FinalTensors();
  int runs = 0;
  for (const Damage& damage : {Damage{"rank-00001.safetensors", &flip, "has checksum"},
                               Damage{"rank-00000.safetensors", &flip, "tensor "},
                               Damage{"rank-00001.safetensors", &cut, "bytes; need"},
                               Damage{"rank-00000.safetensors", nullptr, "missing"},
                               Damage{"manifest.json", &garble, "manifest.json"},
                               Damage{"manifest.json", nullptr, "missing"}}) {
    Use(absl::StrCat("/damaged", runs++));
    options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
      if (steps == 7) self.RequestStop();  // checkpoints of steps 3, 6 and 8
    };
    ASSERT_TRUE(RunRanks(options_).status().ok());
    const std::string path = absl::StrCat(Checkpoint(8), "/", damage.file);
    if (damage.change != nullptr) {
      disk_.Edit(path, *damage.change);
    } else {
      ASSERT_TRUE(disk_.RemoveFile(path).ok());
    }
    const RunResult rest = Resume();
    EXPECT_TRUE(disk_.Exists(Checkpoint(8) + ".set-aside")) << "passed over";
    for (const RankReady& ready : rest.ready) {
      EXPECT_EQ(ready.resumed_step, 6) << damage.file;
      EXPECT_THAT(ready.note, AllOf(HasSubstr(path), HasSubstr(damage.words)));
    }
    EXPECT_EQ(FinalTensors(), want);
    EXPECT_EQ(MetricsSteps(disk_, options_.directory), AllSteps());
  }
}

// Item 34: a disk that fails says nothing about the checkpoint, and the next attempt may read it.
TEST_F(ResumeTest, ACheckpointThatCannotBeReadNowIsNotPassedOver) {
  options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
    if (steps == 7) self.RequestStop();  // checkpoints of steps 3, 6 and 8
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  for (const char* file : {"manifest.json", "rank-00000.safetensors"}) {
    disk_.FailReadsOf(absl::StrCat(CheckpointName(8), "/", file));
    ++options_.attempt;
    const RunResult failed = RunRanks(options_);
    EXPECT_TRUE(std::ranges::any_of(failed.statuses, IsDiskTrouble)) << failed.status();
    EXPECT_EQ(ExitCodeOf(failed.status()), ExitCode::kInfrastructure);
    EXPECT_THAT(failed.status().ToString(), HasSubstr(file));
    EXPECT_FALSE(disk_.Exists(Checkpoint(8) + ".set-aside"));
  }
  disk_.FailReadsOf("");
  EXPECT_EQ(Resume().ready.front().resumed_step, 8);
}

// Issue item 34: full in the middle of training, the rows wait, checkpoints fail, and all is there
// once the disk has room again.
TEST_F(ResumeTest, ADiskThatIsFullForAWhileCostsNoStep) {
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const std::string want = FinalTensors();
  Use("/full");
  options_.before_step = [this](int rank, int64_t steps, Rank&, Transport&) {
    if (rank == 0 && steps == 4) disk_.SetCapacity(disk_.NumBytes());
    if (rank == 0 && steps == 8) disk_.SetCapacity(-1);
  };
  const RunResult result = RunRanks(options_);
  EXPECT_TRUE(result.status().ok()) << result.status();
  EXPECT_EQ(FinalTensors(), want);
  EXPECT_EQ(MetricsSteps(disk_, options_.directory), AllSteps());
}

// Pruned by step, the one just committed would go and the damaged one stay.
TEST_F(ResumeTest, WhatIsCommittedAfterADamagedOneIsKept) {
  ASSERT_TRUE(RunRanks(options_).status().ok());
  for (const int64_t step : {9, 12}) {
    disk_.Edit(Checkpoint(step) + "/manifest.json", [](std::string& bytes) { bytes.resize(1); });
  }
  options_.spec.checkpoint.keep_last = 1;
  ++options_.attempt;
  options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
    if (steps == 0) self.RequestStop();  // a checkpoint of step 7
  };
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  EXPECT_EQ(result.ready.front().resumed_step, 6);
  EXPECT_TRUE(disk_.Exists(Checkpoint(7) + "/manifest.json"));
  EXPECT_EQ(Resume().ready.front().resumed_step, 7);
}

TEST_F(ResumeTest, WhereAllAreDamagedTheJobCannotGoOn) {
  ASSERT_TRUE(RunRanks(options_).status().ok());
  for (const int64_t step : {6, 9, 12}) {  // the three that are kept
    disk_.Edit(Checkpoint(step) + "/manifest.json", [](std::string& bytes) { bytes.resize(10); });
  }
  ++options_.attempt;
  const absl::Status status = RunRanks(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const int64_t step : {6, 9, 12}) {
    EXPECT_THAT(status.ToString(), HasSubstr(Checkpoint(step)));
  }
  EXPECT_THAT(status.ToString(), HasSubstr("--fresh"));
}

TEST_F(ResumeTest, CheckpointOfAnotherModelIsRefused) {
  ASSERT_TRUE(RunRanks(options_).status().ok());
  options_.spec.model.intermediate_size = 32;
  ++options_.attempt;
  const absl::Status status = RunRanks(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(), HasSubstr("is of model"));
}

TEST_F(ResumeTest, OtherDataAtTheSamePathIsRefusedAndTheSameDataMayMove) {
  options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
    if (steps == 4) self.RequestStop();
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const std::string path = options_.spec.data.train[0].path;
  PosixDisk posix;
  const std::string tokens = *posix.Read(path + ".bin");
  std::string other = tokens;
  std::swap(other[0], other[2]);
  ASSERT_TRUE(ReplaceFile(posix, path + ".bin", other).ok());
  ++options_.attempt;
  const absl::Status status = RunRanks(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(),
              AllOf(HasSubstr("was trained on " + path), HasSubstr("put the data back")));
  ASSERT_TRUE(ReplaceFile(posix, path + "-moved.bin", tokens).ok());
  ASSERT_TRUE(ReplaceFile(posix, path + "-moved.idx", *posix.Read(path + ".idx")).ok());
  options_.spec.data.train[0].path = path + "-moved";
  EXPECT_EQ(Resume().ready.front().resumed_step, 5);
}

TEST_F(ResumeTest, NoCrashPointOfTheDiskLosesTheJob) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  options_.spec.model.num_hidden_layers = 1;  // few tensors: each is an operation of the disk
  options_.spec.model.residual.kind = ResidualKind::kResidual;
  options_.spec.training.steps = 5;
  options_.spec.checkpoint.interval = 2;
  options_.spec.checkpoint.keep_last = 1;
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const std::string want = FinalTensors();
  for (const Survives survives : {Survives::kOnlyDurable, Survives::kEverything}) {
    int crashes = 0;
    for (int64_t k = 0;; ++k) {
      Use(absl::StrCat("/crash", static_cast<int>(survives), "-", k));
      disk_.FailFrom(disk_.num_operations() + k);
      const bool finished = RunRanks(options_).status().ok();
      disk_.Crash(survives);
      const RunResult rest = Resume();
      ASSERT_EQ(FinalTensors(), want) << "operation " << k;
      ASSERT_EQ(MetricsSteps(disk_, options_.directory), AllSteps()) << "operation " << k;
      disk_.RemoveTree(options_.directory);
      if (finished) break;
      ++crashes;
    }
    EXPECT_GT(crashes, 80);
  }
}

}  // namespace
}  // namespace birkhoff
