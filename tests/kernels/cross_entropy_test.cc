// Cross entropy on the CPU: a token worked out by hand, central differences, and logits that are
// huge, infinite or NaN.
#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

template <typename T>
CrossEntropyArgs<T> Args(const std::vector<T>& logits, const std::vector<int32_t>& targets,
                         CrossEntropySums& sums) {
  const int64_t tokens = int64_t(targets.size());
  return {.tokens = tokens,
          .vocabulary = int64_t(logits.size()) / tokens,
          .logits = logits.data(),
          .targets = targets.data(),
          .sums = &sums};
}

template <typename T>
CrossEntropySums LossOf(const std::vector<T>& logits, const std::vector<int32_t>& targets) {
  CrossEntropySums sums;
  const absl::Status status = cpu::CrossEntropy(Args(logits, targets, sums));
  EXPECT_TRUE(status.ok()) << status;
  return sums;
}

template <typename T>
std::vector<T> GradientOf(const std::vector<T>& logits, const std::vector<int32_t>& targets,
                          double scale) {
  std::vector<T> dlogits(logits.size(), T(-7));
  CrossEntropySums sums;
  CrossEntropyArgs<T> args = Args(logits, targets, sums);
  args.scale = scale, args.dlogits = dlogits.data();
  EXPECT_TRUE(cpu::CrossEntropy(args).ok());
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
  CrossEntropySums sums;
  CrossEntropyArgs<float> args = Args(logits, targets, sums);
  args.scale = 0.5, args.dlogits = logits.data();
  ASSERT_OK(cpu::CrossEntropy(args));
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

TEST(CrossEntropy, AddsTheLossAndFormsTheGradientInOneCall) {
  const std::vector<float> logits = Normal<float>(3 * 7, 4);
  const std::vector<int32_t> targets = {6, -1, 2};
  const CrossEntropySums alone = LossOf(logits, targets);
  std::vector<float> dlogits(logits.size());
  CrossEntropySums sums = {.loss = 64.0, .targets = 5.0};
  CrossEntropyArgs<float> args = Args(logits, targets, sums);
  args.scale = 0.25, args.dlogits = dlogits.data();
  ASSERT_OK(cpu::CrossEntropy(args));
  EXPECT_EQ(sums.loss, 64.0 + alone.loss);
  EXPECT_EQ(sums.targets, 7.0);
  EXPECT_EQ(dlogits, GradientOf(logits, targets, 0.25));
}

TEST(CrossEntropy, OfNoTokensAddsNothing) {
  CrossEntropySums sums;
  ASSERT_OK(cpu::CrossEntropy<float>({.tokens = 0, .vocabulary = 3, .sums = &sums}));
  ASSERT_OK(cpu::CrossEntropy<float>({.tokens = 0, .vocabulary = 3}));
  EXPECT_EQ(sums.targets, 0);
}

TEST(CrossEntropy, RefusesWrongArguments) {
  const std::vector<float> logits(6);
  const std::vector<int32_t> targets = {2, 3};
  const auto refused = [&](void (*change)(CrossEntropyArgs<float>&)) {
    CrossEntropySums sums;
    std::vector<float> dlogits(6, -7.0f);
    CrossEntropyArgs<float> args = Args(logits, targets, sums);
    args.dlogits = dlogits.data();
    change(args);
    const absl::Status status = cpu::CrossEntropy(args);
    EXPECT_EQ(sums.targets, 0);  // nothing was written
    EXPECT_EQ(dlogits, std::vector<float>(6, -7.0f));
    return status;
  };
  using Change = CrossEntropyArgs<float>;
  ExpectRefused(refused([](Change&) {}), "cross entropy: targets[1]=3; need target < 3");
  ExpectRefused(refused([](Change& a) { a.vocabulary = 0; }),
                "cross entropy: vocabulary=0; need vocabulary > 0");
  ExpectRefused(refused([](Change& a) { a.tokens = -1; }),
                "cross entropy: tokens=-1; need tokens >= 0");
  ExpectRefused(refused([](Change& a) { a.logits = nullptr; }),
                "cross entropy: logits is null; need a buffer");
  ExpectRefused(refused([](Change& a) { a.targets = nullptr; }),
                "cross entropy: targets is null; need a buffer");
  ExpectRefused(refused([](Change& a) { a.sums = nullptr; }),
                "cross entropy: sums is null; need a buffer");
}

TEST(CrossEntropy, IsCheckedWithoutReadingData) {
  void* const garbage = reinterpret_cast<void*>(uintptr_t{64});
  ASSERT_OK(Validate(CrossEntropyArgs<float>{.tokens = 2,
                                             .vocabulary = 3,
                                             .logits = static_cast<float*>(garbage),
                                             .targets = static_cast<int32_t*>(garbage),
                                             .sums = static_cast<CrossEntropySums*>(garbage),
                                             .dlogits = static_cast<float*>(garbage)}));
}

}  // namespace
}  // namespace birkhoff
