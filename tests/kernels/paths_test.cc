// The rule by which the CPU backend chooses its ways, what the environment may say of it, and that
// the instructions of loops change no bit.
#include "kernels/cpu/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace birkhoff::cpu {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr ProductLibrary kOneDnn = ProductLibrary::kOneDnn, kOpenBlas = ProductLibrary::kOpenBlas;

TEST(PathsTest, FollowFromTheProcessorsFeatures) {
  EXPECT_EQ(*ChoosePaths(Isa::kBaseline, "", ""), (Paths{Isa::kBaseline, kOpenBlas}));
  EXPECT_EQ(*ChoosePaths(Isa::kAvx2, "", ""), (Paths{Isa::kAvx2, kOneDnn}));
  EXPECT_EQ(*ChoosePaths(Isa::kAvx512, "", ""), (Paths{Isa::kAvx512, kOneDnn}));
}

TEST(PathsTest, NamesTakeThePlaceOfTheRule) {
  EXPECT_EQ(*ChoosePaths(Isa::kAvx512, "avx2", ""), (Paths{Isa::kAvx2, kOneDnn}));
  EXPECT_EQ(*ChoosePaths(Isa::kAvx512, "baseline", "openblas"), (Paths{Isa::kBaseline, kOpenBlas}));
  EXPECT_EQ(*ChoosePaths(Isa::kBaseline, "", "onednn"), (Paths{Isa::kBaseline, kOneDnn}));
}

TEST(PathsTest, RefusesWhatIsNoNameAndWhatTheProcessorLacks) {
  for (const char* isa : {"avx512", "sse2", "AVX2", "1"}) {
    const absl::Status status = ChoosePaths(Isa::kAvx2, isa, "").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << isa;
    EXPECT_THAT(std::string(status.message()), StartsWith(std::string("BIRKHOFF_CPU_ISA=") + isa));
  }
  EXPECT_EQ(ChoosePaths(Isa::kAvx2, "", "mkl").status().message(),
            "BIRKHOFF_CPU_PRODUCTS=mkl: need onednn or openblas");
}

TEST(PathsTest, AreSaidInWordsWithTheLibrariesVersions) {
  EXPECT_THAT(Describe({Isa::kAvx512, kOneDnn}),
              testing::MatchesRegex("avx512 loops; products: oneDNN [0-9.]+ \\(float\\), "
                                    "OpenBLAS [0-9.]+ [A-Za-z0-9]+ \\(double\\)"));
  EXPECT_THAT(Describe({Isa::kBaseline, kOpenBlas}),
              StartsWith("baseline loops; products: OpenBLAS"));
}

}  // namespace
}  // namespace birkhoff::cpu
