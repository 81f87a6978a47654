// bf16 over all of its 65536 patterns, its rounding against the definition, and the scalars of all
// types.
#include "kernels/types.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace birkhoff {
namespace {

float FloatOf(uint32_t word) { return std::bit_cast<float>(word); }

TEST(Bf16, EveryPatternComesBackFromFloat) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bf16 value = {static_cast<uint16_t>(bits)};
    const float wide = ToFloat(value);
    // A signalling NaN may come back as the quiet one of the same sign and payload.
    const uint32_t want = std::isnan(wide) ? bits | 0x40u : bits;
    ASSERT_EQ(ToBf16(wide).bits, want) << bits;
  }
}

TEST(Bf16, RoundsToNearest) {
  EXPECT_EQ(ToBf16(FloatOf(0x3f807fff)).bits, 0x3f80);
  EXPECT_EQ(ToBf16(FloatOf(0x3f808001)).bits, 0x3f81);
  EXPECT_EQ(ToBf16(FloatOf(0xbf807fff)).bits, 0xbf80);
  EXPECT_EQ(ToBf16(FloatOf(0xbf808001)).bits, 0xbf81);
}

TEST(Bf16, RoundsTiesToEven) {
  EXPECT_EQ(ToBf16(FloatOf(0x3f808000)).bits, 0x3f80);
  EXPECT_EQ(ToBf16(FloatOf(0x3f818000)).bits, 0x3f82);
  EXPECT_EQ(ToBf16(FloatOf(0x3fff8000)).bits, 0x4000);  // into the next power of two
  EXPECT_EQ(ToBf16(FloatOf(0x00008000)).bits, 0x0000);  // and among the subnormal numbers
  EXPECT_EQ(ToBf16(FloatOf(0x00018000)).bits, 0x0002);
}

// Against the definition: no neighbour is nearer.
TEST(Bf16, IsTheNearestOfAllPatterns) {
  for (uint32_t i = 0; i < 200000; ++i) {
    const float value = FloatOf((i * 2654435761u) & 0xff7fffffu);  // spread over all, finite
    const bf16 rounded = ToBf16(value);
    if (!std::isfinite(value) || !std::isfinite(ToFloat(rounded))) continue;
    const double error = std::abs(double(ToFloat(rounded)) - double(value));
    for (const int step : {-1, 1}) {
      const float neighbour = ToFloat({static_cast<uint16_t>(rounded.bits + step)});
      if (!std::isfinite(neighbour)) continue;
      ASSERT_LE(error, std::abs(double(neighbour) - double(value))) << value;
    }
  }
}

TEST(Bf16, KeepsInfinitiesAndOverflowsToThem) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ToBf16(infinity).bits, 0x7f80);
  EXPECT_EQ(ToBf16(-infinity).bits, 0xff80);
  EXPECT_EQ(ToBf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(ToBf16(FloatOf(0x7f7f7fff)).bits, 0x7f7f);
}

TEST(Bf16, KeepsNansAlsoThoseOfLowBits) {
  for (const uint32_t word : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(ToFloat(ToBf16(FloatOf(word))))) << word;
    EXPECT_EQ(std::signbit(ToFloat(ToBf16(FloatOf(word)))), (word >> 31) != 0) << word;
  }
}

TEST(Bf16, KeepsTheSignOfZero) {
  EXPECT_EQ(ToBf16(0.0f).bits, 0x0000);
  EXPECT_EQ(ToBf16(-0.0f).bits, 0x8000);
}

TEST(Scalars, OfEachType) {
  static_assert(std::is_same_v<ScalarOf<float>, float>);
  static_assert(std::is_same_v<ScalarOf<double>, double>);
  static_assert(std::is_same_v<ScalarOf<bf16>, float>);
  static_assert(sizeof(bf16) == 2);
  EXPECT_EQ(SizeOf(kDTypeOf<bf16>), 2);
  EXPECT_EQ(SizeOf(kDTypeOf<double>), 8);
  EXPECT_EQ(SizeOf(kDTypeOf<float>), int64_t{sizeof(float)});
  EXPECT_EQ(SizeOf(kDTypeOf<int32_t>), 4);
}

}  // namespace
}  // namespace birkhoff
