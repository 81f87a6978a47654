// The end of a step on the GPU: norm, decision, AdamW and rounding, against the CPU.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/cuda/error_line.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// Sizes of spans: of one element; as of one sub-layer, whose three alphas put all that follows out
// of step with the chunks; longer than a chunk; many small ones.
std::vector<std::vector<int64_t>> SpanSizes() {
  std::vector<int64_t> small(700);
  for (size_t i = 0; i < small.size(); ++i) small[i] = 1 + int64_t(i * 31 % 29);
  if (SmallSweep()) return {{1}, {64, 3, 24, 7}, {16385, 5}};
  return {{1}, {64, 3, 24, 40000, 7, 16384}, {8192, 8192, 1}, {100003}, small};
}

// Numbers of several parameters, one after the other, as vectors of the host.
struct Numbers {
  explicit Numbers(const std::vector<int64_t>& span_sizes) : sizes(span_sizes) {
    for (const int64_t size : sizes) count += size;
    weight = Normal<float>(count, 1);
    gradient = Normal<float>(count, 2, 0.01);
    first = Normal<float>(count, 3, 0.01);
    second = Normal<float>(count, 4, 0.01);
    for (float& v : second) v = v * v;
  }
  double DecayOf(size_t span) const { return span % 2 == 0 ? 0.1 : 0.0; }

  std::vector<int64_t> sizes;
  int64_t count = 0;
  std::vector<float> weight, gradient, first, second;
};

// The same on a device: each span in a buffer of its own, `offset` elements out of alignment.
template <typename T>
class OnDevice {
 public:
  OnDevice(const Numbers& numbers, int64_t offset, bool with_copy, bool all_counted = true,
           bool all_cleared = true)
      : numbers_(numbers), offset_(offset) {
    std::vector<ParameterSpan<T>> spans;
    int64_t begin = 0;
    for (size_t s = 0; s < numbers.sizes.size(); ++s) {
      const int64_t size = numbers.sizes[s];
      weights_.push_back(Upload(numbers.weight, begin, size));
      gradients_.push_back(Upload(numbers.gradient, begin, size));
      firsts_.push_back(Upload(numbers.first, begin, size));
      seconds_.push_back(Upload(numbers.second, begin, size));
      copies_.push_back(std::make_unique<DeviceBuffer<T>>(size + offset));
      spans.push_back({.weight = weights_[s]->data() + offset,
                       .copy = with_copy ? copies_[s]->data() + offset : nullptr,
                       .gradient = gradients_[s]->data() + offset,
                       .first_moment = firsts_[s]->data() + offset,
                       .second_moment = seconds_[s]->data() + offset,
                       .count = size,
                       .begin = begin,
                       .weight_decay = numbers.DecayOf(s),
                       .counted = all_counted || s % 3 != 1 ? 1 : 0,
                       .cleared = all_cleared || s % 2 != 0 ? 1 : 0});
      begin += size;
    }
    spans_ = std::make_unique<DeviceBuffer<ParameterSpan<T>>>(spans);
  }

  ParameterSpans<T> view() const {
    return {spans_->data(), int(numbers_.sizes.size()), numbers_.count};
  }
  std::vector<float> weight() const { return Download(weights_); }
  std::vector<float> gradient() const { return Download(gradients_); }
  std::vector<float> first() const { return Download(firsts_); }
  std::vector<float> second() const { return Download(seconds_); }
  std::vector<T> copy() const { return Download(copies_); }

 private:
  template <typename U>
  using Buffers = std::vector<std::unique_ptr<DeviceBuffer<U>>>;

  std::unique_ptr<DeviceBuffer<float>> Upload(const std::vector<float>& all, int64_t begin,
                                              int64_t size) const {
    std::vector<float> part(size_t(offset_), 0.0f);
    part.insert(part.end(), all.begin() + begin, all.begin() + begin + size);
    return std::make_unique<DeviceBuffer<float>>(part);
  }
  template <typename U>
  std::vector<U> Download(const Buffers<U>& buffers) const {
    std::vector<U> all;
    for (const auto& buffer : buffers) {
      const std::vector<U> part = buffer->ToHost();
      all.insert(all.end(), part.begin() + offset_, part.end());
    }
    return all;
  }

  const Numbers& numbers_;
  const int64_t offset_;
  Buffers<float> weights_, gradients_, firsts_, seconds_;
  Buffers<T> copies_;
  std::unique_ptr<DeviceBuffer<ParameterSpan<T>>> spans_;
};

// Spans over vectors of the host; S is float or double.
template <typename S>
struct OnHost {
  explicit OnHost(const Numbers& numbers, bool all_counted = true)
      : weight(numbers.weight.begin(), numbers.weight.end()),
        gradient(numbers.gradient.begin(), numbers.gradient.end()),
        first(numbers.first.begin(), numbers.first.end()),
        second(numbers.second.begin(), numbers.second.end()) {
    int64_t begin = 0;
    for (size_t s = 0; s < numbers.sizes.size(); ++s) {
      spans.push_back({.weight = weight.data() + begin,
                       .gradient = gradient.data() + begin,
                       .first_moment = first.data() + begin,
                       .second_moment = second.data() + begin,
                       .count = numbers.sizes[s],
                       .begin = begin,
                       .weight_decay = numbers.DecayOf(s),
                       .counted = all_counted || s % 3 != 1 ? 1 : 0});
      begin += numbers.sizes[s];
    }
  }
  ParameterSpans<S> view() const {
    return {spans.data(), int(spans.size()), int64_t(weight.size())};
  }

  std::vector<S> weight, gradient, first, second;
  std::vector<ParameterSpan<S>> spans;
};

constexpr StepScalars kStep = {.lr = 1e-3, .clip_scale = 0.7, .update = 3, .skip = 0};

template <typename T>
class AdamWCuda : public testing::Test {
 protected:
  static void Step(const OnDevice<T>& device, const StepScalars& step) {
    const DeviceBuffer<StepScalars> scalars(std::vector<StepScalars>{step});
    const absl::Status status =
        cuda::AdamW<T>({.parameters = device.view(), .step = scalars.data()}, nullptr);
    EXPECT_TRUE(status.ok()) << status;
    scalars.ToHost();
  }
  static GradientNorm NormOf(const OnDevice<T>& device, const GradientNorm& before) {
    const DeviceBuffer<GradientNorm> norm(std::vector<GradientNorm>{before});
    const ParameterSpans<T> view = device.view();
    const DeviceBuffer<std::byte> workspace(cuda::NormWorkspaceBytes(view.num, view.count));
    const absl::Status status = cuda::AccumulateNorm<T>(
        {.parameters = view, .norm = norm.data(), .workspace = workspace.data()}, nullptr);
    EXPECT_TRUE(status.ok()) << status;
    workspace.ToHost();  // checks its guard bands
    return norm.ToHost()[0];
  }
};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(AdamWCuda, Types);

// ---- AdamW --------------------------------------------------------------------------------------

TYPED_TEST(AdamWCuda, FollowsTheReferenceInDouble) {
  ErrorLine line(absl::StrCat("adamw, weights, ", DTypeName(kDTypeOf<TypeParam>)));
  ErrorLine moments(absl::StrCat("adamw, moments, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const std::vector<int64_t>& sizes : SpanSizes()) {
    for (const int64_t offset : {0, 1}) {
      const Numbers numbers(sizes);
      const OnDevice<TypeParam> device(numbers, offset, true);
      this->Step(device, kStep);
      OnHost<double> want(numbers);
      ASSERT_OK(cpu::AdamW<double>({.parameters = want.view(), .step = &kStep}));
      const std::vector<float> weight = device.weight(), first = device.first();
      const std::vector<float> second = device.second();
      const double rate = kStep.lr / (1.0 - std::pow(0.9, 3.0));
      const double root = 1.0 / std::sqrt(1.0 - std::pow(0.95, 3.0));
      for (size_t i = 0; i < weight.size(); ++i) {
        // Constants and products are rounded; the two terms of the first moment may cancel.
        const double g = kStep.clip_scale * double(numbers.gradient[i]);
        const double terms = 0.9 * std::abs(double(numbers.first[i])) + 0.1 * std::abs(g);
        const double first_error = 5.0 * kRoundoff<float> * terms;
        moments.Add(first[i], want.first[i], first_error);
        moments.Add(second[i], want.second[i], 8.0 * kRoundoff<float> * want.second[i] + 1e-38);
        const double divisor = std::sqrt(want.second[i]) * root + 1e-15;
        const double step = rate * std::abs(want.first[i]) / divisor;
        line.Add(weight[i], want.weight[i],
                 rate * first_error / divisor + 12.0 * kRoundoff<float> * step +
                     2.0 * kRoundoff<float> * std::abs(double(numbers.weight[i])));
      }
    }
  }
}

TYPED_TEST(AdamWCuda, GivesTheBitsOfTheCpuInFloatAndRoundsThemIntoTheCopy) {
  for (const std::vector<int64_t>& sizes : SpanSizes()) {
    for (const int64_t offset : {0, 1}) {
      const Numbers numbers(sizes);
      const OnDevice<TypeParam> device(numbers, offset, true);
      this->Step(device, kStep);
      OnHost<float> want(numbers);
      ASSERT_OK(cpu::AdamW<float>({.parameters = want.view(), .step = &kStep}));
      EXPECT_TRUE(SameBits(device.first(), want.first));
      EXPECT_TRUE(SameBits(device.second(), want.second));
      EXPECT_TRUE(SameBits(device.weight(), want.weight));
      EXPECT_TRUE(SameBits(device.copy(), Narrow<TypeParam>(want.weight)));
      EXPECT_EQ(device.gradient(), std::vector<float>(size_t(numbers.count), 0.0f));
    }
  }
}

TYPED_TEST(AdamWCuda, WithoutCopiesGivesTheSameBits) {
  const Numbers numbers({64, 3, 24, 40000, 7});
  const OnDevice<TypeParam> with(numbers, 0, true), without(numbers, 0, false);
  this->Step(with, kStep);
  this->Step(without, kStep);
  EXPECT_TRUE(SameBits(with.weight(), without.weight()));
  for (const float value : Widen(without.copy())) ASSERT_TRUE(std::isnan(value));  // untouched
}

TYPED_TEST(AdamWCuda, SkipLeavesAllButTheGradient) {
  StepScalars step = kStep;
  step.skip = 1, step.clip_scale = std::nan("");
  for (const int64_t offset : {0, 1}) {
    Numbers numbers({3, 9000, 17});
    numbers.gradient[5] = std::nanf("");
    const OnDevice<TypeParam> device(numbers, offset, true);
    this->Step(device, step);
    EXPECT_TRUE(SameBits(device.weight(), numbers.weight));
    EXPECT_TRUE(SameBits(device.first(), numbers.first));
    EXPECT_TRUE(SameBits(device.second(), numbers.second));
    for (const float value : Widen(device.copy())) ASSERT_TRUE(std::isnan(value));  // untouched
    EXPECT_EQ(device.gradient(), std::vector<float>(size_t(numbers.count), 0.0f));
  }
}

TYPED_TEST(AdamWCuda, LeavesGradientsThatAreAssignedNext) {
  const Numbers numbers({13, 3, 9000, 16});
  for (const int64_t offset : {0, 1}) {
    for (const int64_t skip : {0, 1}) {
      const OnDevice<TypeParam> device(numbers, offset, true, true, /*all_cleared=*/false);
      StepScalars step = kStep;
      step.skip = skip;
      this->Step(device, step);
      std::vector<float> want = numbers.gradient;
      std::fill(want.begin() + 13, want.begin() + 16, 0.0f);
      std::fill(want.end() - 16, want.end(), 0.0f);
      EXPECT_TRUE(SameBits(device.gradient(), want)) << offset << " " << skip;
    }
  }
}

TYPED_TEST(AdamWCuda, ANanStaysInItsElement) {
  Numbers numbers({16, 3});
  numbers.gradient[6] = std::nanf("");
  const OnDevice<TypeParam> device(numbers, 0, true);
  this->Step(device, kStep);
  const std::vector<float> weight = device.weight();
  for (size_t i = 0; i < weight.size(); ++i) EXPECT_EQ(std::isnan(weight[i]), i == 6) << i;
}

TYPED_TEST(AdamWCuda, OfNoSpansIsNoWorkAndWrongArgumentsAreRefused) {
  StepScalars step;
  GradientNorm norm;
  ASSERT_OK(cuda::AdamW<TypeParam>({.step = &step}, nullptr));
  ASSERT_OK(cuda::AccumulateNorm<TypeParam>({.norm = &norm}, nullptr));
  ASSERT_OK(cuda::RoundWeights<TypeParam>({}, nullptr));
  ExpectRefused(cuda::AdamW<TypeParam>({.eps = 0.0, .step = &step}, nullptr),
                "adamw: eps=0; need eps > 0");
  const ParameterSpan<TypeParam> span;
  ExpectRefused(
      cuda::AccumulateNorm<TypeParam>({.parameters = {&span, 1, 1}, .norm = &norm}, nullptr),
      "norm: workspace is null; need a buffer");
  ExpectRefused(cuda::RoundWeights<TypeParam>({nullptr, 1, 1}, nullptr),
                "round weights: spans is null; need a buffer");
  ExpectRefused(cuda::RoundWeights<TypeParam>({&span, 1, 0}, nullptr),
                "round weights: spans=1 count=0; need spans of at least one element");
}

// ---- rounding -----------------------------------------------------------------------------------

TYPED_TEST(AdamWCuda, RoundWeightsWritesTheCopiesThatAreThere) {
  for (const std::vector<int64_t>& sizes : SpanSizes()) {
    for (const int64_t offset : {0, 1}) {
      const Numbers numbers(sizes);
      const OnDevice<TypeParam> device(numbers, offset, true), without(numbers, offset, false);
      ASSERT_OK(cuda::RoundWeights<TypeParam>(device.view(), nullptr));
      ASSERT_OK(cuda::RoundWeights<TypeParam>(without.view(), nullptr));
      EXPECT_TRUE(SameBits(device.copy(), Narrow<TypeParam>(numbers.weight)));
      EXPECT_TRUE(SameBits(device.weight(), numbers.weight));
      for (const float value : Widen(without.copy())) ASSERT_TRUE(std::isnan(value));
    }
  }
}

TEST(RoundWeightsCuda, RoundsAsToBf16DoesAlsoTiesInfinitiesAndNans) {
  Numbers numbers({65536});
  for (uint32_t i = 0; i < 65536; ++i) {  // every upper half, with lower halves around the tie
    numbers.weight[i] = std::bit_cast<float>(i << 16 | (0x7fffu + i % 3));
  }
  const OnDevice<bf16> device(numbers, 0, true);
  ASSERT_OK(cuda::RoundWeights<bf16>(device.view(), nullptr));
  const std::vector<bf16> got = device.copy();
  for (size_t i = 0; i < got.size(); ++i) {
    const bf16 want = ToBf16(numbers.weight[i]);
    if (std::isnan(ToFloat(want))) {
      ASSERT_TRUE(std::isnan(ToFloat(got[i]))) << i;  // which NaN is the GPU's
    } else {
      ASSERT_EQ(got[i].bits, want.bits) << i;
    }
  }
}

// ---- the norm -----------------------------------------------------------------------------------

TYPED_TEST(AdamWCuda, NormFollowsTheReference) {
  ErrorLine line(absl::StrCat("gradient norm, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const std::vector<int64_t>& sizes : SpanSizes()) {
    for (const int64_t offset : {0, 1}) {
      for (const bool all_counted : {true, false}) {
        Numbers numbers(sizes);
        for (size_t i = 2; i < numbers.gradient.size(); i += 1000) {
          numbers.gradient[i] = i % 3 == 0 ? std::nanf("") : INFINITY;
        }
        const OnDevice<TypeParam> device(numbers, offset, false, all_counted);
        GradientNorm want = {.squared = 0.5, .non_finite = 2.0};
        const GradientNorm got = this->NormOf(device, want);
        const OnHost<double> host(numbers, all_counted);
        ASSERT_OK(cpu::AccumulateNorm<double>({.parameters = host.view(), .norm = &want}));
        // N additions of positive numbers, in any order.
        line.Add(got.squared, want.squared, double(numbers.count + 1) * 0x1p-53 * want.squared);
        EXPECT_EQ(got.non_finite, want.non_finite);
        EXPECT_EQ(this->NormOf(device, {.squared = 0.5, .non_finite = 2.0}).squared, got.squared);
      }
    }
  }
}

TYPED_TEST(AdamWCuda, NormDoesNotOverflowOrUnderflow) {
  for (const float value : {1e30f, 1e-30f}) {
    Numbers numbers({5});
    numbers.gradient.assign(5, value);
    const double got = this->NormOf(OnDevice<TypeParam>(numbers, 0, false), {}).squared;
    EXPECT_NEAR(got / (5.0 * double(value) * double(value)), 1.0, 1e-15);
  }
}

// ---- the decision -------------------------------------------------------------------------------

TEST(DecideStepCuda, GivesTheBitsOfTheCpu) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<double>> cases = {{2.5, 10, 16.0, 0, 9, 2.5, 10, 1.7, 0, 9},
                                                  {2.5, 10, 0.2, 0, 9},
                                                  {kNan, 10, 16, 0, 9},
                                                  {kInfinity, 1, 1, 0, 9, -kInfinity, 1, 1, 0, 9},
                                                  {2.5, 10, 16, 3, 9},
                                                  {2.5, 10, kInfinity, 0, 9},
                                                  {2.5, 10, kNan, 0, 9},
                                                  {1, 1, 0, 0, kNan}};
  for (const std::vector<double>& shares : cases) {
    for (const double clip_grad : {0.0, 1.0}) {
      StepScalars want = {.lr = 0.25, .clip_scale = 5.0, .update = 7, .skip = 4};
      const DeviceBuffer<double> on_device(shares);
      const DeviceBuffer<StepScalars> step(std::vector<StepScalars>{want});
      DecideStepArgs args = {.shares = shares.data(),
                             .ranks = int(shares.size() / 5),
                             .length = 5,
                             .clip_grad = clip_grad,
                             .step = &want};
      ASSERT_OK(cpu::DecideStep(args));
      args.shares = on_device.data(), args.step = step.data();
      ASSERT_OK(cuda::DecideStep(args, nullptr));
      EXPECT_TRUE(SameBits(step.ToHost(), std::vector<StepScalars>{want}));
    }
  }
  ExpectRefused(cuda::DecideStep({.ranks = 0}, nullptr), "decide step: ranks=0; need ranks >= 1");
}

}  // namespace
}  // namespace birkhoff
