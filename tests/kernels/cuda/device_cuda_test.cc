// The GPU as a device: what kernels/device.h promises, asked of CUDA.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/device.h"
#include "tests/kernels/cuda/check_line.h"
#include "tests/kernels/cuda/fault.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

class CudaDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = cuda::NewDevice(0);
    ASSERT_OK(device.status());
    device_ = *std::move(device);
    stream_ = device_->NewStream("compute");
  }
  void TearDown() override {
    if (device_ == nullptr || !expects_ok_) return;
    EXPECT_TRUE(device_->status().ok()) << device_->status();
  }

  std::unique_ptr<DeviceMemory> Allocate(int64_t bytes) {
    auto memory = device_->Allocate(bytes);
    EXPECT_TRUE(memory.ok()) << memory.status();
    return *std::move(memory);
  }
  std::unique_ptr<HostMemory> AllocateHost(int64_t bytes) {
    auto memory = device_->AllocateHost(bytes);
    EXPECT_TRUE(memory.ok()) << memory.status();
    return *std::move(memory);
  }

  std::unique_ptr<Device> device_;  // outlives the stream
  std::unique_ptr<Stream> stream_;
  bool expects_ok_ = true;
};

TEST(Cuda, NamesGpusAndLibraries) {
  ASSERT_OK(cuda::CudaAvailable());
  const auto gpus = cuda::ListGpus();
  ASSERT_OK(gpus.status());
  for (const cuda::GpuInfo& gpu : *gpus) {
    std::printf("cuda:%d %s, %.1f GiB, compute capability %d, %d multiprocessors\n", gpu.index,
                gpu.name.c_str(), double(gpu.memory_bytes) / (1 << 30), gpu.compute_capability,
                gpu.num_multiprocessors);
    EXPECT_GT(gpu.memory_bytes, int64_t{1} << 30);
    EXPECT_GE(gpu.compute_capability, 80);
  }
  const auto versions = cuda::LibraryVersions();
  ASSERT_OK(versions.status());
  std::printf("%s\n", versions->c_str());
}

TEST(Cuda, RefusesAGpuThatIsNotThere) {
  const auto device = cuda::NewDevice(99);
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(device.status().message().find("device: cuda:99; need an index below"),
            absl::string_view::npos)
      << device.status();
}

TEST_F(CudaDeviceTest, SaysWhatItIs) {
  EXPECT_EQ(device_->name(), "cuda:0");
  EXPECT_EQ(device_->processor(), Processor::kCuda);
}

TEST_F(CudaDeviceTest, CopiesInTheOrderOfTheStream) {
  constexpr int64_t kBytes = 1 << 20;
  const auto a = Allocate(kBytes), b = Allocate(kBytes);
  const auto in = AllocateHost(kBytes), out = AllocateHost(kBytes);
  for (int64_t i = 0; i < kBytes; ++i) in->data()[i] = std::byte(i * 7 % 251);
  stream_->Fill(b->data(), std::byte{1}, kBytes);
  stream_->Upload(a->data(), in->data(), kBytes);
  stream_->Copy(b->data(), a->data(), kBytes);
  stream_->Fill(a->data(), std::byte{2}, kBytes);
  stream_->Fill(b->data() + 100, std::byte{3}, 1);
  stream_->Download(out->data(), b->data(), kBytes);
  stream_->Synchronize();
  in->data()[100] = std::byte{3};
  int64_t wrong = 0;
  for (int64_t i = 0; i < kBytes; ++i) wrong += in->data()[i] != out->data()[i];
  CheckLine("device: bytes of 1 MiB that copies changed", double(wrong), 0);
}

TEST_F(CudaDeviceTest, CopiesOfNothingAreNothing) {
  stream_->Upload({}, nullptr, 0);
  stream_->Copy({}, {}, 0);
  stream_->Fill({}, std::byte{1}, 0);
  stream_->Download(nullptr, {}, 0);
  stream_->Synchronize();
}

TEST_F(CudaDeviceTest, RunsHostWorkInItsPlace) {
  const auto memory = Allocate(4);
  const auto seen = AllocateHost(3 * 4);
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) {
    stream_->Fill(memory->data(), std::byte(i + 1), 4);
    stream_->Download(seen->data() + 4 * i, memory->data(), 4);
    stream_->HostWork(
        [&order, &seen, i] { order.push_back(std::to_integer<int>(seen->data()[4 * i])); });
  }
  stream_->Synchronize();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(CudaDeviceTest, StreamsWaitForEachOthersPoints) {
  const auto memory = Allocate(1);
  const auto seen = AllocateHost(1);
  const auto other = device_->NewStream("compute-high");
  const auto event = device_->NewEvent(), done = device_->NewEvent();
  absl::Notification go;
  stream_->Fill(memory->data(), std::byte{1}, 1);
  stream_->HostWork([&go] { go.WaitForNotification(); });
  stream_->Fill(memory->data(), std::byte{2}, 1);
  stream_->Record(*event);
  other->Wait(*event);
  other->Download(seen->data(), memory->data(), 1);
  other->Record(*done);
  EXPECT_FALSE(event->Done());
  EXPECT_FALSE(done->Done());
  go.Notify();
  done->Synchronize();
  EXPECT_TRUE(event->Done());
  EXPECT_EQ(seen->data()[0], std::byte{2});
  stream_->Synchronize();
}

// Two streams that meet: an upload, a branch that copies, the other that fills, and both read.
TEST_F(CudaDeviceTest, AGraphDoesAgainWhatWasCaptured) {
  constexpr int64_t kBytes = 1 << 20;
  const auto a = Allocate(kBytes), b = Allocate(kBytes);
  const auto in = AllocateHost(kBytes), out = AllocateHost(2 * kBytes);
  const auto other = device_->NewStream("compute-high");
  const auto fork = device_->NewEdge(), join = device_->NewEvent();
  int enqueued = 0;
  const auto graph = device_->Capture(*stream_, [&] {
    ++enqueued;
    stream_->Upload(a->data(), in->data(), kBytes);
    stream_->Record(*fork);
    other->Wait(*fork);
    other->Copy(b->data(), a->data(), kBytes);
    other->Record(*join);
    stream_->Download(out->data(), a->data(), kBytes);
    stream_->Wait(*join);
    stream_->Download(out->data() + kBytes, b->data(), kBytes);
  });
  ASSERT_OK(graph.status());
  for (const int value : {1, 2, 3}) {
    std::fill_n(in->data(), kBytes, std::byte(value));
    (*graph)->Launch(*stream_);
    stream_->Synchronize();
    int64_t wrong = 0;
    for (int64_t i = 0; i < 2 * kBytes; ++i) wrong += out->data()[i] != std::byte(value);
    EXPECT_EQ(wrong, 0) << "launch " << value;
  }
  EXPECT_EQ(enqueued, 1);
}

// The host's questions about an event mean the last launch: it is not done while that waits.
TEST_F(CudaDeviceTest, EachLaunchRecordsTheEventsOfAGraphAnew) {
  constexpr int64_t kBytes = int64_t{1} << 28;
  const auto memory = Allocate(kBytes);
  const auto begin = device_->NewEvent(), end = device_->NewEvent();
  const auto graph = device_->Capture(*stream_, [&] {
    stream_->Record(*begin);
    stream_->Fill(memory->data(), std::byte{1}, kBytes);
    stream_->Record(*end);
  });
  ASSERT_OK(graph.status());
  for (int launch = 0; launch < 3; ++launch) {
    absl::Notification go;
    stream_->HostWork([&go] { go.WaitForNotification(); });
    (*graph)->Launch(*stream_);
    EXPECT_FALSE(end->Done()) << "launch " << launch;
    go.Notify();
    end->Synchronize();
    EXPECT_TRUE(end->Done());
    EXPECT_GT(end->NsSince(*begin), 0);
  }
  stream_->Synchronize();
}

TEST_F(CudaDeviceTest, WhatCannotBeCapturedIsNamedAndTheDeviceGoesOn) {
  const auto memory = Allocate(1);
  const auto seen = AllocateHost(1);
  const auto other = device_->NewStream("compute-high");
  const auto event = device_->NewEvent();
  other->Record(*event);
  const auto host = device_->Capture(*stream_, [&] { stream_->HostWork([] {}); });
  EXPECT_EQ(host.status().code(), absl::StatusCode::kFailedPrecondition) << host.status();
  const auto outside = device_->Capture(*stream_, [&] {
    stream_->Fill(memory->data(), std::byte{1}, 1);
    stream_->Wait(*event);
  });
  EXPECT_EQ(outside.status().code(), absl::StatusCode::kFailedPrecondition) << outside.status();
  // A branch that never comes back.
  const auto apart = device_->Capture(*stream_, [&] {
    stream_->Record(*event);
    other->Wait(*event);
    other->Fill(memory->data(), std::byte{2}, 1);
  });
  EXPECT_EQ(apart.status().code(), absl::StatusCode::kInternal) << apart.status();
  ASSERT_OK(device_->status());
  stream_->Fill(memory->data(), std::byte{7}, 1);
  stream_->Download(seen->data(), memory->data(), 1);
  stream_->Synchronize();
  EXPECT_EQ(seen->data()[0], std::byte{7});
}

TEST_F(CudaDeviceTest, EventsTellTheTimeBetweenThem) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const auto memory = Allocate(kBytes);
  const auto begin = device_->NewEvent(), end = device_->NewEvent();
  EXPECT_TRUE(end->Done());
  EXPECT_EQ(end->NsSince(*begin), 0);  // never recorded
  stream_->Record(*begin);
  EXPECT_EQ(end->NsSince(*begin), 0);
  stream_->Fill(memory->data(), std::byte{1}, kBytes);
  stream_->Record(*end);
  end->Synchronize();
  // No memory takes 20 TB/s, and none so little as 10 GB/s.
  const double seconds = double(end->NsSince(*begin)) * 1e-9;
  CheckLine("device: TB/s of a fill by its events", double(kBytes) / seconds * 1e-12, 20);
  EXPECT_LE(seconds, double(kBytes) / 10e9);
}

TEST_F(CudaDeviceTest, CountsItsBytes) {
  EXPECT_EQ(device_->allocated_bytes(), 0);
  auto a = Allocate(1000);
  const auto b = Allocate(0);
  EXPECT_NE(b->data().address(), nullptr);
  EXPECT_EQ(a->size(), 1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a->data().address()) % 64, 0u);
  EXPECT_EQ(device_->allocated_bytes(), 1000);
  a.reset();
  EXPECT_EQ(device_->allocated_bytes(), 0);
}

TEST_F(CudaDeviceTest, SaysWhereThereIsNoRoom) {
  EXPECT_EQ(device_->Allocate(int64_t{1} << 50).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(device_->Allocate(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(device_->allocated_bytes(), 0);
}

// Last: no context of this process lives on after it.
TEST_F(CudaDeviceTest, KeepsTheErrorOfAKernelThatFailed) {
  expects_ok_ = false;
  const auto memory = Allocate(8);
  LaunchFault(cuda::Enter(*stream_));
  stream_->Synchronize();
  const absl::Status first = device_->status();
  std::printf("%s\n", first.ToString().c_str());
  EXPECT_EQ(first.code(), absl::StatusCode::kInternal);
  EXPECT_NE(first.message().find("cuda:0: cudaStreamSynchronize: "), absl::string_view::npos);
  stream_->Fill(memory->data(), std::byte{1}, 8);
  stream_->Synchronize();
  EXPECT_EQ(device_->status(), first);
}

}  // namespace
}  // namespace birkhoff
