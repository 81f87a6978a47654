// Cross entropy on the GPU against the reference in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/cuda/error_line.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

constexpr double kScale = 0.125;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shape {
  int64_t tokens, vocabulary;
  int64_t offset = 0;  // elements by which logits and their gradient are out of alignment
};
const Shape kShapes[] = {{1, 1},        {5, 2},     {300, 13},   {33, 256},
                         {17, 257, 1},  {7, 4096},  {5, 4099},   {9, 32768},
                         {3, 32768, 1}, {3, 50257}, {2, 151936}, {1100, 40}};

std::vector<float> Logits(const Shape& shape) {
  return Normal<float>(shape.tokens * shape.vocabulary, 1, 3.0);
}

// Ends of the vocabulary, and every fifth token without a target.
std::vector<int32_t> Targets(const Shape& shape) {
  std::vector<int32_t> targets;
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const int64_t v = t % 3 == 0 ? shape.vocabulary - 1 : (t * 7919) % shape.vocabulary;
    targets.push_back(t % 5 == 4 ? -1 - int32_t(t) : int32_t(v));
  }
  return targets;
}

template <typename T>
struct Result {
  CrossEntropySums sums = {.loss = 64.0, .targets = 5.0};  // added to
  std::vector<T> dlogits;
};

template <typename T>
CrossEntropyArgs<T> Args(const Shape& shape, const DeviceBuffer<float>& logits,
                         const DeviceBuffer<int32_t>& targets,
                         const DeviceBuffer<CrossEntropySums>& sums) {
  return {.tokens = shape.tokens,
          .vocabulary = shape.vocabulary,
          .logits = logits.data() + shape.offset,
          .targets = targets.data(),
          .sums = sums.data(),
          .scale = kScale};
}

// Where the gradient goes: nowhere, a buffer of its own, or over the logits.
enum class Gradient { kNone, kApart, kInPlace };

template <typename T>
Result<T> OnGpu(const Shape& shape, std::vector<float> logits, const std::vector<int32_t>& targets,
                Gradient gradient = Gradient::kApart) {
  logits.insert(logits.begin(), size_t(shape.offset), 0.0f);
  const DeviceBuffer<float> in(logits);
  const DeviceBuffer<int32_t> labels(targets);
  const DeviceBuffer<CrossEntropySums> sums(std::vector<CrossEntropySums>{Result<T>().sums});
  const DeviceBuffer<T> out(in.size());
  const DeviceBuffer<std::byte> workspace(
      cuda::CrossEntropyWorkspaceBytes(shape.tokens, shape.vocabulary));
  CrossEntropyArgs<T> args = Args<T>(shape, in, labels, sums);
  args.workspace = workspace.data();
  if (gradient == Gradient::kApart) args.dlogits = out.data() + shape.offset;
  if (gradient == Gradient::kInPlace) args.dlogits = reinterpret_cast<T*>(in.data()) + shape.offset;
  const absl::Status status = cuda::CrossEntropy<T>(args, nullptr);
  EXPECT_TRUE(status.ok()) << status;
  workspace.ToHost();  // checks its guard bands
  std::vector<T> dlogits = out.ToHost();
  if constexpr (std::is_same_v<T, float>) {
    if (gradient == Gradient::kInPlace) dlogits = in.ToHost();
  }
  return {sums.ToHost()[0], std::vector<T>(dlogits.begin() + shape.offset, dlogits.end())};
}

Result<double> Reference(const Shape& shape, const std::vector<float>& logits,
                         const std::vector<int32_t>& targets) {
  const std::vector<double> wide(logits.begin(), logits.end());
  Result<double> result;
  result.dlogits.resize(wide.size());
  EXPECT_TRUE(cpu::CrossEntropy<double>({.tokens = shape.tokens,
                                         .vocabulary = shape.vocabulary,
                                         .logits = wide.data(),
                                         .targets = targets.data(),
                                         .sums = &result.sums,
                                         .scale = kScale,
                                         .dlogits = result.dlogits.data()})
                  .ok());
  return result;
}

// Relative error of a sum of exponentials: expf is good to 2 ulp, its argument to half of one of
// itself (weighed by the exponential, below 8 half ulps here), and 8 terms at most are added in
// float.
constexpr double kSumError = 24.0 * kRoundoff<float>;

template <typename T>
class CrossEntropyCuda : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(CrossEntropyCuda, Types);

TYPED_TEST(CrossEntropyCuda, LossFollowsTheReference) {
  ErrorLine line(absl::StrCat("cross entropy, loss, ", DTypeName(kDTypeOf<TypeParam>)));
  ErrorLine relative(
      absl::StrCat("cross entropy, loss to 1e-6 relative, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const Shape& shape : kShapes) {
    const std::vector<float> logits = Logits(shape);
    const std::vector<int32_t> targets = Targets(shape);
    const Result<double> want = Reference(shape, logits, targets);
    const Result<TypeParam> got = OnGpu<TypeParam>(shape, logits, targets);
    line.Add(got.sums.loss, want.sums.loss, kSumError * double(shape.tokens));
    relative.Add(got.sums.loss, want.sums.loss, 1e-6 * want.sums.loss);
    EXPECT_EQ(got.sums.targets, want.sums.targets);
  }
}

TYPED_TEST(CrossEntropyCuda, GradientFollowsTheReference) {
  ErrorLine line(absl::StrCat("cross entropy, gradient, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const Shape& shape : kShapes) {
    const std::vector<float> logits = Logits(shape);
    const std::vector<int32_t> targets = Targets(shape);
    const Result<double> want = Reference(shape, logits, targets);
    const std::vector<float> got = Widen(OnGpu<TypeParam>(shape, logits, targets).dlogits);
    for (int64_t t = 0; t < shape.tokens; ++t) {
      const auto row = logits.begin() + t * shape.vocabulary;
      const double largest = *std::max_element(row, row + shape.vocabulary);
      for (int64_t v = 0; v < shape.vocabulary; ++v) {
        const size_t i = size_t(t * shape.vocabulary + v);
        // softmax = (want + one-hot) / scale; the rounded argument of its exponential costs half
        // an ulp of itself, the factor and two products three more.
        const bool is_target = targets[size_t(t)] == v;
        const double weight = std::abs(want.dlogits[i] + (is_target ? kScale : 0.0));
        const double math = kSumError + (8.0 + largest - double(logits[i])) * kRoundoff<float>;
        line.Add(got[i], want.dlogits[i],
                 math * weight + (is_target ? 2.0 * kScale * kRoundoff<float> : 0.0) +
                     kRoundoff<TypeParam> * std::abs(want.dlogits[i]) + 1e-38);
      }
    }
  }
}

TYPED_TEST(CrossEntropyCuda, RepeatsItsBitsAndGivesTheSameLossWithoutAGradient) {
  for (const Shape& shape : kShapes) {
    const std::vector<float> logits = Logits(shape);
    const std::vector<int32_t> targets = Targets(shape);
    const Result<TypeParam> once = OnGpu<TypeParam>(shape, logits, targets);
    const Result<TypeParam> again = OnGpu<TypeParam>(shape, logits, targets);
    EXPECT_TRUE(SameBits(once.dlogits, again.dlogits));
    EXPECT_EQ(once.sums.loss, again.sums.loss);
    const Result<TypeParam> without = OnGpu<TypeParam>(shape, logits, targets, Gradient::kNone);
    EXPECT_EQ(once.sums.loss, without.sums.loss);
    EXPECT_EQ(once.sums.targets, without.sums.targets);
  }
}

TEST(CrossEntropyCudaInPlace, GivesTheBitsOfTheGradientApart) {
  for (const Shape& shape : kShapes) {
    const std::vector<float> logits = Logits(shape);
    const std::vector<int32_t> targets = Targets(shape);
    const Result<float> apart = OnGpu<float>(shape, logits, targets);
    const Result<float> over = OnGpu<float>(shape, logits, targets, Gradient::kInPlace);
    EXPECT_TRUE(SameBits(apart.dlogits, over.dlogits));
    EXPECT_EQ(apart.sums.loss, over.sums.loss);
  }
}

// The loss of one token, without what stood in the sums.
template <typename T>
double LossOf(const std::vector<float>& logits, int32_t target) {
  return OnGpu<T>({1, int64_t(logits.size())}, logits, {target}).sums.loss - 64.0;
}

TYPED_TEST(CrossEntropyCuda, LargeAndMaskedLogitsAreStable) {
  EXPECT_NEAR(LossOf<TypeParam>({1000, -1000, 999}, 2), 1.0 + std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(LossOf<TypeParam>({1000, -1000, 999}, 1), 2000.3133, 1e-3);
  EXPECT_EQ(LossOf<TypeParam>({-1e30f}, 0), 0.0);
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ(LossOf<TypeParam>({most, -most, -most}, 0), 0.0);
  EXPECT_NEAR(LossOf<TypeParam>({-most, -most}, 0), std::log(2.0), 1e-6);
  EXPECT_NEAR(LossOf<TypeParam>({-kInfinity, 1, -kInfinity, 1}, 1), std::log(2.0), 1e-6);
  const std::vector<float> masked = {1, -kInfinity, 1};
  const std::vector<float> gradient = Widen(OnGpu<TypeParam>({1, 3}, masked, {0}).dlogits);
  EXPECT_NEAR(gradient[0], -0.5 * kScale, 1e-6);
  EXPECT_EQ(gradient[1], 0.0f);
}

TYPED_TEST(CrossEntropyCuda, NonFiniteLogitsReachTheLossAndTheirRowAlone) {
  for (const int64_t vocabulary : {3, 5000}) {
    for (const int64_t at : {int64_t{0}, vocabulary / 2, vocabulary - 1}) {
      for (const float value : {std::nanf(""), kInfinity}) {
        const Shape shape = {3, vocabulary};
        std::vector<float> logits = Logits(shape);
        logits[size_t(vocabulary + at)] = value;
        const Result<TypeParam> got = OnGpu<TypeParam>(shape, logits, {0, 1, 2});
        EXPECT_FALSE(std::isfinite(got.sums.loss));
        const std::vector<float> gradient = Widen(got.dlogits);
        for (int64_t i = 0; i < 3 * vocabulary; ++i) {
          const bool in_row = i / vocabulary == 1;
          if (!in_row) {
            ASSERT_TRUE(std::isfinite(gradient[size_t(i)])) << i;
          } else if (std::isnan(value)) {
            ASSERT_TRUE(std::isnan(gradient[size_t(i)])) << i;
          }
        }
        EXPECT_TRUE(std::isnan(gradient[size_t(vocabulary + at)]));
      }
    }
  }
}

TYPED_TEST(CrossEntropyCuda, ARowWithoutATargetHasNoLossAndAZeroGradient) {
  const Shape shape = {2, 5};
  std::vector<float> logits(10, std::nanf(""));
  const Result<TypeParam> got = OnGpu<TypeParam>(shape, logits, {-1, -100});
  EXPECT_EQ(got.sums.loss, 64.0);
  EXPECT_EQ(got.sums.targets, 5.0);
  EXPECT_EQ(Widen(got.dlogits), std::vector<float>(10, 0.0f));
}

TYPED_TEST(CrossEntropyCuda, OfNoTokensAddsNothingAndWrongArgumentsAreRefused) {
  EXPECT_EQ(OnGpu<TypeParam>({0, 7}, {}, {}).sums.loss, 64.0);
  ExpectRefused(cuda::CrossEntropy<TypeParam>({.tokens = 1, .vocabulary = 0}, nullptr),
                "cross entropy: vocabulary=0; need vocabulary > 0");
  const float logit = 0.0f;
  const int32_t target = 0;
  CrossEntropySums sums;
  ExpectRefused(
      cuda::CrossEntropy<TypeParam>(
          {.tokens = 1, .vocabulary = 1, .logits = &logit, .targets = &target, .sums = &sums},
          nullptr),
      "cross entropy: workspace is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
