#include "worker/device.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"

namespace birkhoff {
namespace {

class DeviceTest : public ::testing::Test {
 protected:
  std::unique_ptr<Device> device_ = NewCpuDevice();
};

TEST_F(DeviceTest, StreamRunsWorkInOrderWhenItWasSubmittedFaster) {
  const auto stream = device_->NewStream("a");
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) stream->Submit([&order, i] { order.push_back(i); });
  stream->Synchronize();
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(DeviceTest, SubmitReturnsWhileTheStreamIsBlocked) {
  const auto stream = device_->NewStream("a");
  absl::Notification gate;
  std::atomic<bool> ran{false};
  stream->Submit([&gate] { gate.WaitForNotification(); });
  stream->Submit([&ran] { ran = true; });
  EXPECT_FALSE(ran);  // the host is here although the stream cannot be
  gate.Notify();
  stream->Synchronize();
  EXPECT_TRUE(ran);
}

TEST_F(DeviceTest, StreamsRunBesideEachOther) {
  const auto a = device_->NewStream("a"), b = device_->NewStream("b");
  absl::Notification from_a, from_b;  // each waits for the other: one thread could not do both
  a->Submit([&] {
    from_a.Notify();
    from_b.WaitForNotification();
  });
  b->Submit([&] {
    from_b.Notify();
    from_a.WaitForNotification();
  });
  a->Synchronize();
  b->Synchronize();
}

TEST_F(DeviceTest, WaitOrdersStreamsAndNotTheHost) {
  const auto a = device_->NewStream("a"), b = device_->NewStream("b");
  const auto event = device_->NewEvent();
  absl::Notification gate;
  int value = 0, seen = 0;
  a->Submit([&] {
    gate.WaitForNotification();
    value = 7;
  });
  a->Record(*event);
  b->Wait(*event);
  b->Submit([&] { seen = value; });
  EXPECT_FALSE(event->Done());
  gate.Notify();
  b->Synchronize();
  EXPECT_EQ(seen, 7);
  EXPECT_TRUE(event->Done());
}

TEST_F(DeviceTest, UnrecordedEventIsDoneAndWaitsForNothing) {
  const auto stream = device_->NewStream("a");
  const auto event = device_->NewEvent();
  EXPECT_TRUE(event->Done());
  event->Synchronize();
  stream->Wait(*event);
  stream->Synchronize();
}

TEST_F(DeviceTest, WaitMeansTheRecordBeforeItAlsoWhenTheEventIsRecordedAgain) {
  const auto a = device_->NewStream("a"), b = device_->NewStream("b");
  const auto event = device_->NewEvent();
  absl::Notification second;
  a->Record(*event);
  b->Wait(*event);
  a->Submit([&second] { second.WaitForNotification(); });
  a->Record(*event);  // a new point: b does not wait for it
  b->Synchronize();
  EXPECT_FALSE(event->Done());
  second.Notify();
  event->Synchronize();
  EXPECT_TRUE(event->Done());
}

TEST_F(DeviceTest, LaterPointOfAnotherStreamDoesNotReleaseAWaiterOfTheEarlierOne) {
  const auto slow = device_->NewStream("slow"), fast = device_->NewStream("fast");
  const auto waiter = device_->NewStream("waiter");
  const auto event = device_->NewEvent();
  absl::Notification gate;
  std::atomic<bool> slow_done{false}, early{false};
  slow->Submit([&] {
    gate.WaitForNotification();
    slow_done = true;
  });
  slow->Record(*event);
  waiter->Wait(*event);
  waiter->Submit([&] { early = !slow_done; });
  fast->Record(*event);
  fast->Synchronize();
  gate.Notify();
  waiter->Synchronize();
  EXPECT_FALSE(early);
}

TEST_F(DeviceTest, EventsTellWhenTheyWereReached) {
  const auto stream = device_->NewStream("a");
  const auto first = device_->NewEvent(), last = device_->NewEvent();
  EXPECT_EQ(first->TimeNs(), 0);
  stream->Record(*first);
  stream->Record(*last);
  stream->Synchronize();
  EXPECT_GT(first->TimeNs(), 0);
  EXPECT_LE(first->TimeNs(), last->TimeNs());
}

TEST_F(DeviceTest, DestructorFinishesTheQueue) {
  std::atomic<int> done{0};
  {
    const auto stream = device_->NewStream("a");
    for (int i = 0; i < 100; ++i) stream->Submit([&done] { ++done; });
  }
  EXPECT_EQ(done, 100);
}

TEST_F(DeviceTest, MemoryIsAlignedAndAsLargeAsAsked) {
  for (const int64_t bytes : {0, 1, 63, 64, 1000}) {
    const auto memory = device_->Allocate(bytes);
    ASSERT_TRUE(memory.ok());
    EXPECT_EQ((*memory)->size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*memory)->data()) % 64, 0u);
  }
}

TEST_F(DeviceTest, RefusesSizesThatCannotBe) {
  EXPECT_EQ(device_->Allocate(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(device_->Allocate(int64_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace birkhoff
