// What is said to one who does not read, and meetings to which not all come.
#include "worker/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "worker/meet_table.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

TEST(Outbox, WritesInOrder) {
  std::vector<int> written;
  Outbox<int> outbox([&](int word) { return written.push_back(word), true; }, 100);
  for (int word = 0; word < 5; ++word) EXPECT_TRUE(outbox.Push(word));
  EXPECT_TRUE(outbox.Drain(absl::Seconds(30)));
  EXPECT_THAT(written, ElementsAre(0, 1, 2, 3, 4));
}

TEST(Outbox, NobodyWaitsForOneWhoDoesNotRead) {
  absl::Notification started, released;
  Outbox<int> outbox(
      [&](int) {
        if (!started.HasBeenNotified()) started.Notify();
        released.WaitForNotification();
        return true;
      },
      3);
  EXPECT_TRUE(outbox.Push(0));
  started.WaitForNotification();
  for (int word = 1; word <= 3; ++word) EXPECT_TRUE(outbox.Push(word));
  EXPECT_FALSE(outbox.Push(4)) << "three wait already";
  EXPECT_FALSE(outbox.Drain(absl::Milliseconds(1)));
  released.Notify();
  EXPECT_TRUE(outbox.Drain(absl::Seconds(30)));
}

TEST(Outbox, SaysThatNothingMoreWillBeWritten) {
  Outbox<int> outbox([](int) { return false; }, 100);
  EXPECT_TRUE(outbox.Push(1));
  EXPECT_FALSE(outbox.Drain(absl::Seconds(30)));
  EXPECT_FALSE(outbox.Push(2));
}

TEST(MeetTable, AMeetingHasABound) {
  MeetTable table;
  table.Put("a", {"x", "y"});
  EXPECT_THAT(*table.Await("a", absl::ZeroDuration()), ElementsAre("x", "y"));
  const absl::Status late = table.Await("b", absl::Milliseconds(1)).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late.message(), "meeting under b: not all ranks have come within 1ms");
}

}  // namespace
}  // namespace birkhoff
