// The executor over plans written by hand and stages that only count: what is passed to whom, in
// which order, and what errors say.  Real plans and stages: tests/integration.
#include "worker/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "core/plan/memory.h"
#include "tests/testing/forwarding_device.h"
#include "tests/testing/graph_device.h"
#include "tests/testing/test_device.h"
#include "worker/transport/local.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Lines in the order in which the work ran.
class Log {
 public:
  void Add(const std::string& line) {
    absl::MutexLock lock(&mutex_);
    lines_.push_back(line);
  }
  std::vector<std::string> Take() {
    absl::MutexLock lock(&mutex_);
    return std::move(lines_);
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_;
};

// Forward: output = input + 1 (input 0 where there is none).  The others only log.
class CountingStage final : public StageModule {
 public:
  CountingStage(std::string name, Log& log) : name_(std::move(name)), log_(log) {}
  const StageLayout& layout() const override { return layout_; }

  void Forward(Stream& stream, const StageBuffers& buffers, StageMode mode,
               int64_t target_tokens) override {
    float* const value = &values_.emplace_back(0.0f);
    const DevicePtr<std::byte> in = buffers.Of(Home::kInput), out = buffers.Of(Home::kOutput);
    if (in != nullptr) Download(stream, value, DevicePtr<const float>(in.As<float>()), 1);
    const std::string of = mode == StageMode::kTrain ? absl::StrCat(" of ", target_tokens) : "";
    const char* const verb = mode == StageMode::kTrain ? " forward " : " evaluate ";
    stream.HostWork([this, value, verb, of, rows = buffers.batch.tokens] {
      log_.Add(absl::StrCat(name_, verb, *value, of, " rows ", rows));
      *value += 1.0f;
    });
    if (out != nullptr) Upload(stream, out.As<float>(), value, 1);
  }
  void Recompute(Stream& stream, UnitRange block, const StageBuffers&) override {
    Note(stream, "recompute", block);
  }
  void BackwardInput(Stream& stream, UnitRange segment, const StageBuffers&) override {
    Note(stream, "backward-input", segment);
  }
  void BackwardWeight(Stream& stream, UnitRange segment, const StageBuffers&) override {
    Note(stream, "backward-weight", segment);
  }
  void StartGradients() override {}
  void Backward(Stream& stream, UnitRange segment, const StageBuffers&) override {
    Note(stream, "backward", segment);
  }

 private:
  void Note(Stream& stream, const std::string& what, UnitRange units) {
    stream.HostWork([this, what, units] {
      log_.Add(absl::StrCat(name_, " ", what, " ", units.first, ":", units.last));
    });
  }

  const std::string name_;
  Log& log_;
  StageLayout layout_;
  std::deque<float> values_;  // in the host's memory, one per forward
};

// Micro-batch m has 10 + m rows.
class LoggingHooks : public StepHooks {
 public:
  explicit LoggingHooks(Log& log) : log_(log) {}
  MicrobatchShape ShapeOf(int microbatch) const override { return {.tokens = 10 + microbatch}; }
  void Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) override {
    const bool has_batch = buffers.Of(Home::kBatch) != nullptr;
    Note(stream, absl::StrCat("load ", stage, " ", microbatch, has_batch ? "" : " nowhere"));
  }
  void Agree(Stream& stream) override { Note(stream, "agree"); }
  void Optimizer(Stream& stream) override { Note(stream, "optimizer"); }
  void Snapshot(Stream& stream) override { Note(stream, "snapshot"); }

 protected:
  Log& log() { return log_; }

 private:
  void Note(Stream& stream, const std::string& what) {
    stream.HostWork([this, what] { log_.Add(what); });
  }
  Log& log_;
};

// A device that has met an error.
class BrokenDevice final : public testing::ForwardingDevice {
 public:
  absl::Status status() const override { return absl::InternalError("cuda:0: it is broken"); }
};

// A device that notes the ranges of its streams, as they are enqueued.
class RangeDevice final : public testing::ForwardingDevice {
 public:
  explicit RangeDevice(Log& log) : log_(log) {}
  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<RangeStream>(ForwardingDevice::NewStream(name), log_);
  }

 private:
  class RangeStream final : public testing::ForwardingStream {
   public:
    RangeStream(std::unique_ptr<Stream> inner, Log& log)
        : ForwardingStream(std::move(inner)), log_(log) {}
    void EnterRange(const char* name) override { log_.Add(name); }
    void LeaveRange() override { log_.Add("end"); }

   private:
    Log& log_;
  };
  Log& log_;
};

Instruction Make(Op op, int stage, std::vector<int> waits, std::vector<int> reads,
                 std::vector<int> fills, StreamKind stream = StreamKind::kCompute) {
  Instruction instruction;
  instruction.op = op;
  instruction.stage = stage;
  instruction.microbatch = stage < 0 ? -1 : 0;
  instruction.waits = std::move(waits);
  instruction.reads = std::move(reads);
  instruction.fills = std::move(fills);
  instruction.stream = stream;
  return instruction;
}

// One rank with stages 0 and 1, buffers b0 output of 0, b1 input of 1, b2 batch of 0.
Plan OneRankPlan() {
  Plan plan;
  plan.stages.resize(2);
  plan.ranks.resize(1);
  plan.ranks[0].stages = {0, 1};
  plan.ranks[0].buffers = {{Home::kOutput, 0, 256}, {Home::kInput, 1, 256}, {Home::kBatch, 0, 64}};
  return plan;
}

class ExecutorTest : public ::testing::Test {
 protected:
  // Runs one program of the plan on every rank; returns what rank 0's executor said.
  absl::Status Run(const Plan& plan, bool evaluate = false) {
    const int world = plan.num_ranks * plan.num_replicas;
    LocalHub hub(world);
    std::vector<absl::Status> statuses(world);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < world; ++rank) {
      threads.emplace_back([&, rank] { statuses[rank] = RunRank(plan, hub, rank, evaluate); });
    }
    for (std::thread& thread : threads) thread.join();
    return statuses[0];
  }

  absl::Status RunRank(const Plan& plan, LocalHub& hub, int rank, bool evaluate) {
    std::unique_ptr<Device> device = NewTestDevice();
    if (broken_) device = std::make_unique<BrokenDevice>();
    if (with_ranges_) device = std::make_unique<RangeDevice>(ranges_);
    const auto transport = NewLocalTransport(hub, plan, {.rank = rank, .check_stamps = true});
    LoggingHooks hooks(log_);
    std::vector<std::unique_ptr<CountingStage>> stages;
    Executor::Parts parts;
    parts.plan = &plan;
    parts.rank = rank;
    parts.attempt = 1;
    parts.device = device.get();
    parts.transport = transport.get();
    parts.hooks = &hooks;
    parts.poison = true;
    for (int s = 0; s < plan.NumStages(); ++s) {
      stages.push_back(std::make_unique<CountingStage>(absl::StrCat("stage ", s), log_));
      parts.stages.push_back(stages.back().get());
    }
    if (rank == abort_rank_) transport->Abort(absl::AbortedError("killed by the test"));
    auto executor = Executor::Create(parts);
    EXPECT_TRUE(executor.ok());
    const absl::Status status = evaluate ? (*executor)->RunEvaluate() : (*executor)->RunTrain(77);
    if (rank == 0) times_ = (*executor)->times();
    if (rank == 0) utilization_ = (*executor)->utilization();
    return status;
  }

  Log log_;
  int abort_rank_ = -1;
  bool broken_ = false, with_ranges_ = false;
  Log ranges_;
  std::vector<InstructionTime> times_;
  Utilization utilization_;
};

TEST_F(ExecutorTest, RunsEveryKindWithItsArguments) {
  BIRKHOFF_SKIP_HOST_WORK_ON_GPU();  // the stage counts on the host, between its copies
  Plan plan = OneRankPlan();
  auto& train = plan.ranks[0].train;
  train = {Make(Op::kLoad, 0, {}, {}, {2}),
           Make(Op::kForward, 0, {}, {2}, {0}),
           Make(Op::kHandOffActivation, 0, {}, {0}, {1}),
           Make(Op::kForward, 1, {}, {1}, {}),
           Make(Op::kRecompute, 1, {}, {1}, {}),
           Make(Op::kBackwardInput, 1, {}, {1}, {}),
           Make(Op::kBackwardWeight, 1, {}, {}, {}),
           Make(Op::kOverlapBegin, -1, {}, {}, {}),
           Make(Op::kBackward, 0, {}, {}, {}),
           Make(Op::kOverlapEnd, -1, {}, {}, {}),
           Make(Op::kAgree, -1, {}, {}, {}),
           Make(Op::kOptimizer, -1, {}, {}, {}),
           Make(Op::kSnapshot, -1, {}, {}, {})};
  for (int i : {4, 5, 6, 8}) train[i].segment.units = {i, i + 1};
  ASSERT_TRUE(Run(plan).ok());
  EXPECT_THAT(log_.Take(), ElementsAre("load 0 0", "stage 0 forward 0 of 77 rows 10",
                                       "stage 1 forward 1 of 77 rows 10", "stage 1 recompute 4:5",
                                       "stage 1 backward-input 5:6", "stage 1 backward-weight 6:7",
                                       "stage 0 backward 8:9", "agree", "optimizer", "snapshot"));
}

TEST_F(ExecutorTest, EvaluateProgramRunsStagesInEvaluateMode) {
  Plan plan = OneRankPlan();
  plan.ranks[0].evaluate = {Make(Op::kForward, 0, {}, {}, {0})};
  ASSERT_TRUE(Run(plan, /*evaluate=*/true).ok());
  EXPECT_THAT(log_.Take(), ElementsAre("stage 0 evaluate 0 rows 10"));
}

TEST_F(ExecutorTest, WaitsOrderStreams) {
  // Ten rounds on two streams that wait for each other in turn: any missing wait shows as another
  // order.
  Plan plan = OneRankPlan();
  auto& train = plan.ranks[0].train;
  std::vector<std::string> want;
  for (int i = 0; i < 20; ++i) {
    Instruction mark = Make(Op::kBackwardWeight, i % 2, {}, {}, {},
                            i % 2 == 0 ? StreamKind::kCompute : StreamKind::kComputeHigh);
    if (i > 0) mark.waits = {i - 1};
    mark.segment.units = {i, i + 1};
    train.push_back(mark);
    want.push_back(absl::StrCat("stage ", i % 2, " backward-weight ", i, ":", i + 1));
  }
  ASSERT_TRUE(Run(plan).ok());
  EXPECT_EQ(log_.Take(), want);
}

TEST_F(ExecutorTest, FreedBuffersHoldNan) {
  Plan plan = OneRankPlan();
  plan.ranks[0].train = {
      Make(Op::kForward, 0, {}, {}, {0}), Make(Op::kHandOffActivation, 0, {}, {0}, {1}),
      Make(Op::kFree, -1, {}, {1}, {}), Make(Op::kForward, 1, {}, {1}, {})};  // a use after free
  ASSERT_TRUE(Run(plan).ok());
  EXPECT_THAT(log_.Take().back(), HasSubstr("forward nan"));
}

TEST_F(ExecutorTest, ErrorOfTheDeviceEndsTheProgramByName) {
  broken_ = true;
  Plan plan = OneRankPlan();
  plan.ranks[0].train = {Make(Op::kForward, 0, {}, {}, {0})};
  plan.ranks[0].evaluate = plan.ranks[0].train;
  // Unavailable, so exit code 71: a lost worker and no bug.
  EXPECT_EQ(Run(plan),
            absl::UnavailableError("rank 0 train: the device has failed: cuda:0: it is broken"));
  EXPECT_EQ(Run(plan, /*evaluate=*/true),
            absl::UnavailableError("rank 0 evaluate: the device has failed: cuda:0: it is broken"));
}

TEST_F(ExecutorTest, ProfilersSeeInstructionsByName) {
  with_ranges_ = true;
  Plan plan = OneRankPlan();
  plan.ranks[0].train = {Make(Op::kForward, 0, {}, {}, {0}), Make(Op::kBackward, 0, {}, {}, {}),
                         Make(Op::kOptimizer, -1, {}, {}, {})};
  ASSERT_TRUE(Run(plan).ok());
  EXPECT_THAT(ranges_.Take(), ElementsAre("forward", "end", "backward", "end", "optimizer", "end"));
}

TEST_F(ExecutorTest, ArenaIsWhatThePlanCounts) {
  const Plan plan = OneRankPlan();
  const std::unique_ptr<Device> device = NewTestDevice();
  Executor::Parts parts;
  parts.plan = &plan;
  parts.device = device.get();
  const auto executor = Executor::Create(parts);
  ASSERT_TRUE(executor.ok()) << executor.status();
  EXPECT_EQ(device->allocated_bytes(), ArenaBytes(plan.ranks[0]));
}

TEST_F(ExecutorTest, MeasuresInstructionsAndUtilization) {
  Plan plan = OneRankPlan();
  plan.ranks[0].train = {Make(Op::kForward, 0, {}, {}, {0}), Make(Op::kForward, 1, {}, {1}, {}),
                         Make(Op::kAgree, -1, {}, {}, {})};
  ASSERT_TRUE(Run(plan).ok());
  ASSERT_EQ(times_.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_LE(times_[i].start_ns, times_[i].end_ns);
  EXPECT_LE(times_[0].end_ns, times_[1].start_ns);
  EXPECT_EQ(utilization_.busy_ns,
            times_[0].end_ns - times_[0].start_ns + times_[1].end_ns - times_[1].start_ns);
  EXPECT_EQ(utilization_.elapsed_ns, times_[1].end_ns - times_[0].start_ns);
}

// One rank that loads and computes, on a device with graphs; each run has its number of targets.
class ReplayTest : public ExecutorTest {
 protected:
  void SetUp() override {
    BIRKHOFF_SKIP_HOST_WORK_ON_GPU();
    plan_.ranks[0].train = {Make(Op::kLoad, 0, {}, {}, {2}), Make(Op::kForward, 0, {}, {2}, {0})};
  }

  // The lines of each run, joined.
  std::vector<std::string> RunAll(const std::vector<int64_t>& targets, bool replay = true) {
    LocalHub hub(1);
    const auto transport = NewLocalTransport(hub, plan_, {.rank = 0, .check_stamps = true});
    testing::GraphDevice device(counts_, refusal_);
    PreparingHooks hooks(log_);
    CountingStage stage("stage 0", log_);
    Executor::Parts parts;
    parts.plan = &plan_;
    parts.device = &device;
    parts.transport = transport.get();
    parts.hooks = &hooks;
    parts.stages = {&stage, nullptr};
    parts.graphs = true;
    parts.log = [this](const std::string& line) { said_.push_back(line); };
    const auto executor = *Executor::Create(parts);
    const auto control = device.NewStream("control");
    std::vector<std::string> runs;
    for (const int64_t count : targets) {
      executor->StartTrain(count, *control, replay);
      EXPECT_TRUE(executor->FinishTrain().ok());
      EXPECT_EQ(executor->times().size(), 2u);
      runs.push_back(absl::StrJoin(log_.Take(), ", "));
    }
    return runs;
  }

  class PreparingHooks final : public LoggingHooks {
   public:
    using LoggingHooks::LoggingHooks;
    void Prepare(int stage, int microbatch) override {
      log().Add(absl::StrCat("prepare ", stage, " ", microbatch));
    }
  };

  Plan plan_ = OneRankPlan();
  testing::GraphDevice::Counts counts_;
  absl::Status refusal_;
  std::vector<std::string> said_;
};

// The stage of a graph counts on from launch to launch.
std::string RunOf(int64_t targets, int launches_before = 0) {
  return absl::StrCat("prepare 0 0, load 0 0, stage 0 forward ", launches_before, " of ", targets,
                      " rows 10");
}

TEST_F(ReplayTest, TheSecondRunIsCapturedAndPreparedBeforeEachLaunch) {
  // A capture prepares too, though nothing runs.
  EXPECT_THAT(RunAll({77, 77, 77}),
              ElementsAre(RunOf(77), "prepare 0 0, " + RunOf(77), RunOf(77, 1)));
  EXPECT_EQ(counts_.captures, 1);
  EXPECT_EQ(counts_.launches, 2);
}

TEST_F(ReplayTest, OtherArgumentsAreLaunchedAndCapturedAnew) {
  EXPECT_THAT(RunAll({77, 77, 78, 78}),
              ElementsAre(RunOf(77), HasSubstr(RunOf(77)), RunOf(78), HasSubstr(RunOf(78))));
  EXPECT_EQ(counts_.captures, 2);
  EXPECT_EQ(counts_.launches, 2);
  EXPECT_EQ(said_.size(), 1u);
}

TEST_F(ReplayTest, WhoMustNotReplayLaunches) {
  EXPECT_THAT(RunAll({77, 77, 77}, /*replay=*/false), ElementsAre(RunOf(77), RunOf(77), RunOf(77)));
  EXPECT_EQ(counts_.captures, 0);
}

TEST_F(ReplayTest, ADeviceThatRefusesIsAskedOnceAndNamed) {
  refusal_ = absl::FailedPreconditionError("work of the host is no part of a graph");
  EXPECT_THAT(RunAll({77, 77, 77}), ElementsAre(RunOf(77), HasSubstr(RunOf(77)), RunOf(77)));
  EXPECT_EQ(counts_.captures, 1);
  EXPECT_THAT(said_, ElementsAre("steps are launched, not replayed as graphs: work of the host is "
                                 "no part of a graph"));
}

// Rank 0: forward of stage 0, send; rank 1: receive, forward of stage 1.
Plan TwoRankPlan(int messages) {
  Plan plan;
  plan.num_ranks = 2;
  plan.stages.resize(2);
  plan.channels = {{0, 1, ChannelKind::kActivation, 256}};
  plan.ranks.resize(2);
  plan.ranks[0].buffers = {{Home::kOutput, 0, 256}};
  plan.ranks[1].buffers = {{Home::kInput, 1, 256}};
  for (int m = 0; m < messages; ++m) {
    auto& sender = plan.ranks[0].train;
    auto& receiver = plan.ranks[1].train;
    const int next = static_cast<int>(sender.size());
    sender.push_back(
        Make(Op::kForward, 0, m == 0 ? std::vector<int>{} : std::vector{next - 1}, {}, {0}));
    sender.push_back(Make(Op::kSendActivation, 0, {next}, {0}, {}, StreamKind::kChannel));
    receiver.push_back(Make(Op::kReceiveActivation, 1,
                            m == 0 ? std::vector<int>{} : std::vector{next - 1}, {}, {0},
                            StreamKind::kChannel));
    receiver.push_back(Make(Op::kForward, 1, {next}, {0}, {}));
    for (Instruction* i :
         {&sender[next], &sender[next + 1], &receiver[next], &receiver[next + 1]}) {
      i->microbatch = m;
      i->channel = 0;
    }
  }
  return plan;
}

TEST_F(ExecutorTest, MessagesCrossRanksAndTheirStampsAgree) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  ASSERT_TRUE(Run(TwoRankPlan(3)).ok());
  std::vector<std::string> received;
  for (const std::string& line : log_.Take()) {
    if (line.find("stage 1") == 0) received.push_back(line);
  }
  EXPECT_THAT(received,
              ElementsAre("stage 1 forward 1 of 77 rows 10", "stage 1 forward 1 of 77 rows 11",
                          "stage 1 forward 1 of 77 rows 12"));
}

TEST_F(ExecutorTest, SwappedMicrobatchesAreAnErrorAndNotWrongNumbers) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  Plan plan = TwoRankPlan(2);
  std::swap(plan.ranks[1].train[0].microbatch, plan.ranks[1].train[2].microbatch);
  const absl::Status status = Run(plan);
  EXPECT_FALSE(status.ok());
}

TEST_F(ExecutorTest, ErrorsNameRankProgramInstructionAndPeer) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  abort_rank_ = 1;
  const absl::Status status = Run(TwoRankPlan(2));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(),
              HasSubstr("rank 0 train: instruction 1: send activation of stage 0 "
                        "micro-batch 0 to rank 1"));
}

// The first instruction that has not finished is the one that holds a rank up, and says whom it
// waits for.
TEST_F(ExecutorTest, SaysFromOutsideWhichInstructionWaitsForWhom) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const Plan plan = TwoRankPlan(1);
  LocalHub hub(2);
  const auto transport = NewLocalTransport(hub, plan, {.rank = 0, .check_stamps = true});
  const std::unique_ptr<Device> device = NewTestDevice();
  LoggingHooks hooks(log_);
  CountingStage stage("stage 0", log_);
  Executor::Parts parts;
  parts.plan = &plan;
  parts.device = device.get();
  parts.transport = transport.get();
  parts.hooks = &hooks;
  parts.stages = {&stage, nullptr};
  const auto executor = *Executor::Create(parts);
  EXPECT_EQ(executor->Look().what, "") << "nothing runs";
  std::thread runner([&] { EXPECT_FALSE(executor->RunTrain(77).ok()); });
  while (executor->Look().marks < 1) std::this_thread::yield();
  const Doing doing = executor->Look();
  EXPECT_EQ(doing.what, "train instruction 1 (send-activation stage 0 micro-batch 0)");
  EXPECT_THAT(doing.peers, ElementsAre(1));
  EXPECT_EQ(executor->Look().marks, doing.marks) << "it waits";
  transport->Abort(absl::AbortedError("rank 1 never came"));
  runner.join();
  EXPECT_EQ(executor->Look().what, "");
  EXPECT_EQ(executor->Look().marks, 2);
}

TEST_F(ExecutorTest, AbortedProgramStillDrains) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  abort_rank_ = 0;
  EXPECT_EQ(Run(TwoRankPlan(50)).code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace birkhoff
