// The end of a step on the CPU: updates worked out by hand and beside the algorithm in double, the
// norm, and the decision that all ranks take alike.
#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/paths.h"
#include "kernels/cpu/team.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// ---- AdamW --------------------------------------------------------------------------------------

struct Parameter {
  std::vector<float> weight, gradient, first, second;
  double weight_decay = 0.0;
  int32_t counted = 1;
  std::vector<float> copy = {};
  int32_t cleared = 1;
};

// Parameters side by side, as a rank has them.
class Spans {
 public:
  explicit Spans(std::vector<Parameter*> parameters) {
    for (Parameter* p : parameters) {
      spans_.push_back({.weight = p->weight.data(),
                        .copy = p->copy.empty() ? nullptr : p->copy.data(),
                        .gradient = p->gradient.data(),
                        .first_moment = p->first.data(),
                        .second_moment = p->second.data(),
                        .count = int64_t(p->gradient.size()),
                        .begin = count_,
                        .weight_decay = p->weight_decay,
                        .counted = p->counted,
                        .cleared = p->cleared});
      count_ += spans_.back().count;
    }
  }
  ParameterSpans<float> view() const { return {spans_.data(), int(spans_.size()), count_}; }

 private:
  std::vector<ParameterSpan<float>> spans_;
  int64_t count_ = 0;
};

TEST(AdamW, OfAHandComputedStep) {
  // The first step moves by lr times the sign of the gradient, whatever its size, after the decay.
  Parameter p = {{2.0f, -1.0f}, {0.5f, -1e-12f}, {0, 0}, {0, 0}, 0.5};
  const Spans spans({&p});
  const StepScalars step = {.lr = 0.125, .update = 1};
  ASSERT_OK(
      cpu::AdamW<float>({.parameters = spans.view(), .beta1 = 0.75, .beta2 = 0.5, .step = &step}));
  EXPECT_NEAR(p.weight[0], 2.0 - 0.125 * (0.5 * 2.0 + 1.0), 1e-6);
  EXPECT_NEAR(p.weight[1], -1.0 - 0.125 * (-0.5 - 1.0 / (1.0 + 1e-3)), 1e-6);  // eps / |g| = 1e-3
  EXPECT_EQ(p.first[0], 0.125f);
  EXPECT_EQ(p.second[0], 0.125f);
}

TEST(AdamW, FollowsTheAlgorithmInDouble) {
  constexpr int64_t kCount = 37;
  Parameter p = {Normal<float>(kCount, 1), std::vector<float>(kCount), std::vector<float>(kCount),
                 std::vector<float>(kCount), 0.1};
  const Spans spans({&p});
  std::vector<double> weight(p.weight.begin(), p.weight.end()), m(kCount), v(kCount);
  for (int64_t update = 1; update <= 50; ++update) {
    const std::vector<float> gradient = Normal<float>(kCount, uint64_t(100 + update), 0.01);
    std::copy(gradient.begin(), gradient.end(), p.gradient.begin());
    const StepScalars step = {.lr = 1e-3, .clip_scale = 0.5, .update = update};
    ASSERT_OK(cpu::AdamW<float>({.parameters = spans.view(), .step = &step}));
    for (size_t i = 0; i < kCount; ++i) {
      const double g = 0.5 * double(gradient[i]);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      const double change = m[i] / (1 - std::pow(0.9, update)) /
                            (std::sqrt(v[i] / (1 - std::pow(0.95, update))) + 1e-15);
      weight[i] -= 1e-3 * (0.1 * weight[i] + change);
    }
  }
  EXPECT_LE(RelativeError(p.weight, weight), 1e-6);
}

TEST(AdamW, OfSeveralSpansIsTheStepOfEachWithItsOwnDecay) {
  const auto parameter = [](int64_t count, uint64_t seed, double weight_decay) {
    return Parameter{Normal<float>(count, seed), Normal<float>(count, seed + 1),
                     Normal<float>(count, seed + 2), std::vector<float>(size_t(count), 0.25f),
                     weight_decay};
  };
  const StepScalars step = {.lr = 0.01, .clip_scale = 0.75, .update = 3};
  Parameter a = parameter(5, 1, 0.5), b = parameter(1, 10, 0.0), c = parameter(8, 20, 2.0);
  b.counted = 0;  // counts in the norm of another rank, and is updated all the same
  Parameter alone[] = {a, b, c};
  for (Parameter& p : alone) {
    const Spans one({&p});
    ASSERT_OK(cpu::AdamW<float>({.parameters = one.view(), .step = &step}));
  }
  const Spans together({&a, &b, &c});
  ASSERT_OK(cpu::AdamW<float>({.parameters = together.view(), .step = &step}));
  const Parameter* const parameters[] = {&a, &b, &c};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(parameters[i]->weight, alone[i].weight);
    EXPECT_EQ(parameters[i]->first, alone[i].first);
    EXPECT_EQ(parameters[i]->second, alone[i].second);
    EXPECT_EQ(LargestAbs(parameters[i]->gradient), 0.0);
  }
}

// A span that is shared out, with an odd rest, and the norm of its gradient.
struct Updated {
  std::vector<float> weight, first, second;
  double squared = 0.0, non_finite = 0.0;
  friend bool operator==(const Updated&, const Updated&) = default;
};

Updated UpdateOnce() {
  constexpr int64_t kCount = 100'003;
  Parameter p = {Normal<float>(kCount, 1), Normal<float>(kCount, 2), Normal<float>(kCount, 3),
                 std::vector<float>(kCount, 0.25f), 0.1};
  p.gradient[kCount - 1] = std::nanf("");
  const Spans spans({&p});
  GradientNorm norm;
  EXPECT_TRUE(cpu::AccumulateNorm<float>({.parameters = spans.view(), .norm = &norm}).ok());
  p.gradient[kCount - 1] = 1.0f;
  const StepScalars step = {.lr = 1e-3, .update = 2};
  EXPECT_TRUE(cpu::AdamW<float>({.parameters = spans.view(), .step = &step}).ok());
  return {p.weight, p.first, p.second, norm.squared, norm.non_finite};
}

TEST(AdamW, ThreadsAndInstructionsChangeNoBit) {
  const cpu::Paths before = cpu::ThisProcess();
  const Updated alone = UpdateOnce();
  EXPECT_EQ(alone.non_finite, 1.0);
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > BestIsa()) continue;
    cpu::SetPaths({isa, before.products});
    for (const int threads : {1, 3}) {
      cpu::Team team(threads);
      const cpu::TeamScope scope(&team);
      EXPECT_TRUE(UpdateOnce() == alone) << cpu::Describe(cpu::ThisProcess()) << " " << threads;
    }
  }
  cpu::SetPaths(before);
}

TEST(AdamW, SkipLeavesEverythingAndClearsTheGradient) {
  Parameter p = {{1}, {std::nanf("")}, {2}, {3}, 0.5};
  const Spans spans({&p});
  const StepScalars step = {.lr = 1.0, .skip = 1};
  ASSERT_OK(cpu::AdamW<float>({.parameters = spans.view(), .step = &step}));
  EXPECT_EQ(p.weight[0] + p.first[0] + p.second[0], 6.0f);
  EXPECT_EQ(p.gradient[0], 0.0f);
}

TEST(AdamW, ClearsTheGradient) {
  Parameter p = {{1, 2}, {3, -4}, {0, 0}, {0, 0}};
  const Spans spans({&p});
  const StepScalars step = {.lr = 1.0, .update = 1};
  ASSERT_OK(cpu::AdamW<float>({.parameters = spans.view(), .step = &step}));
  EXPECT_EQ(p.gradient, (std::vector<float>{0, 0}));
}

TEST(AdamW, LeavesAGradientThatIsAssignedNext) {
  for (const int64_t skip : {0, 1}) {
    Parameter p = {{1, 2}, {3, -4}, {0, 0}, {0, 0}}, cleared = p;
    p.cleared = 0;
    const Spans spans({&p, &cleared});
    const StepScalars step = {.lr = 1.0, .update = 1, .skip = skip};
    ASSERT_OK(cpu::AdamW<float>({.parameters = spans.view(), .step = &step}));
    EXPECT_EQ(p.gradient, (std::vector<float>{3, -4})) << skip;
    EXPECT_EQ(cleared.gradient, (std::vector<float>{0, 0})) << skip;
    EXPECT_EQ(p.weight, cleared.weight);
  }
}

TEST(AdamW, AZeroGradientFromTheStartMovesNothing) {
  Parameter p = {{1}, {0}, {0}, {0}};
  const Spans spans({&p});
  const StepScalars step = {.lr = 1.0, .update = 1};
  ASSERT_OK(cpu::AdamW<float>({.parameters = spans.view(), .step = &step}));
  EXPECT_EQ(p.weight[0], 1.0f);
}

TEST(AdamW, OfNoSpansIsNoWork) {
  const StepScalars step = {.update = 1};
  ASSERT_OK(cpu::AdamW<float>({.step = &step}));
}

TEST(AdamW, RefusesWrongArguments) {
  const auto refused = [](void (*change)(AdamWArgs<float>&)) {
    Parameter p = {{1}, {1}, {0}, {0}};
    const Spans spans({&p});
    const StepScalars step = {.update = 1};
    AdamWArgs<float> args = {.parameters = spans.view(), .step = &step};
    change(args);
    const absl::Status status = cpu::AdamW(args);
    EXPECT_EQ(p.gradient[0], 1.0f);  // nothing was written
    return status;
  };
  using Args = AdamWArgs<float>;
  ExpectRefused(refused([](Args& a) { a.parameters.num = -1; }),
                "adamw: spans=-1 count=1; need spans of at least one element");
  ExpectRefused(refused([](Args& a) { a.parameters.count = 0; }),
                "adamw: spans=1 count=0; need spans of at least one element");
  ExpectRefused(refused([](Args& a) { a.parameters.spans = nullptr; }),
                "adamw: spans is null; need a buffer");
  ExpectRefused(refused([](Args& a) { a.beta1 = 1; }), "adamw: beta1=1; need 0 <= beta1 < 1");
  ExpectRefused(refused([](Args& a) { a.beta2 = -0.5; }), "adamw: beta2=-0.5; need 0 <= beta2 < 1");
  ExpectRefused(refused([](Args& a) { a.eps = 0; }), "adamw: eps=0; need eps > 0");
  ExpectRefused(refused([](Args& a) { a.step = nullptr; }), "adamw: step is null; need a buffer");
}

// ---- the norm -----------------------------------------------------------------------------------

// What AccumulateNorm adds for these gradients to `norm`.
absl::Status AddNorm(std::vector<Parameter> parameters, GradientNorm& norm) {
  std::vector<Parameter*> pointers;
  for (Parameter& p : parameters) pointers.push_back(&p);
  const Spans spans(pointers);
  return cpu::AccumulateNorm<float>({.parameters = spans.view(), .norm = &norm});
}
Parameter GradientOnly(std::vector<float> gradient, int32_t counted = 1) {
  return {.weight = {},
          .gradient = std::move(gradient),
          .first = {},
          .second = {},
          .weight_decay = 0.0,
          .counted = counted};
}

TEST(GradientNorm, SumsSquaresInDoubleAndCountsWhatIsNotFinite) {
  const std::vector<float> gradient = {3, -4, std::nanf(""), 0, INFINITY, 12, -INFINITY};
  GradientNorm norm;
  ASSERT_OK(AddNorm({GradientOnly(gradient)}, norm));
  EXPECT_EQ(norm.squared, 169.0);
  EXPECT_EQ(norm.non_finite, 3);
  ASSERT_OK(AddNorm({GradientOnly({3, -4})}, norm));
  EXPECT_EQ(norm.squared, 194.0);
  ASSERT_OK(AddNorm({}, norm));
  EXPECT_EQ(norm.squared, 194.0);
  EXPECT_EQ(norm.non_finite, 3);
}

TEST(GradientNorm, AddsSpansAndLeavesOutWhatAnotherRankCounts) {
  GradientNorm norm = {.squared = 1.0, .non_finite = 0.0};
  ASSERT_OK(AddNorm(
      {GradientOnly({1, 2}), GradientOnly({100, std::nanf("")}, 0), GradientOnly({5, -INFINITY})},
      norm));
  EXPECT_EQ(norm.squared, 31.0);
  EXPECT_EQ(norm.non_finite, 1);
}

TEST(GradientNorm, DoesNotOverflowOrUnderflow) {
  GradientNorm norm;
  ASSERT_OK(AddNorm({GradientOnly(std::vector<float>(5, 1e30f))}, norm));
  EXPECT_NEAR(norm.squared / 5e60, 1.0, 1e-6);
  norm = {};
  ASSERT_OK(AddNorm({GradientOnly(std::vector<float>(5, 1e-30f))}, norm));
  EXPECT_NEAR(norm.squared / 5e-60, 1.0, 1e-6);
}

TEST(GradientNorm, RefusesWrongArguments) {
  GradientNorm norm;
  ExpectRefused(cpu::AccumulateNorm<float>({.parameters = {nullptr, 1, 0}, .norm = &norm}),
                "norm: spans=1 count=0; need spans of at least one element");
  ExpectRefused(cpu::AccumulateNorm<float>({.parameters = {nullptr, 1, 1}, .norm = &norm}),
                "norm: spans is null; need a buffer");
  ExpectRefused(cpu::AccumulateNorm<float>({}), "norm: norm is null; need a buffer");
}

TEST(GradientNorm, IsCheckedWithoutReadingSpans) {
  const auto* const garbage = reinterpret_cast<const ParameterSpan<float>*>(uintptr_t{64});
  const auto* const step = reinterpret_cast<const StepScalars*>(uintptr_t{64});
  GradientNorm norm;
  ASSERT_OK(Validate(GradientNormArgs<float>{.parameters = {garbage, 3, 9}, .norm = &norm}));
  ASSERT_OK(Validate(AdamWArgs<float>{.parameters = {garbage, 3, 9}, .step = step}));
}

// ---- the decision -------------------------------------------------------------------------------

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What follows from these shares, each {loss, targets, squared, non_finite}, after update 7.
StepScalars Decide(const std::vector<double>& shares, double clip_grad = 0.0) {
  StepScalars step = {.lr = 0.25, .clip_scale = -1.0, .update = 7, .skip = -1};
  EXPECT_TRUE(cpu::DecideStep({.shares = shares.data(),
                               .ranks = int(shares.size() / 4),
                               .length = 4,
                               .clip_grad = clip_grad,
                               .step = &step})
                  .ok());
  EXPECT_EQ(step.lr, 0.25);
  return step;
}

void ExpectStep(const StepScalars& step, double clip_scale, int64_t update, int64_t skip) {
  EXPECT_EQ(step.clip_scale, clip_scale);
  EXPECT_EQ(step.update, update);
  EXPECT_EQ(step.skip, skip);
}

TEST(DecideStep, ClipsToTheLimitAndNotBelowIt) {
  ExpectStep(Decide({2.5, 10, 16.0, 0}, 1.0), 0.25, 8, 0);
  ExpectStep(Decide({2.5, 10, 16.0, 0}, 4.0), 1.0, 8, 0);
  ExpectStep(Decide({2.5, 10, 0.25, 0}, 1.0), 1.0, 8, 0);
  ExpectStep(Decide({2.5, 10, 1e20, 0}, 0.0), 1.0, 8, 0);  // no limit
}

TEST(DecideStep, SkipsWhatIsNotFiniteAndCountsNoUpdate) {
  for (const std::vector<double>& share : {std::vector<double>{kNan, 10, 16, 0},
                                           {kInfinity, 10, 16, 0},
                                           {2.5, 10, 16, 1},
                                           {2.5, 10, kNan, 0},
                                           {2.5, 10, kInfinity, 0}}) {
    const StepScalars step = Decide(share, 1.0);
    EXPECT_EQ(step.skip, 1);
    EXPECT_EQ(step.update, 7);
  }
}

TEST(DecideStep, CountsUpdatesOverSteps) {
  StepScalars step;
  const double good[] = {1, 1, 1, 0}, bad[] = {1, 1, 1, 5};
  for (const double* share : {good, bad, good, good}) {
    ASSERT_OK(cpu::DecideStep({.shares = share, .step = &step}));
  }
  EXPECT_EQ(step.update, 3);
  EXPECT_EQ(step.skip, 0);
}

TEST(DecideStep, AddsTheSharesOfAllRanksInOrder) {
  // Two shares of 9 and 16: norm 5.  One rank's trouble is everybody's.
  ExpectStep(Decide({1, 1, 9, 0, 1, 1, 16, 0}, 1.0), 0.2, 8, 0);
  EXPECT_EQ(Decide({1, 1, 9, 0, 1, 1, 16, 2}).skip, 1);
  EXPECT_EQ(Decide({kInfinity, 1, 9, 0, -kInfinity, 1, 16, 0}).skip, 1);
  // In ascending order the small ones are lost one by one; backwards they would not be.
  const double small = 0x1p-53;
  const double in_order = ((1.0 + small) + small) + small;
  ASSERT_NE(in_order, ((small + small) + small) + 1.0);
  ExpectStep(Decide({1, 1, 1.0, 0, 1, 1, small, 0, 1, 1, small, 0, 1, 1, small, 0}, 0x1p-4),
             0x1p-4 / std::sqrt(in_order), 8, 0);
}

TEST(DecideStep, ReadsTheHeadOfLongerShares) {
  const std::vector<double> shares = {1, 1, 9, 0, 1e9, kNan, 1, 1, 16, 0, 1e9, kNan};
  StepScalars step;
  ASSERT_OK(cpu::DecideStep(
      {.shares = shares.data(), .ranks = 2, .length = 6, .clip_grad = 1.0, .step = &step}));
  ExpectStep(step, 0.2, 1, 0);
}

TEST(DecideStep, RefusesWrongArguments) {
  const double share[4] = {};
  StepScalars step;
  ExpectRefused(cpu::DecideStep({.shares = share, .ranks = 0, .step = &step}),
                "decide step: ranks=0; need ranks >= 1");
  ExpectRefused(cpu::DecideStep({.shares = share, .length = 3, .step = &step}),
                "decide step: length=3; need at least 4");
  ExpectRefused(cpu::DecideStep({.shares = share, .clip_grad = -1, .step = &step}),
                "decide step: clip_grad=-1; need clip_grad >= 0");
  ExpectRefused(cpu::DecideStep({.shares = share, .clip_grad = kNan, .step = &step}),
                "decide step: clip_grad=nan; need clip_grad >= 0");
  ExpectRefused(cpu::DecideStep({.step = &step}), "decide step: shares is null; need a buffer");
  ExpectRefused(cpu::DecideStep({.shares = share}), "decide step: step is null; need a buffer");
  EXPECT_EQ(step.update, 0);
}

}  // namespace
}  // namespace birkhoff
