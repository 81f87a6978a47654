// `birkhoff run` as people use it: the programs themselves, a small job, and what can happen to it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/clock.h"
#include "core/base/disk.h"
#include "core/format/token_file.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* bin = ::getenv("BIRKHOFF_BIN");
    ASSERT_NE(bin, nullptr) << "BIRKHOFF_BIN must name the folder of the programs";
    program_ = absl::StrCat(bin, "/birkhoff");
    auto writer = *TokenWriter::Create(disk_, {directory_ / "t", TokenFormat::kMegatron, 257});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 4000; ++i) tokens.push_back(i * i % 61);
    ASSERT_TRUE(writer->AddDocument(tokens).ok() && writer->Finish().ok());
    Write("job.yaml", absl::StrCat(R"(
name: small
model: {hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
        intermediate_size: 16}
training: {steps: 12, sequence_length: 16, micro_batch_size: 1, global_batch_size: 4}
lr_schedule: {warmup_steps: 2}
checkpoint: {interval: 4}
data: {train: )",
                                   directory_ / "t", "}\n"));
  }
  void Write(const std::string& name, const std::string& text) {
    const auto file = *disk_.Create(directory_ / name);
    ASSERT_TRUE(file->Append(text).ok() && file->Close().ok());
  }

  // Starts birkhoff with stdout in NAME.out and stderr in NAME.err.
  pid_t Start(const std::string& name, const std::vector<std::string>& arguments,
              bool own_group = false) {
    std::vector<std::string> words = {program_};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string out = directory_ / (name + ".out"), err = directory_ / (name + ".err");
    const pid_t pid = ::fork();
    if (own_group && pid > 0) ::setpgid(pid, pid);  // here and in the child: whoever comes first
    if (pid == 0) {
      if (own_group) ::setpgid(0, 0);
      ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
      ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    return pid;
  }
  // Process numbers of the children, separated by spaces.
  std::string Children(pid_t pid) {
    std::string text;
    std::ifstream file(absl::StrCat("/proc/", pid, "/task/", pid, "/children"));
    std::getline(file, text);
    return text;
  }
  static int Wait(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int Run(const std::string& name, const std::vector<std::string>& arguments) {
    return Wait(Start(name, arguments));
  }
  // The command behind "to go on: " in NAME.err, as a person would type it.
  int RunLineThatGoesOn(const std::string& name) {
    const std::string text = Read(name + ".err");
    const size_t at = text.rfind("to go on: ");
    if (at == std::string::npos) return -1;
    const std::string line = text.substr(at + 10, text.find('\n', at) - at - 10);
    const std::string rest = directory_ / "rest";
    return ::system(absl::StrCat(line, " >", rest, ".out 2>", rest, ".err").c_str());
  }
  std::string Read(const std::string& name) {
    return disk_.Read(directory_ / name).value_or("(missing)");
  }
  // Blocks until the file holds `text`; false when that takes a minute.
  bool Await(const std::string& name, const std::string& text) {
    const SystemClock clock;
    const Instant end = clock.Now() + absl::Minutes(1);
    while (clock.Now() < end) {
      if (absl::StrContains(Read(name), text)) return true;
      ::usleep(2000);
    }
    return false;
  }
  std::vector<std::string> Arguments(const std::string& out,
                                     const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run", directory_ / "job.yaml", "--out",
                                          directory_ / out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::set<int> Steps(const std::string& out) {
    std::set<int> steps;
    for (const auto& line : absl::StrSplit(Read(out + "/metrics.jsonl"), '\n', absl::SkipEmpty())) {
      const auto row = nlohmann::json::parse(std::string(line), nullptr, false);
      EXPECT_TRUE(row.is_object()) << std::string(line);
      EXPECT_TRUE(steps.insert(row.value("step", -1)).second) << "twice: " << std::string(line);
    }
    return steps;
  }
  std::string LastWeights(const std::string& out) {
    return Read(out + "/checkpoints/step-00000012/rank-00000.safetensors");
  }

  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
  std::string program_;
};

const std::set<int> kAllSteps = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

TEST_F(RunTest, ThreadsChangeNoBit) {
  ASSERT_EQ(Run("one", Arguments("one", {"--threads", "1"})), 0) << Read("one.err");
  ASSERT_EQ(Run("three", Arguments("three", {"--threads", "3"})), 0) << Read("three.err");
  EXPECT_THAT(Read("three/logs/local-0.log"), HasSubstr("device cpu, 3 threads: "));
  EXPECT_EQ(LastWeights("three"), LastWeights("one"));
  EXPECT_EQ(Run("none", Arguments("none", {"--threads", "0"})), 64);
}

TEST_F(RunTest, NamesWhatIsMissingWhereThereIsNoGpu) {
  ::setenv("CUDA_VISIBLE_DEVICES", "", /*overwrite=*/1);  // of whatever the machine has
  EXPECT_EQ(Run("a", Arguments("a", {"--set", "device=cuda"})), 64);
  ::unsetenv("CUDA_VISIBLE_DEVICES");
  EXPECT_THAT(Read("a.err"), ContainsRegex("device: cuda: .*(no GPU|no NVIDIA driver)"));
}

// Item 18.
TEST_F(RunTest, ValidateSaysThatThisMachineHasNoGpu) {
  ::setenv("CUDA_VISIBLE_DEVICES", "", /*overwrite=*/1);
  const std::vector<std::string> words = {"validate", directory_ / "job.yaml", "--set",
                                          "device=cuda"};
  EXPECT_EQ(Run("a", words), 64);
  EXPECT_THAT(Read("a.err"), ContainsRegex("device: cuda is not allowed; need a device of this "
                                           "machine: .*(no GPU|no NVIDIA driver)"));
  EXPECT_EQ(Run("b", {"validate", directory_ / "job.yaml", "--set", "device=cuda", "--spec-only"}),
            0);
  ::unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST_F(RunTest, TrainsToTheEndAndIsDoneWhenRunAgain) {
  ASSERT_EQ(Run("a", Arguments("a", {"-o", "json"})), 0) << Read("a.err");
  EXPECT_EQ(Steps("a"), kAllSteps);
  const auto end = nlohmann::json::parse(Read("a.out"));
  EXPECT_EQ(end["state"], "SUCCEEDED");
  EXPECT_EQ(end["last_step"]["step"], 12);
  EXPECT_THAT(Read("a.err"), HasSubstr("step 12/12"));
  EXPECT_THAT(Read("a/job.yaml"), HasSubstr("  hidden_size: 16\n"));

  const std::string weights = LastWeights("a");
  ASSERT_EQ(Run("again", Arguments("a")), 0) << Read("again.err");
  EXPECT_THAT(Read("again.err"), HasSubstr("was done already"));
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_EQ(LastWeights("a"), weights);

  EXPECT_EQ(Run("other", Arguments("a", {"--set", "training.seed=1"})), 64);
  EXPECT_THAT(Read("other.err"), HasSubstr("training.seed: 42 there, 1 now"));
}

TEST_F(RunTest, FirstSignalCommitsACheckpointAndTheLineResumes) {
  ASSERT_EQ(Run("whole", Arguments("whole", {"--set", "training.steps=12"})), 0);
  const pid_t pid = Start("a", Arguments("a"));
  ASSERT_TRUE(Await("a.err", "step  2/12")) << Read("a.err");
  ::kill(pid, SIGINT);
  const int code = Wait(pid);
  if (code != 0) {  // the job may have ended before the signal was seen
    EXPECT_EQ(code, 75) << Read("a.err");
    EXPECT_THAT(Read("a.err"),
                HasSubstr(absl::StrCat("to go on: ", program_, " run ", directory_ / "job.yaml",
                                       " --out ", directory_ / "a", "\n")));
    EXPECT_EQ(RunLineThatGoesOn("a"), 0) << Read("rest.err");
  }
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_EQ(LastWeights("a"), LastWeights("whole"));
}

// What came through a pipe is gone; the resolved job stands beside the checkpoints.
TEST_F(RunTest, AJobFromStandardInputIsResumedToo) {
  ASSERT_EQ(Run("whole", Arguments("whole", {"--set", "training.seed=7"})), 0);
  const int input = ::open((directory_ / "job.yaml").c_str(), O_RDONLY);
  const int own = ::dup(STDIN_FILENO);
  ::dup2(input, STDIN_FILENO);
  const pid_t pid = Start("a", {"run", "-", "--set", "training.seed=7", "--out", directory_ / "a"});
  ::dup2(own, STDIN_FILENO);
  ::close(own);
  ::close(input);
  ASSERT_TRUE(Await("a.err", "step  2/12")) << Read("a.err");
  ::kill(pid, SIGINT);
  const int code = Wait(pid);
  if (code != 0) {  // the job may have ended before the signal was seen
    EXPECT_EQ(code, 75) << Read("a.err");
    EXPECT_EQ(RunLineThatGoesOn("a"), 0) << Read("rest.err");
  }
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_EQ(LastWeights("a"), LastWeights("whole"));
}

TEST_F(RunTest, KilledRunIsTakenUpAgainWithTheSameBits) {
  ASSERT_EQ(Run("whole", Arguments("whole")), 0) << Read("whole.err");
  const pid_t pid = Start("a", Arguments("a"));
  ASSERT_TRUE(Await("a/metrics.jsonl", "\"step\":6,")) << Read("a.err");
  ::kill(pid, SIGKILL);
  Wait(pid);
  ASSERT_EQ(Run("rest", Arguments("a")), 0) << Read("rest.err");
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_EQ(LastWeights("a"), LastWeights("whole"));
}

// Nothing of the group is left, as after a loss of power: coordinator, workers and ranks.
TEST_F(RunTest, KilledProcessGroupIsTakenUpAgainWithTheSameBits) {
  ASSERT_EQ(Run("whole", Arguments("whole")), 0) << Read("whole.err");
  const pid_t pid = Start("a", Arguments("a"), /*own_group=*/true);
  ASSERT_TRUE(Await("a/metrics.jsonl", "\"step\":6,")) << Read("a.err");
  ::kill(-pid, SIGKILL);
  Wait(pid);
  ASSERT_EQ(Run("rest", Arguments("a")), 0) << Read("rest.err");
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_EQ(LastWeights("a"), LastWeights("whole"));
}

TEST_F(RunTest, KilledWorkerIsStartedAgainAndTheJobGoesOnWithTheSameBits) {
  ASSERT_EQ(Run("whole", Arguments("whole")), 0) << Read("whole.err");
  const pid_t pid = Start("a", Arguments("a"));
  ASSERT_TRUE(Await("a/metrics.jsonl", "\"step\":6,")) << Read("a.err");
  const std::string children = Children(pid);
  int worker = 0;
  ASSERT_TRUE(absl::SimpleAtoi(children.substr(0, children.find(' ')), &worker)) << children;
  ::kill(worker, SIGKILL);
  EXPECT_EQ(Wait(pid), 0) << Read("a.err");
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_EQ(LastWeights("a"), LastWeights("whole"));
}

TEST_F(RunTest, SecondRunOfADirectoryIsRefusedWhileTheFirstRuns) {
  const pid_t pid = Start("a", Arguments("a", {"--set", "training.steps=100000"}));
  ASSERT_TRUE(Await("a/metrics.jsonl", "\"step\":1,")) << Read("a.err");
  EXPECT_EQ(Run("b", Arguments("a", {"--set", "training.steps=100000"})), 64);
  EXPECT_THAT(Read("b.err"), HasSubstr("another run is using it"));
  ::kill(pid, SIGTERM);
  EXPECT_EQ(Wait(pid), 75) << Read("a.err");
}

TEST_F(RunTest, FreshForgetsWhatWasThere) {
  ASSERT_EQ(Run("a", Arguments("a")), 0) << Read("a.err");
  ASSERT_EQ(Run("b", Arguments("a", {"--fresh", "--set", "training.seed=7"})), 0) << Read("b.err");
  EXPECT_EQ(Steps("a"), kAllSteps);
  ASSERT_EQ(Run("c", Arguments("c", {"--set", "training.seed=7"})), 0) << Read("c.err");
  EXPECT_EQ(LastWeights("a"), LastWeights("c"));
}

TEST_F(RunTest, FinishedRunTrainsOnWithMoreStepsAndSaysWhatTheRateDoes) {
  ASSERT_EQ(Run("a", Arguments("a")), 0) << Read("a.err");
  ASSERT_EQ(Run("b", Arguments("a", {"--set", "training.steps=20"})), 0) << Read("b.err");
  EXPECT_THAT(Read("b.err"),
              HasSubstr("trains on from the checkpoint of step 12; changed since: training.steps: "
                        "12 there, 20 now; the learning rate, 0.0001 at step 12, is 0.000"));
  EXPECT_EQ(Steps("a").size(), 20u);
  EXPECT_EQ(*Steps("a").rbegin(), 20);
}

TEST_F(RunTest, AnotherRateIsForThoseWhoAskForIt) {
  ASSERT_EQ(Run("a", Arguments("a")), 0) << Read("a.err");
  const std::vector<std::string> more = {"--set", "training.steps=16", "--set",
                                         "optimizer.lr=0.002"};
  EXPECT_EQ(Run("b", Arguments("a", more)), 64);
  EXPECT_THAT(Read("b.err"), HasSubstr("optimizer.lr: 0.001 there, 0.002 now; to train it on ask "
                                       "for the change with --change optimizer.lr"));
  std::vector<std::string> asked = more;
  asked.insert(asked.end(), {"--change", "optimizer.lr"});
  EXPECT_EQ(Run("c", Arguments("a", asked)), 0) << Read("c.err");
  EXPECT_EQ(Run("d", Arguments("a", more)), 0) << "the run has the new rate now; " << Read("d.err");
  EXPECT_EQ(Run("e", Arguments("a", {"--change", "training.seed"})), 64);
  EXPECT_THAT(Read("e.err"), HasSubstr("--change: training.seed is not allowed"));
}

// job.yaml knows nothing of it: the checkpoint's own spec is what counts.
TEST_F(RunTest, CheckpointsOfAnotherRunInASharedDirectoryAreRefused) {
  const std::vector<std::string> shared = {"--set", "checkpoint.directory=" + (directory_ / "s")};
  ASSERT_EQ(Run("a", Arguments("a", shared)), 0) << Read("a.err");
  std::vector<std::string> other = shared;
  other.insert(other.end(), {"--set", "training.seed=7"});
  EXPECT_EQ(Run("b", Arguments("b", other)), 64);
  EXPECT_THAT(Read("b.err"), HasSubstr("training.seed: 42 there, 7 now"));
}

TEST_F(RunTest, BeginsWithTheWeightsOfAnotherRun) {
  ASSERT_EQ(Run("a", Arguments("a")), 0) << Read("a.err");
  const std::vector<std::string> from = {"--set", "training.seed=7", "--init-from",
                                         directory_ / "a"};
  ASSERT_EQ(Run("b", Arguments("b", from)), 0) << Read("b.err");
  EXPECT_THAT(
      Read("b.err"),
      HasSubstr(absl::StrCat("trains from the beginning; with the weights of ", directory_ / "a",
                             "/checkpoints/step-00000012 (step 12 of jobs/small)")));
  EXPECT_EQ(Steps("b"), kAllSteps);
  EXPECT_EQ(Run("c", Arguments("c", {"--init-from", directory_ / "nothing"})), 64);
  EXPECT_THAT(Read("c.err"), HasSubstr("holds no committed checkpoint"));
}

TEST_F(RunTest, AnotherPlanTakesUpTheCheckpoint) {
  ASSERT_EQ(Run("a", Arguments("a", {"--set", "parallelism.schedule=1f1b"})), 0) << Read("a.err");
  // The last checkpoint is damaged, so the run goes on from the one before, on one worker.
  const std::string shard = "a/checkpoints/step-00000012/rank-00000.safetensors";
  Write(shard, "damaged");
  ASSERT_EQ(Run("b", Arguments("a", {"--set", "parallelism.pipeline_parallel_degree=1"})), 0)
      << Read("b.err");
  EXPECT_THAT(Read("b.err"), ContainsRegex("checkpoint of step [0-9]+; passed over: .*rank-00000"));
  EXPECT_EQ(Steps("a"), kAllSteps);
  EXPECT_NE(Read(shard), "damaged");
}

TEST_F(RunTest, CheckpointThatTheDiskRefusesIsNamedAndTrainingGoesOn) {
  std::filesystem::create_directories(std::filesystem::path(directory_ / "a/checkpoints"));
  Write("a/checkpoints/step-00000004.small.attempt-1.partial", "in the way");
  ASSERT_EQ(Run("a", Arguments("a")), 0) << Read("a.err");
  EXPECT_THAT(Read("a.err"), HasSubstr("no checkpoint of step 4, rank 1 could not write it"));
  EXPECT_EQ(Steps("a"), kAllSteps);
}

TEST_F(RunTest, DamagedCheckpointsWithNoneLeftEndWithCode64) {
  ASSERT_EQ(Run("a", Arguments("a", {"--set", "checkpoint.keep_last=1"})), 0) << Read("a.err");
  Write("a/checkpoints/step-00000012/rank-00001.safetensors", "damaged");
  EXPECT_EQ(Run("b", Arguments("a", {"--set", "checkpoint.keep_last=1"})), 64);
  EXPECT_THAT(Read("b.err"), HasSubstr("rank-00001.safetensors: has 7 bytes"));
  EXPECT_THAT(Read("b.err"), HasSubstr("--fresh"));
}

TEST_F(RunTest, WrongSpecSaysEverythingWithCode64) {
  EXPECT_EQ(Run("a", Arguments("a", {"--set", "training.steps=0", "--set", "optimizer.lr=-1"})),
            64);
  EXPECT_THAT(Read("a.err"), HasSubstr("training.steps: 0 is not allowed"));
  EXPECT_THAT(Read("a.err"), HasSubstr("optimizer.lr: -1 is not allowed"));
  EXPECT_FALSE(disk_.Exists(directory_ / "a"));
}

// Nobody else will ever come who has more memory: it does not wait.
TEST_F(RunTest, AModelThatIsTooLargeForTheMachineEndsWithCode64) {
  EXPECT_EQ(Run("a", Arguments("a", {"--set", "model.intermediate_size=1048576", "--set",
                                     "model.hidden_size=65536"})),
            64);
  EXPECT_THAT(Read("a.err"), HasSubstr("memory: the fullest worker would need"));
}

TEST_F(RunTest, DataVerbReachesItsProgram) {
  ASSERT_EQ(Run("d", {"data", "inspect", directory_ / "t", "-o", "json"}), 0) << Read("d.err");
  EXPECT_EQ(nlohmann::json::parse(Read("d.out"))["tokens"], 4000);
  EXPECT_EQ(Run("e", {"data", "inspect", directory_ / "none"}), 64);
}

}  // namespace
}  // namespace birkhoff
