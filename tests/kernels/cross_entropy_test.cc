#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

template <typename T>
CrossEntropySums LossOf(const std::vector<T>& logits, const std::vector<int32_t>& targets) {
  CrossEntropySums sums;
  const int64_t tokens = int64_t(targets.size());
  const absl::Status status = cpu::CrossEntropyForward<T>(
      {tokens, int64_t(logits.size()) / tokens, logits.data(), targets.data()}, sums);
  EXPECT_TRUE(status.ok()) << status;
  return sums;
}

template <typename T>
std::vector<T> GradientOf(const std::vector<T>& logits, const std::vector<int32_t>& targets,
                          double scale) {
  std::vector<T> dlogits(logits.size(), T(-7));
  const int64_t tokens = int64_t(targets.size());
  EXPECT_TRUE(cpu::CrossEntropyBackward<T>({.tokens = tokens,
                                            .vocabulary = int64_t(logits.size()) / tokens,
                                            .logits = logits.data(),
                                            .targets = targets.data(),
                                            .scale = scale,
                                            .dlogits = dlogits.data()})
                  .ok());
  return dlogits;
}

TEST(CrossEntropy, OfAHandComputedToken) {
  // Weights 1, 2, 5: the target's probability is 2 / 8.
  const std::vector<double> logits = {0.0, std::log(2.0), std::log(5.0)};
  const CrossEntropySums sums = LossOf(logits, {1});
  EXPECT_NEAR(sums.loss, std::log(4.0), 1e-15);
  EXPECT_EQ(sums.targets, 1);
  EXPECT_LE(RelativeError(GradientOf(logits, {1}, 8.0), std::vector<double>{1, -6, 5}), 1e-15);
}

TEST(CrossEntropy, SkipsTokensWithoutATarget) {
  const std::vector<float> logits = {0, 0, 7, -3, 0, 0};
  const CrossEntropySums sums = LossOf(logits, {0, -100, 1});
  EXPECT_NEAR(sums.loss, 2.0 * std::log(2.0), 1e-6);
  EXPECT_EQ(sums.targets, 2);
  EXPECT_EQ(GradientOf(logits, {0, -100, 1}, 1.0),
            (std::vector<float>{-0.5f, 0.5f, 0, 0, 0.5f, -0.5f}));
}

TEST(CrossEntropy, GradientAgreesWithCentralDifferences) {
  for (const double scale : {1.0, 4.0}) {
    std::vector<double> logits = Normal(4 * 9, 1, scale);
    const std::vector<int32_t> targets = {8, -1, 0, 3};
    const std::vector<double> gradient = GradientOf(logits, targets, 0.25);
    ExpectGradient("logits", logits, gradient, [&] { return 0.25 * LossOf(logits, targets).loss; });
  }
}

TEST(CrossEntropy, GradientMayBeInPlace) {
  std::vector<float> logits = Normal<float>(5 * 31, 2);
  const std::vector<int32_t> targets = {0, 30, 5, -1, 7};
  const std::vector<float> apart = GradientOf(logits, targets, 0.5);
  ASSERT_OK(cpu::CrossEntropyBackward<float>({.tokens = 5,
                                              .vocabulary = 31,
                                              .logits = logits.data(),
                                              .targets = targets.data(),
                                              .scale = 0.5,
                                              .dlogits = logits.data()}));
  EXPECT_EQ(logits, apart);
}

TEST(CrossEntropy, LargeLogitsAreStable) {
  EXPECT_NEAR(LossOf<float>({1000, -1000, 999}, {2}).loss, 1.0 + std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(LossOf<float>({1000, -1000, 999}, {1}).loss, 2000.3133, 1e-3);
  EXPECT_EQ(LossOf<float>({-1e30f}, {0}).loss, 0.0);
}

TEST(CrossEntropy, NonFiniteLogitsReachTheLoss) {
  const float nan = std::nanf("");
  for (const std::vector<float>& logits : {std::vector<float>{nan, 1, 2}, {1, 2, nan}}) {
    EXPECT_FALSE(std::isfinite(LossOf(logits, {1}).loss));
    for (const float value : GradientOf(logits, {1}, 1.0)) EXPECT_FALSE(std::isfinite(value));
  }
  EXPECT_FALSE(std::isfinite(LossOf<float>({1, INFINITY, 2}, {0}).loss));
}

TEST(CrossEntropy, FloatFollowsDoubleOverALargeVocabulary) {
  const std::vector<float> logits = Normal<float>(3 * 5003, 3, 3.0);
  const std::vector<double> wide(logits.begin(), logits.end());
  const std::vector<int32_t> targets = {0, 17, 5002};
  EXPECT_NEAR(LossOf(logits, targets).loss / LossOf(wide, targets).loss, 1.0, 1e-6);
  EXPECT_LE(RelativeError(GradientOf(logits, targets, 1.0), GradientOf(wide, targets, 1.0)), 1e-6);
}

TEST(CrossEntropy, OfNoTokensAddsNothing) {
  CrossEntropySums sums;
  ASSERT_OK(cpu::CrossEntropyForward<float>({.tokens = 0, .vocabulary = 3}, sums));
  ASSERT_OK(cpu::CrossEntropyBackward<float>({.tokens = 0, .vocabulary = 3}));
  EXPECT_EQ(sums.targets, 0);
}

TEST(CrossEntropy, RefusesWrongArguments) {
  CrossEntropySums sums;
  const float logits[6] = {};
  const int32_t targets[2] = {2, 3};
  ExpectRefused(cpu::CrossEntropyForward<float>({2, 3, logits, targets}, sums),
                "cross entropy forward: targets[1]=3; need target < 3");
  EXPECT_EQ(sums.targets, 0);
  ExpectRefused(cpu::CrossEntropyForward<float>({1, 0, logits, targets}, sums),
                "cross entropy forward: vocabulary=0; need vocabulary > 0");
  ExpectRefused(cpu::CrossEntropyForward<float>({-1, 3, logits, targets}, sums),
                "cross entropy forward: tokens=-1; need tokens >= 0");
  ExpectRefused(cpu::CrossEntropyBackward<float>(
                    {.tokens = 1, .vocabulary = 3, .logits = logits, .targets = targets}),
                "cross entropy backward: dlogits is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
