// SwiGLU on the GPU against the reference in double.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/cuda/error_line.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// expf and the division are good to 2 ulp each, sum and products to half of one: 12 roundings.
constexpr double kMath = 12.0 * kRoundoff<float>;
// Products below it are subnormal, or were made of a sigmoid that is 0 and not 1e-38.
constexpr double kTiny = 1e-30;

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Shape {
  int64_t tokens, features;
  int64_t offset = 0;  // elements by which all buffers are out of alignment
};
const Shape kShapes[] = {{1, 1},    {3, 13},     {5, 8, 1},  {7, 1376},
                         {2, 8192}, {33, 24, 3}, {257, 104}, {1, 3 * 2048 + 8}};

template <typename T>
class SwiGluCuda : public testing::Test {
 protected:
  using Numbers = std::vector<float>;

  static Numbers Activate(const Shape& shape, const Numbers& gate_up) {
    const DeviceBuffer<T> in(Shifted(gate_up, shape));
    const DeviceBuffer<T> act(shape.tokens * shape.features + shape.offset);
    EXPECT_TRUE(cuda::SwiGluForward<T>({shape.tokens, shape.features, in.data() + shape.offset,
                                        act.data() + shape.offset},
                                       nullptr)
                    .ok());
    return FromOffset(act, shape);
  }
  static Numbers Back(const Shape& shape, const Numbers& gate_up, const Numbers& dact,
                      bool in_place = false) {
    const DeviceBuffer<T> in(Shifted(gate_up, shape)), above(Shifted(dact, shape));
    const DeviceBuffer<T> out(in.size());
    const DeviceBuffer<T>& result = in_place ? in : out;
    EXPECT_TRUE(cuda::SwiGluBackward<T>({shape.tokens, shape.features, in.data() + shape.offset,
                                         above.data() + shape.offset, result.data() + shape.offset},
                                        nullptr)
                    .ok());
    return FromOffset(result, shape);
  }
  // What the backward pass leaves in place of dact.
  static Numbers Again(const Shape& shape, const Numbers& gate_up, const Numbers& dact) {
    const DeviceBuffer<T> in(Shifted(gate_up, shape)), above(Shifted(dact, shape));
    EXPECT_TRUE(cuda::SwiGluBackward<T>({.tokens = shape.tokens,
                                         .features = shape.features,
                                         .gate_up = in.data() + shape.offset,
                                         .dact = above.data() + shape.offset,
                                         .dgate_up = in.data() + shape.offset,
                                         .act = above.data() + shape.offset},
                                        nullptr)
                    .ok());
    EXPECT_TRUE(SameBits(FromOffset(in, shape), Back(shape, gate_up, dact)));
    return FromOffset(above, shape);
  }

 private:
  static std::vector<T> Shifted(Numbers values, const Shape& shape) {
    values.insert(values.begin(), size_t(shape.offset), 0.0f);
    return Narrow<T>(values);
  }
  static Numbers FromOffset(const DeviceBuffer<T>& buffer, const Shape& shape) {
    const Numbers all = Widen(buffer.ToHost());
    return Numbers(all.begin() + shape.offset, all.end());
  }
};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(SwiGluCuda, Types);

TYPED_TEST(SwiGluCuda, ForwardFollowsTheReference) {
  ErrorLine line(absl::StrCat("swiglu forward, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const Shape& shape : kShapes) {
    const int64_t count = shape.tokens * shape.features;
    const std::vector<float> gate_up = Rounded<TypeParam>(Normal<float>(2 * count, 1, 4.0));
    const std::vector<double> wide(gate_up.begin(), gate_up.end());
    std::vector<double> want(static_cast<size_t>(count));
    ASSERT_OK(cpu::SwiGluForward<double>({shape.tokens, shape.features, wide.data(), want.data()}));
    const std::vector<float> got = this->Activate(shape, gate_up);
    for (size_t i = 0; i < want.size(); ++i) {
      line.Add(got[i], want[i], (kMath + kRoundoff<TypeParam>)*std::abs(want[i]) + kTiny);
    }
  }
}

TYPED_TEST(SwiGluCuda, BackwardFollowsTheReference) {
  ErrorLine line(absl::StrCat("swiglu backward, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const Shape& shape : kShapes) {
    const int64_t count = shape.tokens * shape.features;
    const std::vector<float> gate_up = Rounded<TypeParam>(Normal<float>(2 * count, 1, 4.0));
    const std::vector<float> dact = Rounded<TypeParam>(Normal<float>(count, 2));
    const std::vector<double> wide(gate_up.begin(), gate_up.end());
    const std::vector<double> above(dact.begin(), dact.end());
    std::vector<double> want(wide.size());
    ASSERT_OK(cpu::SwiGluBackward<double>(
        {shape.tokens, shape.features, wide.data(), above.data(), want.data()}));
    const std::vector<float> got = this->Back(shape, gate_up, dact);
    for (int64_t i = 0; i < 2 * count; ++i) {
      const int64_t token = i / (2 * shape.features), column = i % (2 * shape.features);
      const int64_t f = column % shape.features, row = token * 2 * shape.features;
      const double gate = wide[size_t(row + f)], up = wide[size_t(row + shape.features + f)];
      // 1 - sigmoid, and the sum with 1, may cancel: errors are those of the terms.
      const double terms = above[size_t(token * shape.features + f)] * Sigmoid(gate) *
                           (column < shape.features ? up * (1.0 + std::abs(gate)) : gate);
      line.Add(
          got[size_t(i)], want[size_t(i)],
          2.0 * kMath * std::abs(terms) + kRoundoff<TypeParam> * std::abs(want[size_t(i)]) + kTiny);
    }
  }
}

TYPED_TEST(SwiGluCuda, BackwardMayBeInPlaceAndRepeatsItsBits) {
  for (const Shape& shape : kShapes) {
    const int64_t count = shape.tokens * shape.features;
    const std::vector<float> gate_up = Normal<float>(2 * count, 1);
    const std::vector<float> dact = Normal<float>(count, 2);
    const std::vector<float> apart = this->Back(shape, gate_up, dact);
    EXPECT_TRUE(SameBits(this->Back(shape, gate_up, dact), apart));
    EXPECT_TRUE(SameBits(this->Back(shape, gate_up, dact, true), apart));
    EXPECT_TRUE(SameBits(this->Activate(shape, gate_up), this->Activate(shape, gate_up)));
    EXPECT_TRUE(SameBits(this->Again(shape, gate_up, dact), this->Activate(shape, gate_up)));
  }
}

TYPED_TEST(SwiGluCuda, LargeGatesSaturateAndANanStaysAlone) {
  const Shape shape = {1, 8};
  std::vector<float> gate_up = {-1000, 1000, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2};
  EXPECT_EQ(this->Activate(shape, gate_up)[0], 0.0f);
  EXPECT_EQ(this->Activate(shape, gate_up)[1], 2000.0f);
  const std::vector<float> dact(8, 1.0f);
  EXPECT_EQ(this->Back(shape, gate_up, dact)[0], 0.0f);
  EXPECT_EQ(this->Back(shape, gate_up, dact)[1], 2.0f);
  gate_up[3] = std::nanf("");
  const std::vector<float> act = this->Activate(shape, gate_up);
  const std::vector<float> back = this->Back(shape, gate_up, dact);
  for (size_t f = 0; f < 8; ++f) {
    EXPECT_EQ(std::isnan(act[f]), f == 3) << f;
    EXPECT_EQ(std::isnan(back[f]) && std::isnan(back[8 + f]), f == 3) << f;
  }
}

TYPED_TEST(SwiGluCuda, OfNoTokensIsNoWorkAndWrongShapesAreRefused) {
  ASSERT_OK(cuda::SwiGluForward<TypeParam>({.tokens = 0, .features = 3}, nullptr));
  ASSERT_OK(cuda::SwiGluBackward<TypeParam>({.tokens = 0, .features = 3}, nullptr));
  ExpectRefused(cuda::SwiGluForward<TypeParam>({.tokens = -2, .features = 3}, nullptr),
                "swiglu forward: tokens=-2; need tokens >= 0");
}

}  // namespace
}  // namespace birkhoff
