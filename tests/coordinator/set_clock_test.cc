// The daemon where somebody sets the wall clock back by an hour while it waits: every wait of the
// kernel for a time of the wall clock lasts an hour longer.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>

#include "absl/synchronization/mutex.h"
#include "coordinator/daemon.h"
#include "core/base/clock.h"
#include "core/base/steady_wait.h"
#include "tests/coordinator/fakes.h"

namespace {

std::atomic<bool> set_back{false};

}  // namespace

// Instead of the C library's: Abseil waits through it.
extern "C" long syscall(long number, ...) noexcept {
  using Syscall = long (*)(long, ...);
  static const auto kernel = reinterpret_cast<Syscall>(::dlsym(RTLD_NEXT, "syscall"));
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  timespec later = {};
  auto* until = reinterpret_cast<const timespec*>(arguments[3]);
  const bool waits = number == SYS_futex && (arguments[1] & FUTEX_CLOCK_REALTIME) != 0;
  if (waits && until != nullptr && set_back) {
    later = {until->tv_sec + 3600, until->tv_nsec};
    arguments[3] = reinterpret_cast<long>(&later);
  }
  return kernel(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}

namespace birkhoff {
namespace {

constexpr absl::Duration kLongest = absl::Seconds(30);

class SetClockTest : public ::testing::Test {
 protected:
  SetClockTest() { set_back = true; }
  ~SetClockTest() override { set_back = false; }

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
