// Gains of matrices with known sums, of a product of sixty, and of NaN.
#include "kernels/gain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/boundary.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

TEST(Gain, TakesTheAbsoluteValueAfterTheSum) {
  // Rows sum to -5 and 2 (the sum of absolute values would be 7 and 4), columns to 4 and -7.
  const std::vector<double> matrix = {1, -6, 3, -1};
  GainSums sums;
  std::vector<double> total(4, 10.0);
  ASSERT_OK(cpu::AccumulateGain<double>({2, 1, matrix.data(), 4, &sums, total.data()}));
  EXPECT_EQ(sums.forward, 5.0);
  EXPECT_EQ(sums.backward, 7.0);
  EXPECT_EQ(sums.row_sum_min, -5.0);
  EXPECT_EQ(sums.column_sum_min, -7.0);
  EXPECT_EQ(total, (std::vector<double>{11, 4, 13, 9}));
}

TEST(Gain, AddsOverTokensAndCallsAndSkipsWhatLiesBetween) {
  // Two tokens, five numbers apart, the matrix in the last four.
  const std::vector<float> rows = {99, 1, 0, 0, 1, 99, 2, 0, 0, 3};
  GainSums sums;
  ASSERT_OK(cpu::AccumulateGain<float>({2, 2, rows.data() + 1, 5, &sums}));
  EXPECT_EQ(sums.forward, 4.0);
  ASSERT_OK(cpu::AccumulateGain<float>({2, 1, rows.data() + 1, 5, &sums}));
  EXPECT_EQ(sums.forward, 5.0);
  EXPECT_EQ(sums.backward, 5.0);
  EXPECT_EQ(sums.row_sum_min, 1.0);
}

// Sixty merges: the prefix product that a boundary carries, measured at its end.
double GainOfSixty(double norm) {
  constexpr int kStreams = 4, kTokens = 3;
  const BoundaryShape shape = {
      .kind = BoundaryKind::kHc, .streams = kStreams, .tokens = kTokens, .channels = 1};
  std::vector<double> x(kTokens * kStreams), y(kTokens), prefix(kTokens * 16);
  for (size_t k = 0; k < prefix.size(); ++k) prefix[k] = k % 16 % 5 == 0 ? 1.0 : 0.0;
  Rng rng(1);
  for (int layer = 0; layer < 60; ++layer) {
    std::vector<double> coefficients(kTokens * 24, 0.0);  // H_res: a random permutation x norm
    for (int token = 0; token < kTokens; ++token) {
      std::vector<size_t> order = {0, 1, 2, 3};
      for (size_t i = 3; i > 0; --i) std::swap(order[i], order[rng.Below(i + 1)]);
      for (size_t i = 0; i < 4; ++i) {
        coefficients[size_t(token) * 24 + 8 + i * 4 + order[i]] = norm;
      }
    }
    BoundaryForwardArgs<double> args;
    args.shape = shape, args.sink = BoundarySink::kNone, args.x = x.data();
    args.source = {.kind = BoundarySource::kMerge,
                   .x = x.data(),
                   .y = y.data(),
                   .coefficients = coefficients.data()};
    args.prefix_below = args.prefix = prefix.data();
    EXPECT_TRUE(cpu::BoundaryForward(args).ok());
  }
  GainSums sums;
  EXPECT_TRUE(cpu::AccumulateGain<double>({kStreams, kTokens, prefix.data(), 16, &sums}).ok());
  EXPECT_EQ(sums.forward, sums.backward);
  return sums.forward / kTokens;
}

TEST(Gain, OfSixtyMatricesOfNorm105Is18Point7) {
  EXPECT_NEAR(GainOfSixty(1.05), std::pow(1.05, 60), 1e-12);
  EXPECT_NEAR(GainOfSixty(1.05), 18.7, 0.03);
  Worst("gain of 60 matrices of norm 1.05", GainOfSixty(1.05));
  EXPECT_EQ(GainOfSixty(1.0), 1.0);
}

TEST(Gain, OfANanIsANan) {
  const std::vector<float> matrix = {1, 0, std::nanf(""), 1};
  GainSums sums;
  ASSERT_OK(cpu::AccumulateGain<float>({2, 1, matrix.data(), 4, &sums}));
  EXPECT_TRUE(std::isnan(sums.forward));
  EXPECT_TRUE(std::isnan(sums.backward));
  EXPECT_EQ(sums.row_sum_min, 1.0);
}

TEST(Gain, OfNoTokensAddsNothing) {
  GainSums sums;
  ASSERT_OK(cpu::AccumulateGain<float>({4, 0, nullptr, 16, &sums}));
  EXPECT_EQ(sums.forward, 0.0);
  EXPECT_EQ(sums.row_sum_min, std::numeric_limits<double>::infinity());
}

TEST(Gain, RefusesWrongArguments) {
  GainSums sums;
  ExpectRefused(cpu::AccumulateGain<float>({9, 1, nullptr, 81, &sums}),
                "gain: streams=9; need 1 to 8");
  ExpectRefused(cpu::AccumulateGain<float>({4, -1, nullptr, 16, &sums}),
                "gain: tokens=-1; need tokens >= 0");
  ExpectRefused(cpu::AccumulateGain<float>({4, 1, nullptr, 15, &sums}),
                "gain: stride=15; need at least 16");
  ExpectRefused(cpu::AccumulateGain<float>({4, 1, nullptr, 16, &sums}),
                "gain: matrices is null; need a buffer");
  const std::vector<float> matrix(16);
  ExpectRefused(cpu::AccumulateGain<float>({4, 1, matrix.data(), 16}),
                "gain: sums is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
