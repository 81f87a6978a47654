// Element types, alignment and instants: small things that everything else counts on.
#include "core/base/dtype.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/base/alignment.h"
#include "core/base/clock.h"
#include "core/base/isa.h"

namespace birkhoff {
namespace {

// Numbers are on the wire and in stored plans.
TEST(DType, NumbersSizesAndNamesStandForEver) {
  struct Type {
    DType type;
    int number;
    int64_t bytes;
    const char* name;
  };
  for (const Type& c : {Type{DType::kFloat32, 1, 4, "fp32"}, Type{DType::kFloat64, 2, 8, "fp64"},
                        Type{DType::kBfloat16, 3, 2, "bf16"}, Type{DType::kInt32, 4, 4, "int32"}}) {
    EXPECT_EQ(static_cast<int>(c.type), c.number);
    EXPECT_EQ(SizeOf(c.type), c.bytes) << c.name;
    EXPECT_STREQ(DTypeName(c.type), c.name);
  }
  for (const int none : {-1, 0, 5}) {
    EXPECT_EQ(SizeOf(static_cast<DType>(none)), 0);
    EXPECT_STREQ(DTypeName(static_cast<DType>(none)), "?");
  }
}

TEST(Processor, NumbersAndNamesStandForEver) {
  EXPECT_EQ(static_cast<int>(Processor::kCpu), 0);
  EXPECT_EQ(static_cast<int>(Processor::kCuda), 1);
  EXPECT_STREQ(ProcessorName(Processor::kCpu), "cpu");
  EXPECT_STREQ(ProcessorName(Processor::kCuda), "cuda");
}

TEST(Aligned, GoesUpToTheNextCacheLine) {
  for (int64_t bytes = 0; bytes < 300; ++bytes) {
    const int64_t aligned = Aligned(bytes);
    EXPECT_EQ(aligned % 64, 0);
    EXPECT_GE(aligned, bytes);
    EXPECT_LT(aligned, bytes + 64);
  }
  EXPECT_EQ(Aligned(std::numeric_limits<uint64_t>::max()), 0u) << "modulo 2^64";
  EXPECT_EQ(Aligned(std::numeric_limits<uint64_t>::max() - 63), uint64_t{0} - 64);
}

TEST(Instant, OnlyDifferencesMeanAnything) {
  const Instant a{1'000'000'000}, b{3'500'000'000};
  EXPECT_EQ(b - a, absl::Milliseconds(2500));
  EXPECT_EQ(a - b, -absl::Milliseconds(2500));
  EXPECT_EQ(a + absl::Milliseconds(2500), b);
  EXPECT_EQ(b + -absl::Milliseconds(2500), a);
  EXPECT_LT(a, b);
}

TEST(SystemClock, GoesForward) {
  const SystemClock clock;
  Instant last = clock.Now();
  for (int i = 0; i < 1000; ++i) {
    const Instant now = clock.Now();
    EXPECT_GE(now, last);
    last = now;
  }
  EXPECT_GT(clock.WallTime(), absl::FromCivil(absl::CivilSecond(2024, 1, 1), absl::UTCTimeZone()));
}

// A processor that has one set of instructions has those before it.
TEST(BestIsa, IsOneThatThisProcessorHas) {
  const Isa best = BestIsa();
  EXPECT_EQ(best >= Isa::kAvx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_TRUE(best < Isa::kAvx512 || __builtin_cpu_supports("avx512f") != 0);
}

}  // namespace
}  // namespace birkhoff
