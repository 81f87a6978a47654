// The daemon where somebody sets the wall clock back by an hour while it waits: what the C library
// says about the wall clock is an hour ahead of what the kernel waits by.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "absl/synchronization/mutex.h"
#include "coordinator/daemon.h"
#include "core/base/clock.h"
#include "core/base/steady_wait.h"
#include "tests/coordinator/fakes.h"

namespace {

std::atomic<int64_t> seconds_ahead{0};

}  // namespace

// Instead of the C library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
  if (clock == CLOCK_REALTIME) time->tv_sec += seconds_ahead;
  return result;
}

namespace birkhoff {
namespace {

constexpr absl::Duration kLongest = absl::Seconds(30);

class SetClockTest : public ::testing::Test {
 protected:
  SetClockTest() { seconds_ahead = 3600; }
  ~SetClockTest() override { seconds_ahead = 0; }

  const SystemClock clock_;
  const Instant begin_ = clock_.Now();
};

TEST_F(SetClockTest, AWaitLastsNoLonger) {
  absl::Mutex mutex;
  SteadyWait wait;
  absl::MutexLock lock(&mutex);
  EXPECT_FALSE(wait.For(mutex, absl::Milliseconds(1), [] { return false; }));
  EXPECT_TRUE(wait.For(mutex, kLongest, [] { return true; }));
  EXPECT_LT(clock_.Now() - begin_, kLongest);
}

TEST_F(SetClockTest, ASilentWorkerIsMissedAfterItsLease) {
  DaemonOptions options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "";
  options.store_path = ":memory:";
  options.heartbeat = absl::Milliseconds(20);
  options.lease = absl::Milliseconds(60);
  const auto daemon = Daemon::Start(options);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  Coordinator& coordinator = (*daemon)->coordinator();
  FakeLink link;
  Hello hello;
  hello.resources.device = "cpu";
  ASSERT_TRUE(coordinator.Handle({"workers/w", 1, hello}, &link).ok());
  const auto lost = [&] {
    return std::ranges::count(coordinator.ListWorkers(), WorkerState::kLost, &WorkerView::state) ==
           1;
  };
  while (!lost() && clock_.Now() - begin_ < kLongest) {
  }
  EXPECT_TRUE(lost());
  coordinator.Disconnected(&link);
}

}  // namespace
}  // namespace birkhoff
