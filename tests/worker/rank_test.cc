// Ranks as threads, end to end: reports, files, stopping, validation, skipped steps, and refusals.
#include "worker/rank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"
#include "core/plan/compile.h"
#include "core/plan/memory.h"
#include "core/spec/load.h"
#include "core/spec/model.h"
#include "tests/testing/graph_device.h"
#include "tests/testing/killing_device.h"
#include "tests/testing/poisoning_transport.h"
#include "tests/testing/rank_threads.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using testing::GraphDevice;
using ::testing::HasSubstr;
using testing::KillingDevice;
using testing::MetricsSteps;
using testing::NewTestDirectory;
using ::testing::Not;
using testing::PoisoningTransport;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;
using testing::TensorChecksums;

class RankTest : public ::testing::Test {
 protected:
  RankTest() : directory_(NewTestDirectory()) {
    options_.spec = SmallJob(directory_);
    options_.directory = directory_ + "/out";
  }
  std::vector<std::string> Checkpoints() {
    return disk_.List(options_.directory + "/checkpoints").value_or(std::vector<std::string>{});
  }

  const std::string directory_;
  RunOptions options_;
  PosixDisk disk_;
};

TEST_F(RankTest, TrainsToTheEndAndTheLossFalls) {
  for (const PrecisionKind precision : TestPrecisions()) {
    options_.spec.training.precision = precision;
    options_.fresh = true;
    const RunResult result = RunRanks(options_);
    ASSERT_TRUE(result.status().ok()) << result.status();
    const std::vector<double> losses = result.losses();
    ASSERT_EQ(losses.size(), 12u);
    EXPECT_NEAR(losses.front(), 4.11, 0.05);  // ln 61
    EXPECT_LT(losses.back(), losses.front() - 0.1);
  }
}

// Between ranks and between steps: what the plan lists is what stands on the device.
TEST_F(RankTest, TakesWhatThePlanCounts) {
  const bool on_gpu = TestDeviceName() == "cuda";
  const std::vector<ScheduleKind> schedules = {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV,
                                               ScheduleKind::kDualPipe};
  for (const ScheduleKind schedule : schedules) {
    if (on_gpu && schedule != ScheduleKind::k1F1B) continue;
    for (const PrecisionKind precision : TestPrecisions()) {
      for (const int recompute : {0, 2}) {
        RunOptions options = options_;
        options.spec.model.tie_embeddings = true;
        options.spec.parallelism.schedule = schedule;
        options.spec.parallelism.recompute = recompute;
        options.spec.parallelism.data_parallel_degree = on_gpu ? 1 : 2;
        options.spec.training.precision = precision;
        options.spec.training.steps = 2;
        options.fresh = true;
        const Plan plan = CompilePlan(options.spec, ClusterSpec{}).value();
        std::vector<Device*> devices(plan.num_ranks * plan.num_replicas);
        options.make_device = [&devices](int rank, Transport&) {
          std::unique_ptr<Device> device = NewTestDevice();
          devices[rank] = device.get();
          return device;
        };
        options.before_step = [&](int rank, int64_t steps, Rank&, Transport&) {
          EXPECT_EQ(devices[rank]->allocated_bytes(),
                    DeviceBytes(plan.ranks[rank % plan.num_ranks]))
              << "rank " << rank << " after " << steps << " steps";
        };
        const RunResult result = RunRanks(options);
        ASSERT_TRUE(result.status().ok()) << result.status();
        for (const StepReport& report : result.reports[0]) {
          EXPECT_EQ(report.memory_bytes, DeviceBytes(plan.ranks[0]));
        }
      }
    }
  }
}

// Steps 3, 6 and 8 copy their weights for a checkpoint and are launched, as the first is.
TEST_F(RankTest, ReplayedStepsHaveTheBitsOfLaunchedOnes) {
  BIRKHOFF_SKIP_HOST_WORK_ON_GPU();  // rank_cuda_test asks the GPU
  options_.spec.parallelism.pipeline_parallel_degree = 1;
  options_.spec.training.steps = 8;
  options_.spec.checkpoint.interval = 3;
  const RunResult launched = RunRanks(options_);
  ASSERT_TRUE(launched.status().ok()) << launched.status();
  EXPECT_THAT(launched.log, ElementsAre(HasSubstr("first step after")));
  const std::string weights =
      TensorChecksums(disk_, options_.directory + "/checkpoints/step-00000008");
  GraphDevice::Counts counts;
  options_.make_device = [&counts](int, Transport&) {
    return std::make_unique<GraphDevice>(counts);
  };
  options_.fresh = true;
  const RunResult replayed = RunRanks(options_);
  ASSERT_TRUE(replayed.status().ok()) << replayed.status();
  EXPECT_EQ(counts.captures, 1);
  EXPECT_EQ(counts.launches, 4);
  EXPECT_THAT(replayed.log, ElementsAre(HasSubstr("first step after"),
                                        HasSubstr("steps are replayed as graphs")));
  ASSERT_EQ(replayed.reports[0].size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    const StepReport &got = replayed.reports[0][i], &want = launched.reports[0][i];
    EXPECT_EQ(got.loss, want.loss) << "step " << want.step;
    EXPECT_EQ(got.grad_norm, want.grad_norm) << "step " << want.step;
    EXPECT_EQ(got.validation_loss, want.validation_loss) << "step " << want.step;
  }
  EXPECT_EQ(TensorChecksums(disk_, options_.directory + "/checkpoints/step-00000008"), weights);
}

TEST_F(RankTest, SeveralRanksAndWhoeverWantsNoGraphsLaunchTheirSteps) {
  BIRKHOFF_SKIP_HOST_WORK_ON_GPU();
  GraphDevice::Counts counts;
  options_.make_device = [&counts](int, Transport&) {
    return std::make_unique<GraphDevice>(counts);
  };
  options_.spec.training.steps = 4;
  ASSERT_TRUE(RunRanks(options_).status().ok());
  options_.spec.parallelism.pipeline_parallel_degree = 1;
  options_.graphs = false;
  options_.fresh = true;
  ASSERT_TRUE(RunRanks(options_).status().ok());
  EXPECT_EQ(counts.captures, 0);
}

TEST_F(RankTest, AllRanksReportTheSameStep) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  for (size_t i = 0; i < 12; ++i) {
    const StepReport& a = result.reports[0][i];
    const StepReport& b = result.reports[1][i];
    EXPECT_EQ(a.step, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(a.tokens, 256);
    EXPECT_EQ(a.total_tokens, 256 * a.step);
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.grad_norm, b.grad_norm);
    EXPECT_EQ(a.gain.forward_by_sublayer, b.gain.forward_by_sublayer);
    EXPECT_EQ(a.validation_loss, b.validation_loss);
    EXPECT_EQ(a.bubble, b.bubble);
    EXPECT_GT(a.bubble, 0.0);
    EXPECT_LT(a.bubble, 1.0);
  }
}

TEST_F(RankTest, ReportsGainsOfEverySubLayer) {
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  for (const StepReport& report : result.reports[0]) {
    ASSERT_EQ(report.gain.forward_by_sublayer.size(), 8u);
    ASSERT_EQ(report.gain.single_backward_by_sublayer.size(), 8u);
    for (const double gain : report.gain.forward_by_sublayer) EXPECT_NEAR(gain, 1.0, 1e-5);
    EXPECT_NEAR(report.gain.row_sum_min, 1.0, 1e-4);
    EXPECT_GT(report.gain.column_sum_min, 0.9);
  }
}

TEST_F(RankTest, ValidatesAtTheIntervalAndAtTheEnd) {
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  std::vector<int64_t> steps;
  for (const StepReport& report : result.reports.back()) {
    if (!report.validation_loss) continue;
    steps.push_back(report.step);
    EXPECT_NEAR(*report.validation_loss, report.loss, 0.3);
  }
  EXPECT_THAT(steps, ElementsAre(5, 10, 12));
}

TEST_F(RankTest, ValidationIsOfItsOwnSamplesAndLeavesTrainingAsItIs) {
  options_.spec.optimizer.lr = 1e-12;  // the weights stay, so only the samples can differ
  options_.spec.lr_schedule.min_lr = 0.0;
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  const double first = *result.reports[0][4].validation_loss;
  for (const StepReport& report : result.reports[0]) {
    if (!report.validation_loss) continue;
    EXPECT_NEAR(*report.validation_loss, first, 1e-6) << "step " << report.step;
    EXPECT_GT(std::abs(report.loss - first), 1e-4) << "samples of training";
  }
  options_.spec.training.validation_interval = 0;
  options_.fresh = true;
  EXPECT_EQ(RunRanks(options_).losses(), result.losses());
}

TEST_F(RankTest, WritesEachStepOnceAndKeepsTheLastCheckpoints) {
  options_.spec.checkpoint.keep_last = 2;
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  EXPECT_THAT(MetricsSteps(disk_, options_.directory),
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_THAT(Checkpoints(), ElementsAre(".owner", "step-00000008", "step-00000012"));
  EXPECT_EQ(result.committed.size(), 3u);
}

// Item 36: a job goes on, and does not go on silently.
TEST_F(RankTest, AnOutputDirectoryThatIsRemovedIsNamedAndMadeAnew) {
  options_.before_step = [this](int rank, int64_t steps, Rank&, Transport&) {
    if (rank == 0 && steps == 4) std::filesystem::remove_all(options_.directory);
  };
  options_.spec.checkpoint.interval = 6;
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  ASSERT_EQ(result.notices.size(), 1u);
  EXPECT_EQ(result.notices[0].code, kOutputRemoved);
  EXPECT_EQ(result.notices[0].step, 5);
  EXPECT_THAT(result.notices[0].sentence,
              HasSubstr("step 5: " + options_.directory + " was removed while the job runs"));
  EXPECT_THAT(MetricsSteps(disk_, options_.directory), ElementsAre(5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_THAT(Checkpoints(), ElementsAre(".owner", "step-00000006", "step-00000012"));
}

TEST_F(RankTest, ACheckpointDirectoryThatIsRemovedIsNoticedWhenTheNextIsDue) {
  options_.before_step = [this](int rank, int64_t steps, Rank&, Transport&) {
    if (rank == 0 && steps == 1) std::filesystem::remove_all(options_.directory + "/checkpoints");
  };
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  ASSERT_EQ(result.notices.size(), 1u);
  EXPECT_THAT(result.notices[0].sentence,
              HasSubstr("step 4: " + options_.directory + "/checkpoints was removed"));
  EXPECT_EQ(result.committed.size(), 3u);
}

// Item 18.
TEST_F(RankTest, ReportsTheShareOfThePeakThatTheModelTakesWhereAPeakIsKnown) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  options_.spec.training.steps = 2;
  EXPECT_FALSE(RunRanks(options_).reports[0].at(0).mfu.has_value());
  options_.fresh = true;
  options_.attempt = 2;
  options_.peak_flops = 1e9;
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  const double flops = 16 * 16 * TrainFlopsPerToken(options_.spec.model, 16);
  for (const StepReport& report : result.reports[0]) {
    ASSERT_TRUE(report.mfu.has_value());
    EXPECT_DOUBLE_EQ(*report.mfu, flops / (report.step_seconds * 2e9)) << "two ranks";
  }
  const std::string rows = disk_.Read(options_.directory + "/metrics.jsonl").value_or("");
  EXPECT_THAT(rows, HasSubstr(R"("mfu":)"));
  EXPECT_THAT(rows, Not(HasSubstr(R"("mfu":null)")));
}

// Also where a service has handed it the job.
TEST_F(RankTest, LeavesTheResolvedJobBesideItsRows) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  ASSERT_TRUE(RunRanks(options_).status().ok());
  EXPECT_EQ(disk_.Read(options_.directory + "/job.yaml").value_or("(missing)"),
            JobSpecToYaml(options_.spec));
}

TEST_F(RankTest, LeavesATraceOfTheLastStep) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const std::string trace = disk_.Read(options_.directory + "/trace.json").value_or("");
  for (const std::string& words :
       {absl::StrCat(
            R"({"name":"process_name","ph":"M","pid":1,"tid":0,"args":{"name":"rank 1, step )",
            options_.spec.training.steps, R"("}})"),
        absl::StrCat(R"("otherData":{"step":)", options_.spec.training.steps, "}"),
        std::string(R"("args":{"name":"activations 0 to 1"})"),
        std::string(R"("name":"backward-input stage 1 micro-batch 15")"),
        std::string(R"("name":"agree")"), std::string(R"("planned_start_us":0.0)")}) {
    EXPECT_THAT(trace, HasSubstr(words));
  }
}

// So that one can look at a pipeline that runs.
TEST_F(RankTest, ATraceComesWithEachCheckpoint) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  options_.spec.checkpoint.interval = 4;
  std::string seen;
  options_.before_step = [&](int rank, int64_t steps, Rank&, Transport&) {
    if (rank == 0 && steps == 5) seen = disk_.Read(options_.directory + "/trace.json").value_or("");
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  EXPECT_THAT(seen, HasSubstr(R"("otherData":{"step":4})"));
}

TEST_F(RankTest, StopRequestOfOneRankStopsAllAtOneStepWithACheckpoint) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  options_.before_step = [](int rank, int64_t steps, Rank& self, Transport&) {
    if (rank == 1 && steps == 5) self.RequestStop();
  };
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  EXPECT_THAT(result.stopped, ElementsAre(true, true));
  EXPECT_EQ(result.reports[0].size(), 6u);
  EXPECT_EQ(result.reports[1].size(), 6u);
  EXPECT_EQ(result.committed.back().step, 6);
}

TEST_F(RankTest, StopRequestInTheLastStepIsAnOrdinaryEnd) {
  options_.before_step = [](int, int64_t steps, Rank& self, Transport&) {
    if (steps == 11) self.RequestStop();
  };
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  EXPECT_THAT(result.stopped, ::testing::Each(false));
}

TEST_F(RankTest, NanInOneMessageSkipsTheStepOnAllRanksAndTrainingGoesOn) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  constexpr int kChannels = 2;  // activations and gradients between two ranks
  for (int channel = 0; channel < kChannels; ++channel) {
    RunOptions options = options_;
    options.directory += std::to_string(channel);
    options.spec.training.validation_interval = 0;
    // In step 4 of 16 micro-batches, whichever rank receives on the channel.
    options.wrap_transport = [channel](int, std::unique_ptr<Transport> inner) {
      return std::make_unique<PoisoningTransport>(std::move(inner), channel, 3 * 16 + 7);
    };
    const RunResult result = RunRanks(options);
    ASSERT_TRUE(result.status().ok()) << result.status();
    for (const auto& reports : result.reports) {
      ASSERT_EQ(reports.size(), 12u);
      for (const StepReport& report : reports) {
        EXPECT_EQ(report.skipped, report.step == 4);
        EXPECT_EQ(report.skipped_total, report.step >= 4 ? 1 : 0);
        EXPECT_TRUE(report.step == 4 || std::isfinite(report.loss)) << report.step;
      }
    }
    EXPECT_LT(result.losses().back(), result.losses().front());
  }
}

TEST_F(RankTest, TooManySkippedStepsInARowGiveUp) {
  options_.spec.optimizer.lr = 1e30;  // the first step throws the weights out of range
  options_.spec.lr_schedule.warmup_steps = 0;
  options_.spec.stability.max_skipped_steps = 3;
  const RunResult result = RunRanks(options_);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ExitCodeOf(result.status()), ExitCode::kNumerics);
  EXPECT_THAT(result.status().ToString(),
              HasSubstr("step 5: loss or gradient not finite in 4 steps in a row"));
  EXPECT_EQ(result.reports[0].size(), 5u);
}

// Kills `victim` at every `stride`-th instruction of the only step: nobody finishes, nobody hangs.
void ExpectKillsEndAllRanks(RunOptions options, int victim, int stride) {
  options.spec.training.steps = 1;
  options.spec.training.global_batch_size = 4;
  options.spec.training.validation_interval = 0;
  options.fresh = true;
  const Plan plan = *CompilePlan(options.spec, ClusterSpec{});
  const auto length = static_cast<int64_t>(plan.ranks[victim].train.size());
  ASSERT_GT(length, 25);
  for (int64_t instruction = 0; instruction < length; instruction += stride) {
    options.make_device = [=](int rank, Transport& transport) -> std::unique_ptr<Device> {
      return std::make_unique<KillingDevice>(rank == victim ? instruction : -1, transport);
    };
    const RunResult result = RunRanks(options);
    for (const absl::Status& status : result.statuses) {
      EXPECT_FALSE(status.ok()) << "instruction " << instruction;
    }
    EXPECT_TRUE(result.committed.empty());
  }
}

TEST_F(RankTest, KillAtEveryInstructionEndsAllRanks) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  for (const ScheduleKind schedule : {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV}) {
    options_.spec.parallelism.schedule = schedule;
    for (int victim = 0; victim < 2; ++victim) ExpectKillsEndAllRanks(options_, victim, 1);
  }
}

TEST_F(RankTest, KillOverGlooEndsAllRanks) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  options_.transport = "gloo";
  for (int victim = 0; victim < 2; ++victim) ExpectKillsEndAllRanks(options_, victim, 5);
}

TEST_F(RankTest, RefusesAPlanThatIsNotTheOneItWasPromised) {
  options_.change_assignment = [](Assignment& assignment) { assignment.plan_hash = "0"; };
  EXPECT_THAT(RunRanks(options_).status().ToString(), HasSubstr("the plan has hash"));
}

TEST_F(RankTest, RefusesASpecOfAnotherModel) {
  options_.change_assignment = [](Assignment& assignment) {
    assignment.spec.model.hidden_size = 32;
  };
  EXPECT_THAT(RunRanks(options_).status().ToString(), HasSubstr("the spec's model has hash"));
}

TEST_F(RankTest, RefusesAPlanForAnotherProcessor) {
  const bool on_gpu = TestDeviceName() == "cuda";
  options_.spec.device = on_gpu ? DeviceKind::kCpu : DeviceKind::kCuda;
  options_.spec.training.precision = PrecisionKind::kFp32;
  const absl::Status status = RunRanks(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(),
              HasSubstr(on_gpu ? "the plan is for cpu; this worker's device is"
                               : "the plan is for cuda; this worker's device is"));
}

TEST_F(RankTest, RefusesAPlanThatTheCheckerRefuses) {
  options_.change_assignment = [](Assignment& assignment) {
    assignment.plan.ranks[0].train.pop_back();
    assignment.plan.ranks[0].train.pop_back();  // snapshot and optimizer
    assignment.plan_hash = PlanHash(assignment.plan);
  };
  const absl::Status status = RunRanks(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RankTest, NamesAMissingTokenFile) {
  options_.spec.data.train[0].path = directory_ + "/nothing";
  EXPECT_THAT(RunRanks(options_).status().ToString(), HasSubstr("/nothing"));
}

// The device would not see it, and reading all files first would take minutes: it ends the attempt
// where it is handed out, and nothing of the step is kept.
TEST(RankDataTest, TokenOutsideTheVocabularyEndsTheAttemptWithNothingWritten) {
  testing::RunOptions options;
  options.directory = testing::NewTestDirectory();
  options.spec = testing::SmallJob(testing::NewTestDirectory());
  options.spec.model.vocab_size = 40;  // the files have 61
  options.spec.checkpoint.interval = 1;
  const testing::RunResult result = testing::RunRanks(options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), ::testing::HasSubstr("need 0 to 39"));
  EXPECT_TRUE(result.committed.empty());
  PosixDisk disk;
  EXPECT_TRUE(testing::MetricsSteps(disk, options.directory).empty());
}

}  // namespace
}  // namespace birkhoff
