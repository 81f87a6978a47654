// Products on the CPU: one worked out by hand, every transpose against loops in double with rows
// longer than what is used of them, and products over nothing.
#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

TEST(Gemm, OfHandComputedMatrices) {
  const std::vector<double> a = {1, 2, 3, 4, 5, 6}, b = {1, 0, 0, 1, 1, 1};
  std::vector<double> c = {100, 100, 100, 100};
  ASSERT_OK(cpu::Gemm<double>({.m = 2,
                               .n = 2,
                               .k = 3,
                               .alpha = 2,
                               .a = a.data(),
                               .lda = 3,
                               .b = b.data(),
                               .ldb = 2,
                               .beta = 0.5,
                               .c = c.data(),
                               .ldc = 2}));
  EXPECT_EQ(c, (std::vector<double>{58, 60, 70, 72}));  // 2 [[4, 5], [10, 11]] + 50
}

struct GemmCase {
  bool transpose_a, transpose_b;
  int64_t m, n, k;
};

class GemmShapes : public testing::TestWithParam<GemmCase> {};

template <typename T>
double ErrorAgainstLoops(const GemmCase& c) {
  const int64_t pad = 3;  // rows are longer than what is used of them
  const int64_t lda = (c.transpose_a ? c.m : c.k) + pad, ldb = (c.transpose_b ? c.k : c.n) + pad;
  const std::vector<T> a = Normal<T>((c.transpose_a ? c.k : c.m) * lda, 1);
  const std::vector<T> b = Normal<T>((c.transpose_b ? c.n : c.k) * ldb, 2);
  std::vector<T> got(size_t(c.m * (c.n + pad)), T(5)), want = got;
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.n; ++j) {
      double sum = 0.0;
      for (int64_t k = 0; k < c.k; ++k) {
        sum += double(a[size_t(c.transpose_a ? k * lda + i : i * lda + k)]) *
               double(b[size_t(c.transpose_b ? j * ldb + k : k * ldb + j)]);
      }
      want[size_t(i * (c.n + pad) + j)] = T(1.5 * sum - 10.0);
    }
  }
  EXPECT_TRUE(cpu::Gemm<T>({.transpose_a = c.transpose_a,
                            .transpose_b = c.transpose_b,
                            .m = c.m,
                            .n = c.n,
                            .k = c.k,
                            .alpha = 1.5,
                            .a = a.data(),
                            .lda = lda,
                            .b = b.data(),
                            .ldb = ldb,
                            .beta = -2,
                            .c = got.data(),
                            .ldc = c.n + pad})
                  .ok());
  return RelativeError(got, want);
}

TEST_P(GemmShapes, AgreeWithLoops) {
  EXPECT_LE(ErrorAgainstLoops<double>(GetParam()), 1e-14);
  EXPECT_LE(ErrorAgainstLoops<float>(GetParam()), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(All, GemmShapes,
                         testing::Values(GemmCase{false, false, 1, 1, 1},
                                         GemmCase{false, true, 7, 5, 3},
                                         GemmCase{true, false, 65, 24, 33},
                                         GemmCase{true, true, 4, 9, 130},
                                         GemmCase{false, false, 3, 4, 0}));

TEST(Gemm, WithBetaZeroDoesNotReadTheResult) {
  const std::vector<float> a = {2}, b = {3};
  std::vector<float> c = {std::nanf("")};
  GemmArgs<float> args = {.m = 1, .n = 1, .k = 1, .a = a.data(), .lda = 1, .b = b.data(), .ldb = 1};
  args.c = c.data(), args.ldc = 1;
  ASSERT_OK(cpu::Gemm(args));
  EXPECT_EQ(c[0], 6.0f);
  c[0] = std::nanf("");
  args.k = 0;
  ASSERT_OK(cpu::Gemm(args));
  EXPECT_EQ(c[0], 0.0f);
}

TEST(Gemm, OfNothingIsNothing) {
  ASSERT_OK(cpu::Gemm<float>({.m = 0, .n = 4, .k = 2, .lda = 2, .ldb = 4, .ldc = 4}));
}

TEST(Gemm, RefusesWrongSizes) {
  const auto gemm = [](int64_t m, int64_t k, int64_t lda) {
    const float a[4] = {}, b[4] = {};
    float c[4];
    return cpu::Gemm<float>(
        {.m = m, .n = 2, .k = k, .a = a, .lda = lda, .b = b, .ldb = 2, .c = c, .ldc = 2});
  };
  ExpectRefused(gemm(-1, 2, 2), "gemm: m=-1; need 0 to 2^31 - 1");
  ExpectRefused(gemm(2, int64_t{1} << 31, 2), "gemm: k=2147483648; need 0 to 2^31 - 1");
  ExpectRefused(gemm(2, 2, 1), "gemm: lda=1; need at least the row length 2");
  ExpectRefused(cpu::Gemm<float>({.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1}),
                "gemm: a is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
