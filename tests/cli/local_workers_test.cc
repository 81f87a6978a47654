// Child processes: started, started again, and never left behind.
#include "cli/local_workers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "core/base/disk.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Waits for the process's end as the kernel tells it, without reaping it.
void AwaitEnd(pid_t pid) {
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
}

class FakeClock final : public Clock {
 public:
  Instant Now() const override { return now_; }
  absl::Time WallTime() const override { return absl::UnixEpoch(); }
  void Advance(absl::Duration duration) { now_ = now_ + duration; }

 private:
  Instant now_;
};

class LocalWorkersTest : public ::testing::Test {
 protected:
  // A program that does as the shell script says.
  std::string Program(const std::string& script) {
    const std::string path = directory_ / "worker";
    const auto file = *disk_.Create(path);
    EXPECT_TRUE(file->Append(absl::StrCat("#!/bin/sh\n", script, "\n")).ok());
    EXPECT_TRUE(file->Close().ok());
    ::chmod(path.c_str(), 0755);
    return path;
  }
  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
};

TEST_F(LocalWorkersTest, ProcessHasItsOutputInALogAndItsOwnGroup) {
  ChildProcess process({"/bin/sh", "-c", "echo to-out; echo to-err >&2; exit 3"},
                       directory_ / "log");
  ASSERT_TRUE(process.Start().ok());
  const pid_t pid = process.pid();
  AwaitEnd(pid);
  EXPECT_NE(::getpgid(pid), ::getpgrp());
  EXPECT_FALSE(process.running());
  EXPECT_EQ(WEXITSTATUS(process.wait_status()), 3);
  EXPECT_EQ(*disk_.Read(directory_ / "log"), "to-out\nto-err\n");
}

TEST_F(LocalWorkersTest, ProcessDiesWithItsOwner) {
  pid_t pid = 0;
  {
    ChildProcess process({"/bin/sleep", "1000"}, directory_ / "log");
    ASSERT_TRUE(process.Start().ok());
    EXPECT_TRUE(process.running());
    pid = process.pid();
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST_F(LocalWorkersTest, ProcessDoesNotInheritBlockedSignals) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  ChildProcess process({"/bin/sleep", "1000"}, directory_ / "log");
  const bool started = process.Start().ok();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(started);
  process.Signal(SIGTERM);
  AwaitEnd(process.pid());
  EXPECT_FALSE(process.running());
  EXPECT_EQ(WTERMSIG(process.wait_status()), SIGTERM);
}

TEST_F(LocalWorkersTest, StartsTheDeadAgainButNotAtOnce) {
  FakeClock clock;
  LocalWorkers::Options options = {
      Program("echo started; exit 0"), "here:1", directory_.path(), {"cpu"}};
  LocalWorkers workers(options, clock);
  ASSERT_TRUE(workers.Start().ok());
  const std::string log = directory_ / "local-0.log";
  clock.Advance(absl::Milliseconds(999));
  ASSERT_TRUE(workers.Supervise().ok());
  int64_t starts = 1;
  for (int i = 0; i < 5; ++i) {
    clock.Advance(absl::Seconds(3));
    // Supervise reaps without waiting, so ask until the end of the process has been seen.
    while (disk_.Size(log).value_or(0) < 8 * starts) ASSERT_TRUE(workers.Supervise().ok());
    while (disk_.Size(log).value_or(0) < 8 * (starts + 1)) ASSERT_TRUE(workers.Supervise().ok());
    ++starts;
  }
  workers.Kill();
  EXPECT_EQ(*disk_.Size(log), 8 * starts);
}

TEST_F(LocalWorkersTest, GivesUpOnAWorkerThatAlwaysDiesAtOnce) {
  const SystemClock clock;
  LocalWorkers::Options options = {Program("exit 1"), "here:1", directory_.path(), {"cpu"}};
  options.restart_interval = absl::ZeroDuration();
  options.early = absl::Hours(1);
  LocalWorkers workers(options, clock);
  ASSERT_TRUE(workers.Start().ok());
  absl::Status status;
  while (status.ok()) status = workers.Supervise();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("dies as soon as it starts; see " + directory_ / "local-0.log"));
}

TEST_F(LocalWorkersTest, StopAsksBeforeItKills) {
  const SystemClock clock;
  const std::string script =
      "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
  LocalWorkers::Options options = {Program(script), "here:1", directory_.path(), {"cpu", "cpu"}};
  LocalWorkers workers(options, clock);
  ASSERT_TRUE(workers.Start().ok());
  for (const char* log : {"local-0.log", "local-1.log"}) {
    while (disk_.Size(directory_ / log).value_or(0) < 6) ASSERT_TRUE(workers.Supervise().ok());
  }
  workers.Stop(absl::Seconds(30));
  for (const char* log : {"local-0.log", "local-1.log"}) {
    EXPECT_EQ(*disk_.Read(directory_ / log), "ready\nasked\n");
  }
}

TEST_F(LocalWorkersTest, GivesEachWorkerItsDevice) {
  const SystemClock clock;
  LocalWorkers::Options options = {Program("echo \"$@\"; sleep 1000"),
                                   "here:1",
                                   directory_.path(),
                                   {"cuda:0", "cpu"},
                                   12345,
                                   /*threads=*/3,
                                   /*graphs=*/false,
                                   /*card=*/"card.txt"};
  LocalWorkers workers(options, clock);
  ASSERT_TRUE(workers.Start().ok());
  const auto said = [this](const char* log) {
    while (disk_.Read(directory_ / log).value_or("").find('\n') == std::string::npos) continue;
    return *disk_.Read(directory_ / log);
  };
  EXPECT_EQ(said("local-0.log"),
            "--coordinator here:1 --name local-0 --advertise 127.0.0.1 --device cuda:0 "
            "--memory-bytes 12345 --threads 3 --no-graphs --card card.txt\n");
  EXPECT_THAT(said("local-1.log"), HasSubstr("--name local-1 --advertise 127.0.0.1 --device cpu "));
  workers.Kill();
}

// What a program says that has two GPUs, one, or none.
constexpr char kTwoGpus[] =
    "[ \"$*\" = --list-devices ] || exit 1\n"
    "printf 'cpu\\tloops, products\\ncuda:0\\tA card, driver 1\\ncuda:1\\tA card, driver 1\\n'";
constexpr char kOneGpu[] = "printf 'cuda:0\\tA card, driver 1\\n'";
constexpr char kNoGpu[] =
    "printf 'cpu\\tloops, products\\n'; echo 'birkhoff-worker: no GPU: built without CUDA' >&2; "
    "exit 64";

class FindDevicesTest : public LocalWorkersTest {
 protected:
  absl::StatusOr<std::vector<std::string>> Find(const char* script, DeviceKind device, int count) {
    return LocalWorkers::FindDevices(Program(script), directory_.path(), device, count);
  }
};

TEST_F(FindDevicesTest, CpuAsksNobody) {
  EXPECT_THAT(*Find("echo asked; exit 1", DeviceKind::kCpu, 2), ElementsAre("cpu", "cpu"));
  EXPECT_FALSE(disk_.Read(directory_ / "devices.log").ok());
}

TEST_F(FindDevicesTest, GivesAsManyGpusAsAreWanted) {
  for (const DeviceKind device : {DeviceKind::kCuda, DeviceKind::kAuto}) {
    EXPECT_THAT(*Find(kTwoGpus, device, 2), ElementsAre("cuda:0", "cuda:1"));
    EXPECT_THAT(*Find(kTwoGpus, device, 1), ElementsAre("cuda:0"));
  }
  EXPECT_THAT(*disk_.Read(directory_ / "devices.log"), HasSubstr("cuda:1\tA card"));
}

TEST_F(FindDevicesTest, OneGpuForTwoIsAnErrorOnlyWhereGpusAreAskedFor) {
  const absl::Status status = Find(kOneGpu, DeviceKind::kCuda, 2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "device: cuda: the job needs 2 workers and this machine has 1 GPUs; lower "
            "parallelism.pipeline_parallel_degree or data_parallel_degree");
  EXPECT_THAT(*Find(kOneGpu, DeviceKind::kAuto, 2), ElementsAre("cpu", "cpu"));
}

TEST_F(FindDevicesTest, WithoutGpusTheProgramsWordIsTheError) {
  const absl::Status status = Find(kNoGpu, DeviceKind::kCuda, 1).status();
  EXPECT_EQ(status, absl::InvalidArgumentError("no GPU: built without CUDA"));
  EXPECT_THAT(*Find(kNoGpu, DeviceKind::kAuto, 1), ElementsAre("cpu"));
}

TEST_F(FindDevicesTest, ForgetsWhatAnotherRunWasTold) {
  ASSERT_TRUE(Find(kTwoGpus, DeviceKind::kCuda, 2).ok());
  EXPECT_FALSE(Find(kOneGpu, DeviceKind::kCuda, 2).ok());
}

TEST_F(FindDevicesTest, TheListHoldsTheCpuToo) {
  const auto devices = ListLocalDevices(Program(kNoGpu), directory_ / "answer");
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->found.size(), 1u);
  EXPECT_EQ(devices->found[0].name, "cpu");
  EXPECT_EQ(devices->found[0].description, "loops, products");
  EXPECT_EQ(devices->trouble, "no GPU: built without CUDA");
}

TEST_F(LocalWorkersTest, MissingProgramIsNamed) {
  const SystemClock clock;
  LocalWorkers::Options options = {directory_ / "none", "here:1", directory_.path(), {"cpu"}};
  LocalWorkers workers(options, clock);
  EXPECT_THAT(std::string(workers.Start().message()), HasSubstr("need birkhoff-worker"));
}

}  // namespace
}  // namespace birkhoff
