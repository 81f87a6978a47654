// What kernels/device.h promises, asked of the CPU: order, events, copies, memory; then of the
// device whose memory is guarded.
#include "kernels/device.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
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
  for (int i = 0; i < 1000; ++i) stream->HostWork([&order, i] { order.push_back(i); });
  stream->Synchronize();
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

TEST_F(DeviceTest, HostWorkReturnsWhileTheStreamIsBlocked) {
  const auto stream = device_->NewStream("a");
  absl::Notification gate;
  std::atomic<bool> ran{false};
  stream->HostWork([&gate] { gate.WaitForNotification(); });
  stream->HostWork([&ran] { ran = true; });
  EXPECT_FALSE(ran);  // the host is here although the stream cannot be
  gate.Notify();
  stream->Synchronize();
  EXPECT_TRUE(ran);
}

TEST_F(DeviceTest, HasNoGraphsAndEnqueuesNothing) {
  const auto stream = device_->NewStream("a");
  bool enqueued = false;
  const auto graph = device_->Capture(*stream, [&enqueued] { enqueued = true; });
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kUnimplemented) << graph.status();
  EXPECT_FALSE(enqueued);
}

TEST_F(DeviceTest, StreamsRunBesideEachOther) {
  const auto a = device_->NewStream("a"), b = device_->NewStream("b");
  absl::Notification from_a, from_b;  // each waits for the other: one thread could not do both
  a->HostWork([&] {
    from_a.Notify();
    from_b.WaitForNotification();
  });
  b->HostWork([&] {
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
  a->HostWork([&] {
    gate.WaitForNotification();
    value = 7;
  });
  a->Record(*event);
  b->Wait(*event);
  b->HostWork([&] { seen = value; });
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
  a->HostWork([&second] { second.WaitForNotification(); });
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
  slow->HostWork([&] {
    gate.WaitForNotification();
    slow_done = true;
  });
  slow->Record(*event);
  waiter->Wait(*event);
  waiter->HostWork([&] { early = !slow_done; });
  fast->Record(*event);
  fast->Synchronize();
  gate.Notify();
  waiter->Synchronize();
  EXPECT_FALSE(early);
}

TEST_F(DeviceTest, EventsTellTheTimeBetweenThem) {
  const auto stream = device_->NewStream("a");
  const auto first = device_->NewEvent(), last = device_->NewEvent();
  EXPECT_EQ(last->NsSince(*first), 0);  // neither was recorded
  stream->Record(*first);
  first->Synchronize();
  EXPECT_EQ(last->NsSince(*first), 0);  // one of them was not
  EXPECT_EQ(first->NsSince(*last), 0);
  absl::Notification gate;
  stream->HostWork([&gate] { gate.WaitForNotification(); });
  stream->Record(*last);
  EXPECT_EQ(last->NsSince(*first), 0);  // not reached
  gate.Notify();
  stream->Synchronize();
  EXPECT_GT(last->NsSince(*first), 0);
  EXPECT_EQ(first->NsSince(*last), -last->NsSince(*first));
}

TEST_F(DeviceTest, DestructorFinishesTheQueue) {
  std::atomic<int> done{0};
  {
    const auto stream = device_->NewStream("a");
    for (int i = 0; i < 100; ++i) stream->HostWork([&done] { ++done; });
  }
  EXPECT_EQ(done, 100);
}

TEST_F(DeviceTest, CopiesRunInTheOrderOfTheStream) {
  const auto stream = device_->NewStream("a");
  const auto memory = device_->Allocate(8 * sizeof(int32_t));
  ASSERT_TRUE(memory.ok());
  const auto data = (*memory)->data().As<int32_t>();
  absl::Notification gate;
  std::vector<int32_t> in = {1, 2, 3, 4}, out(8);
  stream->HostWork([&] {
    gate.WaitForNotification();
    in[0] = 7;
  });
  stream->Fill((*memory)->data(), std::byte{0xff}, 8 * sizeof(int32_t));
  Upload<int32_t>(*stream, data, in.data(), 4);
  Copy<int32_t>(*stream, data + 5, data, 3);
  stream->Fill((data + 1).As<std::byte>(), std::byte{0}, sizeof(int32_t));
  Download<int32_t>(*stream, out.data(), data, 8);
  EXPECT_EQ(out, std::vector<int32_t>(8));  // the host is here before any of it
  gate.Notify();
  stream->Synchronize();
  EXPECT_EQ(out, (std::vector<int32_t>{7, 0, 3, 4, -1, 7, 2, 3}));
}

TEST_F(DeviceTest, CopiesOfNothingAreNothing) {
  const auto stream = device_->NewStream("a");
  stream->Copy(nullptr, nullptr, 0);
  stream->Upload(nullptr, nullptr, 0);
  stream->Download(nullptr, nullptr, 0);
  stream->Fill(nullptr, std::byte{1}, 0);
  stream->Synchronize();
}

TEST_F(DeviceTest, MemoryIsAlignedAndAsLargeAsAsked) {
  for (const int64_t bytes : {0, 1, 63, 64, 1000}) {
    const auto memory = device_->Allocate(bytes);
    ASSERT_TRUE(memory.ok());
    EXPECT_EQ((*memory)->size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*memory)->data().address()) % 64, 0u);
  }
}

TEST_F(DeviceTest, HostMemoryIsTheHosts) {
  const auto memory = device_->AllocateHost(100);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ((*memory)->size(), 100);
  std::memset((*memory)->data(), 1, 100);
  EXPECT_EQ((*memory)->data()[99], std::byte{1});
}

TEST_F(DeviceTest, CountsTheBytesOfDeviceMemoryThatLive) {
  EXPECT_EQ(device_->allocated_bytes(), 0);
  auto a = device_->Allocate(100), b = device_->Allocate(7);
  const auto host = device_->AllocateHost(1000);  // does not count
  EXPECT_EQ(device_->allocated_bytes(), 107);
  a->reset();
  EXPECT_EQ(device_->allocated_bytes(), 7);
  b->reset();
  EXPECT_EQ(device_->allocated_bytes(), 0);
  EXPECT_FALSE(device_->Allocate(-1).ok());
  EXPECT_EQ(device_->allocated_bytes(), 0);
}

TEST_F(DeviceTest, RefusesSizesThatCannotBe) {
  EXPECT_EQ(device_->Allocate(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(device_->Allocate(int64_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(device_->AllocateHost(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(device_->AllocateHost(int64_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(DeviceTest, SaysWhatItIs) {
  EXPECT_EQ(device_->processor(), Processor::kCpu);
  EXPECT_EQ(device_->name(), "cpu");
}

// ---- guarded ------------------------------------------------------------------------------------

class GuardedDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    auto memory = device_->Allocate(sizeof(int32_t));
    ASSERT_TRUE(memory.ok());
    memory_ = *std::move(memory);
  }
  DevicePtr<int32_t> data() { return memory_->data().As<int32_t>(); }

  std::unique_ptr<Device> device_ = NewGuardedCpuDevice();
  std::unique_ptr<DeviceMemory> memory_;
};

TEST_F(GuardedDeviceTest, UploadsAndDownloadsReachItsMemory) {
  const auto stream = device_->NewStream("a");
  const int32_t in = 42;
  int32_t out = 0;
  Upload<int32_t>(*stream, data(), &in, 1);
  Download<int32_t>(*stream, &out, data(), 1);
  stream->Synchronize();
  EXPECT_EQ(out, 42);
  EXPECT_EQ(device_->allocated_bytes(), int64_t{sizeof(int32_t)});
}

using GuardedDeviceDeathTest = GuardedDeviceTest;

TEST_F(GuardedDeviceDeathTest, EndsAHostThatReadsOrWritesItsMemory) {
  volatile int32_t* const address = data().address();
  EXPECT_DEATH(static_cast<void>(*address), "");
  EXPECT_DEATH(*address = 1, "");
}

TEST_F(GuardedDeviceDeathTest, EndsAHostThatReadsItsMemoryAfterWork) {
  EXPECT_DEATH(
      {
        const auto stream = device_->NewStream("a");
        const int32_t in = 42;
        Upload<int32_t>(*stream, data(), &in, 1);
        stream->Synchronize();
        volatile int32_t* const address = data().address();
        static_cast<void>(*address);
      },
      "");
}

}  // namespace
}  // namespace birkhoff
