// The measures of mixing on matrices and streams worked out by hand, and the sample of tokens.
#include "kernels/mixing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// Two streams of two channels; one token unless a test says otherwise.
struct Problem {
  BoundaryShape shape = {
      .mapping = MappingKind::kSinkhorn, .streams = 2, .tokens = 1, .channels = 2};
  std::vector<double> coefficients = {0.5, 0.5, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0};
  std::vector<double> logits = std::vector<double>(9, 0.0);
  std::vector<double> alpha = {1.0, 1.0, 1.0}, bias = std::vector<double>(8, 0.0);
  std::vector<double> prefix = {1.0, 0.0, 0.0, 1.0}, x = {1.0, 0.0, 0.0, 1.0};
  CoefficientMeasures opened;
  StreamMeasures merged;

  absl::Status Measure() {
    return cpu::AccumulateMixing<double>({.shape = shape,
                                          .coefficients = coefficients.data(),
                                          .logits = logits.data(),
                                          .alpha = alpha.data(),
                                          .bias = bias.data(),
                                          .prefix = prefix.data(),
                                          .x = x.data(),
                                          .opened = &opened,
                                          .merged = &merged});
  }
};

TEST(Mixing, OfTheIdentityAndOrthogonalStreams) {
  Problem p;
  ASSERT_OK(p.Measure());
  EXPECT_EQ(p.opened.tokens, 1.0);
  EXPECT_DOUBLE_EQ(p.opened.saturation, 0.5);  // equal logits
  EXPECT_EQ(p.opened.off_diagonal, 0.0);
  EXPECT_EQ(p.opened.column_residual, 0.0);
  EXPECT_EQ(p.opened.read, 0.0);
  EXPECT_EQ(p.opened.write, 0.0);
  EXPECT_EQ(p.merged.tokens, 1.0);
  EXPECT_EQ(p.merged.from_identity, 0.0);
  EXPECT_DOUBLE_EQ(p.merged.from_uniform, 1.0);
  EXPECT_EQ(p.merged.similarity, 0.0);
}

TEST(Mixing, OfAHandComputedMatrix) {
  Problem p;
  // H_res = [[0.75, 0.25], [0.5, 0.5]]: columns sum to 1.25 and 0.75.
  p.coefficients = {0.995, 0.5, 0.01, 1.995, 0.75, 0.25, 0.5, 0.5};
  // Arguments of its rows: alpha s + bias = (ln 3, 0) and (0, ln 9).
  p.alpha[2] = 2.0;
  p.logits[4] = std::log(3.0) / 2.0;
  p.bias[7] = std::log(9.0);
  p.prefix = {0.5, 0.5, 0.5, 0.5};
  p.x = {3.0, 4.0, 4.0, 3.0};  // 24 / 25
  ASSERT_OK(p.Measure());
  EXPECT_DOUBLE_EQ(p.opened.saturation, (0.75 + 0.9) / 2.0);
  EXPECT_DOUBLE_EQ(p.opened.off_diagonal, (0.25 + 0.5) / 2.0);
  EXPECT_DOUBLE_EQ(p.opened.column_residual, 0.25);
  EXPECT_DOUBLE_EQ(p.opened.read, 0.5);   // 0.995 of [0, 1]
  EXPECT_DOUBLE_EQ(p.opened.write, 1.0);  // 0.01 and 1.995 of [0, 2]
  EXPECT_DOUBLE_EQ(p.merged.from_identity, 1.0);
  EXPECT_EQ(p.merged.from_uniform, 0.0);
  EXPECT_DOUBLE_EQ(p.merged.similarity, 0.96);
}

TEST(Mixing, SaysWhenTheStreamsHaveCollapsed) {
  Problem p;
  p.x = {0.3, -0.7, 0.6, -1.4};  // one is twice the other
  ASSERT_OK(p.Measure());
  EXPECT_NEAR(p.merged.similarity, 1.0, 1e-15);
  p.x = {0.0, 0.0, 0.6, -1.4};  // a stream of zeros is like no other
  ASSERT_OK(p.Measure());
  EXPECT_NEAR(p.merged.similarity, 1.0 + 0.0, 1e-15);  // added to
  EXPECT_EQ(p.merged.tokens, 2.0);
}

TEST(Mixing, MeasuresWhatAMappingHas) {
  Problem hc;
  hc.shape.kind = BoundaryKind::kHc;
  ASSERT_OK(hc.Measure());
  EXPECT_TRUE(std::isnan(hc.opened.saturation));
  EXPECT_TRUE(std::isnan(hc.opened.read));
  EXPECT_EQ(hc.opened.off_diagonal, 0.0);
  Problem permutations;
  permutations.shape.mapping = MappingKind::kPermutations;
  permutations.bias = {0.0, 0.0, 0.0, 0.0, std::log(3.0), 0.0};
  ASSERT_OK(permutations.Measure());
  EXPECT_DOUBLE_EQ(permutations.opened.saturation, 0.75);
  Problem gated;
  gated.shape.mapping = MappingKind::kGatedResidual;
  ASSERT_OK(gated.Measure());
  EXPECT_TRUE(std::isnan(gated.opened.saturation));
  EXPECT_EQ(gated.opened.read, 0.0);
  EXPECT_TRUE(std::isnan(gated.opened.write));
  Problem fixed;  // biases alone: no alpha, and one number of a token is saved
  fixed.shape.mapping = MappingKind::kStatic;
  fixed.alpha.clear();
  fixed.bias[4] = std::log(3.0);
  ASSERT_OK(cpu::AccumulateMixing<double>({.shape = fixed.shape,
                                           .coefficients = fixed.coefficients.data(),
                                           .logits = fixed.logits.data(),
                                           .bias = fixed.bias.data(),
                                           .opened = &fixed.opened}));
  EXPECT_DOUBLE_EQ(fixed.opened.saturation, (0.75 + 0.5) / 2.0);
}

TEST(Mixing, LooksAtEvenlySpacedTokens) {
  EXPECT_EQ(NumMixingTokens(3), 3);
  EXPECT_EQ(NumMixingTokens(1000), kMixingTokens);
  EXPECT_EQ(MixingToken(0, 1000), 0);
  EXPECT_EQ(MixingToken(1, 1000), 125);
  EXPECT_EQ(MixingToken(7, 1000), 875);
  Problem p;
  p.shape.tokens = 16;  // every other one
  p.prefix.clear();
  p.x.clear();
  for (int t = 0; t < 16; ++t) {
    const bool looked_at = t % 2 == 0;
    for (const double entry : {1.0, 0.0, 0.0, 1.0}) p.prefix.push_back(looked_at ? entry : 1e9);
    for (const double entry : {1.0, 1.0, 1.0, 1.0}) p.x.push_back(looked_at ? entry : -1e9);
  }
  ASSERT_OK(cpu::AccumulateMixing<double>(
      {.shape = p.shape, .prefix = p.prefix.data(), .x = p.x.data(), .merged = &p.merged}));
  EXPECT_EQ(p.merged.tokens, 8.0);
  EXPECT_EQ(p.merged.from_identity, 0.0);
  EXPECT_NEAR(p.merged.similarity, 8.0, 1e-14);
}

TEST(Mixing, KeepsWhatIsNotANumber) {
  Problem p;
  p.coefficients[5] = std::nan("");
  p.prefix[0] = std::nan("");
  ASSERT_OK(p.Measure());
  EXPECT_TRUE(std::isnan(p.opened.off_diagonal));
  EXPECT_TRUE(std::isnan(p.opened.column_residual));
  EXPECT_TRUE(std::isnan(p.merged.from_identity));
}

TEST(Mixing, RefusesWhatItCannotMeasure) {
  Problem p;
  p.shape.streams = 1;
  ExpectRefused(p.Measure(), "mixing: streams=1; need 2 to 8 that are mixed");
  p.shape.streams = 2;
  ExpectRefused(cpu::AccumulateMixing<double>(
                    {.shape = p.shape, .prefix = p.prefix.data(), .merged = &p.merged}),
                "mixing: x is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
