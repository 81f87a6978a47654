#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

struct Parameter {
  std::vector<float> weight, gradient, first, second;

  AdamWArgs args() {
    return {.count = int64_t(weight.size()),
            .weight = weight.data(),
            .gradient = gradient.data(),
            .first_moment = first.data(),
            .second_moment = second.data()};
  }
};

TEST(AdamW, OfAHandComputedStep) {
  // The first step moves by lr times the sign of the gradient, whatever its size, after the decay.
  Parameter p = {{2.0f, -1.0f}, {0.5f, -1e-12f}, {0, 0}, {0, 0}};
  AdamWArgs args = p.args();
  args.lr = 0.125, args.weight_decay = 0.5, args.beta1 = 0.75, args.beta2 = 0.5;
  ASSERT_OK(cpu::AdamW(args));
  EXPECT_NEAR(p.weight[0], 2.0 - 0.125 * (0.5 * 2.0 + 1.0), 1e-6);
  EXPECT_NEAR(p.weight[1], -1.0 - 0.125 * (-0.5 - 1.0 / (1.0 + 1e-3)), 1e-6);  // eps / |g| = 1e-3
  EXPECT_EQ(p.first[0], 0.125f);
  EXPECT_EQ(p.second[0], 0.125f);
}

TEST(AdamW, FollowsTheAlgorithmInDouble) {
  constexpr int64_t kCount = 37;
  Parameter p = {
      Normal<float>(kCount, 1), {}, std::vector<float>(kCount), std::vector<float>(kCount)};
  std::vector<double> weight(p.weight.begin(), p.weight.end()), m(kCount), v(kCount);
  for (int64_t step = 1; step <= 50; ++step) {
    p.gradient = Normal<float>(kCount, uint64_t(100 + step), 0.01);
    AdamWArgs args = p.args();
    args.lr = 1e-3, args.weight_decay = 0.1, args.step = step, args.clip_scale = 0.5;
    ASSERT_OK(cpu::AdamW(args));
    for (size_t i = 0; i < kCount; ++i) {
      const double g = 0.5 * double(p.gradient[i]);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      const double update =
          m[i] / (1 - std::pow(0.9, step)) / (std::sqrt(v[i] / (1 - std::pow(0.95, step))) + 1e-15);
      weight[i] -= 1e-3 * (0.1 * weight[i] + update);
    }
  }
  EXPECT_LE(RelativeError(p.weight, weight), 1e-6);
}

TEST(AdamW, SkipLeavesEverything) {
  Parameter p = {{1}, {std::nanf("")}, {2}, {3}};
  AdamWArgs args = p.args();
  args.lr = 1.0, args.skip = true;
  ASSERT_OK(cpu::AdamW(args));
  EXPECT_EQ(p.weight[0] + p.first[0] + p.second[0], 6.0f);
}

TEST(AdamW, AZeroGradientFromTheStartMovesNothing) {
  Parameter p = {{1}, {0}, {0}, {0}};
  AdamWArgs args = p.args();
  args.lr = 1.0;
  ASSERT_OK(cpu::AdamW(args));
  EXPECT_EQ(p.weight[0], 1.0f);
}

TEST(AdamW, RefusesWrongArguments) {
  const auto refused = [](void (*change)(AdamWArgs&)) {
    Parameter p = {{1}, {1}, {0}, {0}};
    AdamWArgs args = p.args();
    change(args);
    return cpu::AdamW(args);
  };
  ExpectRefused(refused([](AdamWArgs& a) { a.count = -1; }), "adamw: count=-1; need count >= 0");
  ExpectRefused(refused([](AdamWArgs& a) { a.step = 0; }), "adamw: step=0; need step >= 1");
  ExpectRefused(refused([](AdamWArgs& a) { a.lr = -1; }), "adamw: lr=-1; need lr >= 0");
  ExpectRefused(refused([](AdamWArgs& a) { a.beta1 = 1; }), "adamw: beta1=1; need 0 <= beta1 < 1");
  ExpectRefused(refused([](AdamWArgs& a) { a.beta2 = -0.5; }),
                "adamw: beta2=-0.5; need 0 <= beta2 < 1");
  ExpectRefused(refused([](AdamWArgs& a) { a.eps = 0; }), "adamw: eps=0; need eps > 0");
  ExpectRefused(refused([](AdamWArgs& a) { a.weight_decay = -1; }),
                "adamw: weight_decay=-1; need weight_decay >= 0");
  ExpectRefused(refused([](AdamWArgs& a) { a.gradient = nullptr; }),
                "adamw: gradient is null; need a buffer");
}

TEST(GradientNorm, SumsSquaresInDoubleAndCountsWhatIsNotFinite) {
  const std::vector<float> gradient = {3, -4, std::nanf(""), 0, INFINITY, 12, -INFINITY};
  GradientNorm norm;
  ASSERT_OK(cpu::AccumulateNorm(gradient.data(), 7, norm));
  EXPECT_EQ(norm.squared, 169.0);
  EXPECT_EQ(norm.non_finite, 3);
  ASSERT_OK(cpu::AccumulateNorm(gradient.data(), 2, norm));
  EXPECT_EQ(norm.squared, 194.0);
  ASSERT_OK(cpu::AccumulateNorm(nullptr, 0, norm));
  EXPECT_EQ(norm.non_finite, 3);
}

TEST(GradientNorm, DoesNotOverflowOrUnderflow) {
  const std::vector<float> large(5, 1e30f), small(5, 1e-30f);
  GradientNorm norm;
  ASSERT_OK(cpu::AccumulateNorm(large.data(), 5, norm));
  EXPECT_NEAR(norm.squared / 5e60, 1.0, 1e-6);
  norm = {};
  ASSERT_OK(cpu::AccumulateNorm(small.data(), 5, norm));
  EXPECT_NEAR(norm.squared / 5e-60, 1.0, 1e-6);
}

TEST(GradientNorm, RefusesANegativeCount) {
  GradientNorm norm;
  ExpectRefused(cpu::AccumulateNorm(nullptr, -1, norm), "norm: count=-1; need count >= 0");
  ExpectRefused(cpu::AccumulateNorm(nullptr, 1, norm), "norm: gradient is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
