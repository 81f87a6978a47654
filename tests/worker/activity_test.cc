// What can be seen of a rank from outside while it works, waits or hangs.
#include "worker/activity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/plan/plan.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/temporary_directory.h"
#include "worker/transport/local.h"
#include "worker/watched.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ActivityTest, SaysWhatWasBegunAndAllThatTakesItsTime) {
  Activity activity;
  activity.Begin("step 3");
  EXPECT_EQ(activity.Look().what, "step 3");
  EXPECT_THAT(activity.Look().peers, IsEmpty());
  {
    const Activity::Scope one(activity, "writes /out/x");
    const Activity::Scope two(activity, "agrees with all hosts", {1, 2});
    EXPECT_EQ(activity.Look().what, "step 3, writes /out/x, agrees with all hosts");
    EXPECT_THAT(activity.Look().peers, ElementsAre(1, 2));
  }
  EXPECT_EQ(activity.Look().what, "step 3");
  activity.Follow([] { return Doing{5, "train instruction 1 (forward)", {7}}; });
  EXPECT_EQ(activity.Look().what, "step 3, train instruction 1 (forward)");
  EXPECT_THAT(activity.Look().peers, ElementsAre(7));
  activity.Follow([] { return Doing{6, "", {}}; });
  EXPECT_EQ(activity.Look().what, "step 3") << "no program runs";
  activity.Follow(nullptr);
  EXPECT_EQ(activity.Look().what, "step 3");
  activity.Begin("waits until all ranks are done", {0});
  EXPECT_THAT(activity.Look().peers, ElementsAre(0));
}

TEST(ActivityTest, EveryMoveHasAnotherMarkAndALookIsNone) {
  Activity activity;
  std::vector<int64_t> marks = {activity.Look().marks};
  const auto moved = [&] { marks.push_back(activity.Look().marks); };
  activity.Begin("step 1");
  moved();
  activity.Mark();
  moved();
  {
    const Activity::Scope scope(activity, "reads");
    moved();
  }
  moved();
  activity.Follow([] { return Doing{100, "a", {}}; });
  moved();
  activity.Follow([] { return Doing{101, "a", {}}; });
  moved();
  for (size_t i = 1; i < marks.size(); ++i) EXPECT_GT(marks[i], marks[i - 1]) << i;
  EXPECT_EQ(activity.Look().marks, marks.back());
}

TEST(WatchedDiskTest, NamesTheFileThatHangs) {
  const testing::TemporaryDirectory directory;
  const std::string pipe = directory / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  Activity activity;
  PosixDisk disk;
  const std::unique_ptr<Disk> watched = WatchDisk(disk, activity);
  std::thread writer([&] {
    while (activity.Look().what.empty()) std::this_thread::yield();
    EXPECT_EQ(activity.Look().what, "opens " + pipe);
    EXPECT_TRUE(disk.OpenAppend(pipe).ok());
  });
  EXPECT_TRUE(watched->OpenRead(pipe).ok()) << "hangs until there is a writer";
  writer.join();
  EXPECT_EQ(activity.Look().what, "");
}

TEST(WatchedDiskTest, MarksEveryUseAndDoesWhatTheDiskDoes) {
  Activity activity;
  testing::FaultDisk disk;
  const std::unique_ptr<Disk> watched = WatchDisk(disk, activity);
  const auto file = *watched->Create("/file");
  const int64_t before = activity.Look().marks;
  ASSERT_TRUE(file->Append("text").ok());
  EXPECT_GT(activity.Look().marks, before);
  EXPECT_EQ(*watched->Read("/file"), "text");
  EXPECT_EQ(*watched->ReadRange("/file", 1, 2), "ex");
  EXPECT_EQ(*(*watched->OpenRead("/file"))->Read(10), "text");
  EXPECT_EQ(*watched->Size("/file"), 4);
  EXPECT_TRUE(watched->Exists("/file"));
  EXPECT_EQ(watched->KindOf("/file"), FileKind::kFile);
  EXPECT_EQ(activity.Look().what, "");
  disk.SetCapacity(4);
  EXPECT_TRUE(IsDiskTrouble(file->Append("more")));
}

TEST(WatchedTransportTest, NamesThePeersOfAnAgreement) {
  Activity activity;
  Plan plan;
  plan.num_replicas = 2;
  plan.ranks.resize(1);
  LocalHub hub(2);
  const auto mine = NewLocalTransport(hub, plan, {.rank = 1, .check_stamps = true});
  const std::unique_ptr<Transport> watched = WatchTransport(*mine, activity);
  std::thread other([&] {
    while (activity.Look().what.empty()) std::this_thread::yield();
    EXPECT_EQ(activity.Look().what, "agrees with all hosts");
    EXPECT_THAT(activity.Look().peers, ElementsAre(0));
    watched->Abort(absl::AbortedError("nobody came"));
  });
  const int64_t value = 1;
  EXPECT_FALSE(Gather(watched->council(), std::span<const int64_t>(&value, 1)).ok());
  other.join();
  EXPECT_EQ(activity.Look().what, "");
}

}  // namespace
}  // namespace birkhoff
