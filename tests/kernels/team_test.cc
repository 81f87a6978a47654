// What a team promises: every task once, whoever takes it; nobody waits for a team that is busy.
#include "kernels/cpu/team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "kernels/device.h"

namespace birkhoff::cpu {
namespace {

// How often each of `tasks` was run.
std::vector<int> Counts(int64_t tasks) {
  std::vector<std::atomic<int>> counts(static_cast<size_t>(tasks));
  ShareOut(tasks, [&](int64_t index) { ++counts[size_t(index)]; });
  return {counts.begin(), counts.end()};
}

TEST(TeamTest, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 5}) {
    Team team(threads);
    EXPECT_EQ(team.threads(), threads);
    const TeamScope scope(&team);
    for (const int64_t tasks : {0, 1, 2, 3, 64, 1000}) {
      EXPECT_EQ(Counts(tasks), std::vector<int>(size_t(tasks), 1)) << threads << " " << tasks;
    }
  }
}

TEST(TeamTest, OthersTakePart) {
  Team team(2);
  const TeamScope scope(&team);
  absl::Notification other;
  const std::thread::id mine = std::this_thread::get_id();
  // The task of this thread ends only when another thread has begun one.
  ShareOut(2, [&](int64_t) {
    if (std::this_thread::get_id() == mine) {
      other.WaitForNotification();
    } else if (!other.HasBeenNotified()) {
      other.Notify();
    }
  });
  EXPECT_TRUE(other.HasBeenNotified());
}

TEST(TeamTest, TaskThatSharesOutDoesItAlone) {
  Team team(3);
  const TeamScope scope(&team);
  std::atomic<int> inner{0}, strangers{0};
  ShareOut(6, [&](int64_t) {
    const std::thread::id mine = std::this_thread::get_id();
    ShareOut(4, [&](int64_t) {
      ++inner;
      if (std::this_thread::get_id() != mine) ++strangers;
    });
  });
  EXPECT_EQ(inner, 24);
  EXPECT_EQ(strangers, 0);
}

TEST(TeamTest, WhoFindsItBusyWorksAlone) {
  Team team(2);
  absl::Notification begun, done;
  std::thread holder([&] {
    const TeamScope scope(&team);
    ShareOut(2, [&](int64_t index) {
      if (index != 0) return;
      begun.Notify();
      done.WaitForNotification();
    });
  });
  begun.WaitForNotification();
  {
    const TeamScope scope(&team);
    EXPECT_EQ(Counts(5), std::vector<int>(5, 1));
  }
  done.Notify();
  holder.join();
}

TEST(TeamTest, WorkspaceIsTheCallersOnlyOnTheCallersThread) {
  Team team(4);
  const TeamScope scope(&team);
  std::vector<float> callers(8);
  const std::thread::id mine = std::this_thread::get_id();
  std::atomic<int> wrong{0};
  ShareOut(100, [&](int64_t) {
    float* const own = TaskWorkspace<float>(callers.data(), 8);
    if ((own == callers.data()) != (std::this_thread::get_id() == mine)) ++wrong;
    if (reinterpret_cast<uintptr_t>(TaskMemory(100)) % 64 != 0) ++wrong;
    for (int k = 0; k < 8; ++k) own[k] = float(k);  // a race where two threads have the same
  });
  EXPECT_EQ(wrong, 0);
}

TEST(TeamTest, StreamsOfADeviceBelongToItsTeam) {
  const std::unique_ptr<Device> device = NewCpuDevice(/*threads=*/2);
  const std::unique_ptr<Stream> stream = device->NewStream("a");
  absl::Notification other;
  stream->HostWork([&] {
    const std::thread::id mine = std::this_thread::get_id();
    ShareOut(2, [&](int64_t) {
      if (std::this_thread::get_id() == mine) {
        other.WaitForNotification();
      } else if (!other.HasBeenNotified()) {
        other.Notify();
      }
    });
  });
  stream->Synchronize();
  EXPECT_TRUE(other.HasBeenNotified());
}

}  // namespace
}  // namespace birkhoff::cpu
