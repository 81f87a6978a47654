// Gains on the GPU against the CPU, which adds in double too.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/cuda/error_line.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

struct Shape {
  int streams;
  int64_t tokens;
  int64_t offset, stride;  // of the matrices, in elements
};

// 32769: more tokens than blocks of one sweep hold.
const Shape kShapes[] = {{4, 1, 8, 24},     {4, 16384, 8, 24}, {4, 127, 0, 16}, {4, 129, 3, 49},
                         {4, 32769, 0, 16}, {1, 5, 0, 1},      {2, 300, 4, 8},  {2, 300, 1, 5},
                         {3, 300, 6, 15},   {5, 200, 0, 25},   {6, 200, 0, 36}, {7, 200, 14, 63},
                         {8, 513, 16, 80}};

struct Result {
  GainSums sums = {.forward = 1.0, .backward = 2.0};
  std::vector<double> matrix;
};

// Adds twice: sums are added to.
template <typename T>
Result OnGpu(const Shape& shape, const std::vector<float>& numbers, bool with_matrix) {
  const DeviceBuffer<float> in(numbers);
  const DeviceBuffer<GainSums> sums(std::vector<GainSums>{Result().sums});
  const std::vector<double> zeros(size_t(shape.streams * shape.streams), 3.0);
  const DeviceBuffer<double> matrix(zeros);
  const DeviceBuffer<std::byte> workspace(cuda::GainWorkspaceBytes(shape.streams, shape.tokens));
  for (int call = 0; call < 2; ++call) {
    const absl::Status status =
        cuda::AccumulateGain<T>({.streams = shape.streams,
                                 .tokens = shape.tokens,
                                 .matrices = in.data() + shape.offset,
                                 .stride = shape.stride,
                                 .sums = sums.data(),
                                 .matrix = with_matrix ? matrix.data() : nullptr,
                                 .workspace = workspace.data()},
                                nullptr);
    EXPECT_TRUE(status.ok()) << status;
  }
  workspace.ToHost();  // checks its guard bands
  return {sums.ToHost()[0], matrix.ToHost()};
}

Result OnCpu(const Shape& shape, const std::vector<float>& numbers) {
  Result result = {.matrix = std::vector<double>(size_t(shape.streams * shape.streams), 3.0)};
  for (int call = 0; call < 2; ++call) {
    EXPECT_TRUE(cpu::AccumulateGain<float>({.streams = shape.streams,
                                            .tokens = shape.tokens,
                                            .matrices = numbers.data() + shape.offset,
                                            .stride = shape.stride,
                                            .sums = &result.sums,
                                            .matrix = result.matrix.data()})
                    .ok());
  }
  return result;
}

std::vector<float> Matrices(const Shape& shape) {
  return Normal<float>(shape.offset + shape.tokens * shape.stride, 1, 1.0, 0.25);
}

template <typename T>
class GainCuda : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(GainCuda, Types);

TYPED_TEST(GainCuda, AgreesWithTheCpuUpToTheOrderOfSums) {
  ErrorLine line(absl::StrCat("gain, ", DTypeName(kDTypeOf<TypeParam>)));
  for (const Shape& shape : kShapes) {
    const std::vector<float> numbers = Matrices(shape);
    const Result got = OnGpu<TypeParam>(shape, numbers, true), want = OnCpu(shape, numbers);
    // A sum of N numbers in any order: N half ulps of the sum of their absolute values, which is
    // below 8 n for a gain of these entries and below 8 for one of them.
    const double additions = double(2 * shape.tokens + 3) * 0x1p-53;
    const double of_entries = additions * 8.0 * double(shape.tokens + 1);
    const double of_gains = of_entries * shape.streams;
    line.Add(got.sums.forward, want.sums.forward, of_gains);
    line.Add(got.sums.backward, want.sums.backward, of_gains);
    for (size_t k = 0; k < want.matrix.size(); ++k) {
      line.Add(got.matrix[k], want.matrix[k], of_entries);
    }
    EXPECT_EQ(got.sums.row_sum_min, want.sums.row_sum_min);
    EXPECT_EQ(got.sums.column_sum_min, want.sums.column_sum_min);
  }
}

TYPED_TEST(GainCuda, RepeatsItsBitsAlsoWithoutTheMatrix) {
  for (const Shape& shape : kShapes) {
    const std::vector<float> numbers = Matrices(shape);
    const Result once = OnGpu<TypeParam>(shape, numbers, true);
    const Result again = OnGpu<TypeParam>(shape, numbers, true);
    const Result without = OnGpu<TypeParam>(shape, numbers, false);
    EXPECT_TRUE(SameBits<GainSums>({once.sums, once.sums}, {again.sums, without.sums}));
    EXPECT_TRUE(SameBits(once.matrix, again.matrix));
    EXPECT_EQ(without.matrix, std::vector<double>(once.matrix.size(), 3.0));
  }
}

TYPED_TEST(GainCuda, OfHandComputedMatrices) {
  // Rows sum to -5 and 2 (the sum of absolute values would be 7 and 4), columns to 4 and -7.
  const Result got = OnGpu<TypeParam>({2, 1, 0, 4}, {1, -6, 3, -1}, true);
  EXPECT_EQ(got.sums.forward, 1.0 + 2 * 5.0);
  EXPECT_EQ(got.sums.backward, 2.0 + 2 * 7.0);
  EXPECT_EQ(got.sums.row_sum_min, -5.0);
  EXPECT_EQ(got.sums.column_sum_min, -7.0);
  EXPECT_EQ(got.matrix, (std::vector<double>{5, -9, 9, 1}));
}

TYPED_TEST(GainCuda, OfANanIsANanAndLeavesTheMinima) {
  for (const int64_t tokens : {1, 200}) {
    const Shape shape = {2, tokens, 0, 4};
    std::vector<float> numbers(size_t(4 * tokens), 1.0f);
    numbers[size_t(4 * (tokens / 2) + 2)] = std::nanf("");  // row 1, column 0
    const Result got = OnGpu<TypeParam>(shape, numbers, true);
    EXPECT_TRUE(std::isnan(got.sums.forward));
    EXPECT_TRUE(std::isnan(got.sums.backward));
    EXPECT_EQ(got.sums.row_sum_min, 2.0);
    EXPECT_EQ(got.sums.column_sum_min, 2.0);
    EXPECT_TRUE(std::isnan(got.matrix[2]));
    EXPECT_EQ(got.matrix[0], 3.0 + 2.0 * double(tokens));
  }
}

TYPED_TEST(GainCuda, OfNoTokensAddsNothingAndWrongShapesAreRefused) {
  const Result got = OnGpu<TypeParam>({4, 0, 0, 16}, {}, true);
  EXPECT_EQ(got.sums.forward, 1.0);
  EXPECT_EQ(got.sums.row_sum_min, std::numeric_limits<double>::infinity());
  ExpectRefused(cuda::AccumulateGain<TypeParam>({9, 1, nullptr, 81}, nullptr),
                "gain: streams=9; need 1 to 8");
  const float matrix = 0.0f;
  GainSums sums;
  ExpectRefused(cuda::AccumulateGain<TypeParam>({1, 1, &matrix, 1, &sums}, nullptr),
                "gain: workspace is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
