// What `auto` means, and which workers may run a job.
#include "core/spec/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

Numerics Resolved(PrecisionKind precision, Toggle deterministic, Processor processor) {
  JobSpec spec;
  spec.training.precision = precision;
  spec.training.deterministic = deterministic;
  const auto numerics = ResolveNumerics(spec, processor);
  EXPECT_TRUE(numerics.ok()) << numerics.status();
  return numerics.value_or(Numerics{});
}

TEST(ResolveNumerics, AutoFollowsTheProcessor) {
  EXPECT_EQ(Resolved(PrecisionKind::kAuto, Toggle::kAuto, Processor::kCpu),
            (Numerics{Processor::kCpu, Precision::kFp32, true}));
  EXPECT_EQ(Resolved(PrecisionKind::kAuto, Toggle::kAuto, Processor::kCuda),
            (Numerics{Processor::kCuda, Precision::kBf16, false}));
}

TEST(ResolveNumerics, WhatIsAskedForIsDone) {
  EXPECT_EQ(Resolved(PrecisionKind::kFp32, Toggle::kTrue, Processor::kCuda),
            (Numerics{Processor::kCuda, Precision::kFp32, true}));
  EXPECT_EQ(Resolved(PrecisionKind::kFp32, Toggle::kFalse, Processor::kCpu),
            (Numerics{Processor::kCpu, Precision::kFp32, false}));
  EXPECT_EQ(Resolved(PrecisionKind::kBf16, Toggle::kAuto, Processor::kCuda),
            (Numerics{Processor::kCuda, Precision::kBf16, false}));
}

TEST(ResolveNumerics, RefusesBf16OnACpuWithTheRemedy) {
  JobSpec spec;
  spec.training.precision = PrecisionKind::kBf16;
  const auto numerics = ResolveNumerics(spec, Processor::kCpu);
  EXPECT_EQ(numerics.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(numerics.status().message()),
              HasSubstr("training.precision: bf16 is not allowed on a cpu; need auto or fp32"));
}

ClusterSpec Workers(const std::vector<std::string>& devices) {
  ClusterSpec cluster;
  for (const std::string& device : devices) {
    WorkerResources& worker = cluster.workers.emplace_back();
    worker.name = "workers/" + std::to_string(cluster.workers.size() - 1);
    worker.device = device;
  }
  return cluster;
}

TEST(ProcessorOf, IsThatOfTheWorkersOrOfTheSpec) {
  JobSpec spec;
  EXPECT_EQ(*ProcessorOf(spec, {}), Processor::kCpu);
  EXPECT_EQ(*ProcessorOf(spec, Workers({"cuda", "cuda"})), Processor::kCuda);
  EXPECT_EQ(*ProcessorOf(spec, Workers({"cpu"})), Processor::kCpu);
  spec.device = DeviceKind::kCuda;
  EXPECT_EQ(*ProcessorOf(spec, {}), Processor::kCuda);
}

TEST(ProcessorOf, RefusesMixedUnknownAndOtherWorkers) {
  JobSpec spec;
  const auto reason = [&spec](const std::vector<std::string>& devices) {
    return std::string(ProcessorOf(spec, Workers(devices)).status().message());
  };
  EXPECT_EQ(reason({"cpu", "cuda"}),
            "workers: workers/0 has cpu, workers/1 has cuda; need workers of one kind");
  EXPECT_EQ(reason({"tpu"}), "workers/0: device 'tpu' is not known; need cpu or cuda");
  spec.device = DeviceKind::kCpu;
  EXPECT_EQ(reason({"cuda"}),
            "device: cpu, but workers/0 has cuda; set device to auto or cuda, or give it other "
            "workers");
}

TEST(NeededDevice, IsCudaWhereOnlyAGpuWillDo) {
  JobSpec spec;
  EXPECT_EQ(NeededDevice(spec), DeviceKind::kAuto);
  spec.training.precision = PrecisionKind::kBf16;
  EXPECT_EQ(NeededDevice(spec), DeviceKind::kCuda);
  spec.training.precision = PrecisionKind::kFp32;
  spec.device = DeviceKind::kCpu;
  EXPECT_EQ(NeededDevice(spec), DeviceKind::kCpu);
}

// Every combination: bf16 is refused on a CPU and nowhere else, and `auto` is all that the processor
// decides.
TEST(ResolveNumerics, EveryCombinationIsResolvedOrRefused) {
  for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
    const bool cuda = processor == Processor::kCuda;
    for (const PrecisionKind precision :
         {PrecisionKind::kAuto, PrecisionKind::kFp32, PrecisionKind::kBf16}) {
      for (const Toggle deterministic : {Toggle::kAuto, Toggle::kTrue, Toggle::kFalse}) {
        JobSpec spec;
        spec.training.precision = precision;
        spec.training.deterministic = deterministic;
        const auto numerics = ResolveNumerics(spec, processor);
        ASSERT_EQ(numerics.ok(), cuda || precision != PrecisionKind::kBf16);
        if (!numerics.ok()) continue;
        EXPECT_EQ(numerics->processor, processor);
        EXPECT_EQ(numerics->precision,
                  cuda && precision != PrecisionKind::kFp32 ? Precision::kBf16 : Precision::kFp32);
        EXPECT_EQ(numerics->deterministic,
                  deterministic == Toggle::kAuto ? !cuda : deterministic == Toggle::kTrue);
      }
    }
  }
}

TEST(ProcessorOf, EveryDeviceAgainstEveryKindOfWorker) {
  for (const DeviceKind device : {DeviceKind::kAuto, DeviceKind::kCpu, DeviceKind::kCuda}) {
    for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
      JobSpec spec;
      spec.device = device;
      const auto of =
          ProcessorOf(spec, Workers({ProcessorName(processor), ProcessorName(processor)}));
      const bool fits = device == DeviceKind::kAuto ||
                        (device == DeviceKind::kCuda) == (processor == Processor::kCuda);
      EXPECT_EQ(of.ok(), fits);
      EXPECT_EQ(of.value_or(processor), processor);
    }
  }
}

TEST(ProcessorOf, LooksAtEveryWorker) {
  const JobSpec spec;
  EXPECT_EQ(std::string(ProcessorOf(spec, Workers({"cpu", "cpu", "tpu"})).status().message()),
            "workers/2: device 'tpu' is not known; need cpu or cuda");
  EXPECT_EQ(std::string(ProcessorOf(spec, Workers({"cuda", "cuda", "cpu"})).status().message()),
            "workers: workers/0 has cuda, workers/2 has cpu; need workers of one kind");
  EXPECT_FALSE(ProcessorOf(spec, Workers({"CPU"})).ok());
  EXPECT_FALSE(ProcessorOf(spec, Workers({""})).ok());
}

TEST(NeededDevice, IsTheSpecsOwnButForBf16OnAnyDevice) {
  for (const DeviceKind device : {DeviceKind::kAuto, DeviceKind::kCpu, DeviceKind::kCuda}) {
    for (const PrecisionKind precision :
         {PrecisionKind::kAuto, PrecisionKind::kFp32, PrecisionKind::kBf16}) {
      JobSpec spec;
      spec.device = device;
      spec.training.precision = precision;
      const bool needs = device == DeviceKind::kAuto && precision == PrecisionKind::kBf16;
      EXPECT_EQ(NeededDevice(spec), needs ? DeviceKind::kCuda : device);
    }
  }
}

}  // namespace
}  // namespace birkhoff
