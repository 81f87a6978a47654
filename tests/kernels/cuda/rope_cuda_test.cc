// Rotary embedding on the GPU against the reference in double.
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

// Sine and cosine: the rest of the turns is rounded once, 0.5 * 2 pi / 2 roundings of the angle,
// and the function is good to 2 ulp of a number below 1.  Then two products and a sum.
constexpr double kMath = 8.0 * kRoundoff<float>;

struct Shape {
  int64_t tokens;
  int heads, head_dim;
  int64_t gap = 0;     // elements between the heads of two tokens
  int64_t offset = 0;  // elements by which x is out of alignment
  double theta = 10000;
};
const Shape kShapes[] = {{1, 1, 2},
                         {5, 3, 6, 1},
                         {9, 40, 128},
                         {4, 2, 64, 8, 3},
                         {6, 2, 150, 2},
                         {2, 3, 256, 64},
                         {65, 5, 128, 128, 0, 5e5},
                         {3, 1, 80, 0, 0},
                         {13, 4, 16, 5, 1}};

// 0, small ones, and up to 2^20, where a float no longer holds the angle.
std::vector<int32_t> Positions(int64_t tokens) {
  std::vector<int32_t> positions = {0, 1048576, 1, 131071, 1048575, 777777};
  for (int32_t t = 6; t < tokens; ++t) positions.push_back(t * 15887 % 1048577);
  positions.resize(static_cast<size_t>(tokens));
  return positions;
}

template <typename T>
class RopeCuda : public testing::Test {
 protected:
  using Function = absl::Status (*)(const RopeArgs<T>&, cuda::StreamHandle);
  using Reference = absl::Status (*)(const RopeArgs<double>&);

  static int64_t Stride(const Shape& shape) { return shape.heads * shape.head_dim + shape.gap; }

  static std::vector<float> Rotate(const Shape& shape, std::vector<float> x, Function function) {
    x.insert(x.begin(), size_t(shape.offset), 0.0f);
    const DeviceBuffer<T> buffer(Narrow<T>(x));
    const DeviceBuffer<int32_t> positions(Positions(shape.tokens));
    const absl::Status status = function({.tokens = shape.tokens,
                                          .heads = shape.heads,
                                          .head_dim = shape.head_dim,
                                          .theta = shape.theta,
                                          .positions = positions.data(),
                                          .x = buffer.data() + shape.offset,
                                          .stride = Stride(shape)},
                                         nullptr);
    EXPECT_TRUE(status.ok()) << status;
    const std::vector<float> all = Widen(buffer.ToHost());
    return std::vector<float>(all.begin() + shape.offset, all.end());
  }

  static std::vector<double> Want(const Shape& shape, const std::vector<float>& x,
                                  Reference reference) {
    std::vector<double> wide(x.begin(), x.end());
    const std::vector<int32_t> positions = Positions(shape.tokens);
    EXPECT_TRUE(reference({.tokens = shape.tokens,
                           .heads = shape.heads,
                           .head_dim = shape.head_dim,
                           .theta = shape.theta,
                           .positions = positions.data(),
                           .x = wide.data(),
                           .stride = Stride(shape)})
                    .ok());
    return wide;
  }

  static void ExpectFollows(const std::string& name, Function function, Reference reference) {
    ErrorLine line(absl::StrCat("rope ", name, ", ", DTypeName(kDTypeOf<T>)));
    for (const Shape& shape : kShapes) {
      const int64_t stride = Stride(shape), half = shape.head_dim / 2;
      const std::vector<float> x = Rounded<T>(Normal<float>(shape.tokens * stride, 1));
      const std::vector<float> got = Rotate(shape, x, function);
      const std::vector<double> want = Want(shape, x, reference);
      for (int64_t i = 0; i < shape.tokens * stride; ++i) {
        const int64_t column = i % stride;
        if (column >= shape.heads * shape.head_dim) {  // behind the heads: as it was
          line.Add(got[size_t(i)], x[size_t(i)], 0.0);
          continue;
        }
        const int64_t partner = column % shape.head_dim < half ? i + half : i - half;
        const double both = std::abs(x[size_t(i)]) + std::abs(x[size_t(partner)]);
        line.Add(got[size_t(i)], want[size_t(i)],
                 kMath * both + kRoundoff<T> * std::abs(want[size_t(i)]));
      }
    }
  }
};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(RopeCuda, Types);

TYPED_TEST(RopeCuda, ForwardFollowsTheReference) {
  this->ExpectFollows("forward", cuda::RopeForward<TypeParam>, cpu::RopeForward<double>);
}

TYPED_TEST(RopeCuda, BackwardFollowsTheReference) {
  this->ExpectFollows("backward", cuda::RopeBackward<TypeParam>, cpu::RopeBackward<double>);
}

TYPED_TEST(RopeCuda, LeavesPositionZeroAndRepeatsItsBits) {
  for (const Shape& shape : kShapes) {
    const std::vector<float> x =
        Rounded<TypeParam>(Normal<float>(shape.tokens * this->Stride(shape), 1));
    const std::vector<float> once = this->Rotate(shape, x, cuda::RopeForward<TypeParam>);
    EXPECT_TRUE(SameBits(this->Rotate(shape, x, cuda::RopeForward<TypeParam>), once));
    for (int64_t i = 0; i < this->Stride(shape); ++i) EXPECT_EQ(once[size_t(i)], x[size_t(i)]);
  }
}

TYPED_TEST(RopeCuda, ANanReachesItsPartnerAndNoOther) {
  const Shape shape = {2, 2, 8};
  std::vector<float> x(32, 1.0f);
  x[16 + 8 + 1] = std::nanf("");  // token 1, head 1, channel 1; channel 5 is its partner
  const std::vector<float> got = this->Rotate(shape, x, cuda::RopeForward<TypeParam>);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(std::isnan(got[i]), i == 25 || i == 29) << i;
}

TYPED_TEST(RopeCuda, OfNoTokensIsNoWorkAndWrongShapesAreRefused) {
  ASSERT_OK(cuda::RopeForward<TypeParam>({.heads = 1, .head_dim = 2, .stride = 2}, nullptr));
  ExpectRefused(
      cuda::RopeBackward<TypeParam>({.tokens = 1, .heads = 2, .head_dim = 4, .stride = 7}, nullptr),
      "rope: stride=7; need at least heads * head_dim");
}

}  // namespace
}  // namespace birkhoff
