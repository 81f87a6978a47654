// The manifold: Sinkhorn's matrices, and products of 60 of them, over many random logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/mapping.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

constexpr int kMatrices = 10000;
constexpr int kDepth = 60;  // sub-layers of 30 blocks

using Matrix = std::vector<double>;  // [n, n]

struct Sums {
  std::vector<double> rows, columns;
};

Sums SumsOf(const Matrix& matrix, int n) {
  Sums sums{std::vector<double>(size_t(n)), std::vector<double>(size_t(n))};
  for (int k = 0; k < n * n; ++k) {
    sums.rows[size_t(k / n)] += matrix[size_t(k)];
    sums.columns[size_t(k % n)] += matrix[size_t(k)];
  }
  return sums;
}

double Largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

Matrix Product(const Matrix& a, const Matrix& b, int n) {
  Matrix product(a.size());
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < n; ++k) {
      for (int j = 0; j < n; ++j) {
        product[i * n + j] += a[i * n + k] * b[k * n + j];
      }
    }
  }
  return product;
}

// One Jacobi rotation of columns p and q: afterwards they are orthogonal.  Returns how far they
// were from it.
double Orthogonalise(Matrix& matrix, int n, int p, int q) {
  double pp = 0.0, qq = 0.0, pq = 0.0;
  for (int i = 0; i < n; ++i) {
    const double a = matrix[i * n + p], b = matrix[i * n + q];
    pp += a * a, qq += b * b, pq += a * b;
  }
  if (pq == 0.0 || std::abs(pq) <= 1e-15 * std::sqrt(pp * qq)) return 0.0;
  const double zeta = (qq - pp) / (2.0 * pq);
  const double tangent = (zeta >= 0 ? 1.0 : -1.0) / (std::abs(zeta) + std::hypot(1.0, zeta));
  const double cosine = 1.0 / std::hypot(1.0, tangent), sine = cosine * tangent;
  for (int i = 0; i < n; ++i) {
    double &a = matrix[i * n + p], &b = matrix[i * n + q];
    const double turned = cosine * a - sine * b;
    b = sine * a + cosine * b;
    a = turned;
  }
  return std::abs(pq);
}

// One-sided Jacobi: columns become orthogonal, and their lengths are the singular values.
double LargestSingularValue(Matrix matrix, int n) {
  for (int sweep = 0; sweep < 30; ++sweep) {
    double left = 0.0;
    for (int p = 0; p < n; ++p) {
      for (int q = p + 1; q < n; ++q) left = std::max(left, Orthogonalise(matrix, n, p, q));
    }
    if (left < 1e-12) break;
  }
  double largest = 0.0;
  for (int j = 0; j < n; ++j) {
    double square = 0.0;
    for (int i = 0; i < n; ++i) square += matrix[i * n + j] * matrix[i * n + j];
    largest = std::max(largest, std::sqrt(square));
  }
  return largest;
}

TEST(LargestSingularValue, OfHandComputedMatrices) {
  EXPECT_NEAR(LargestSingularValue({3, 0, 0, -5}, 2), 5.0, 1e-14);
  EXPECT_NEAR(LargestSingularValue({1, 1, 1, 1}, 2), 2.0, 1e-14);
  EXPECT_NEAR(LargestSingularValue({0, 2, 0, 0}, 2), 2.0, 1e-14);
}

std::vector<Matrix> RandomMatrices(int n, double scale, int count, uint64_t seed) {
  const MixShape shape = {.mapping = MappingKind::kSinkhorn, .streams = n};
  const std::vector<double> logits = Normal(int64_t{count} * n * n, seed, scale);
  std::vector<double> flat(logits.size());
  EXPECT_TRUE(cpu::MixForward<double>({.shape = shape,
                                       .tokens = count,
                                       .logits = logits.data(),
                                       .logits_stride = n * n,
                                       .matrices = flat.data(),
                                       .matrices_stride = n * n})
                  .ok());
  std::vector<Matrix> matrices;
  for (int m = 0; m < count; ++m) {
    matrices.emplace_back(flat.begin() + m * n * n, flat.begin() + (m + 1) * n * n);
  }
  return matrices;
}

void ExpectOnManifold(const Matrix& matrix, int n, const std::string& what) {
  for (const double entry : matrix) ASSERT_GE(entry, 0.0);
  const Sums sums = SumsOf(matrix, n);
  for (const double sum : sums.rows) {
    ASSERT_NEAR(sum, 1.0, 1e-12);
    Worst("row sum of " + what + " - 1", std::abs(sum - 1.0));
  }
  const double bound = std::sqrt(Largest(sums.rows) * Largest(sums.columns));
  const double largest = LargestSingularValue(matrix, n);
  ASSERT_LE(largest, bound * (1.0 + 1e-12));
  Worst("largest singular value of " + what + " over its bound - 1", largest / bound - 1.0);
}

struct ManifoldCase {
  int streams;
  double scale;
};

class Manifold : public ::testing::TestWithParam<ManifoldCase> {};

TEST_P(Manifold, HoldsForRandomLogitsAndForProductsOfSixty) {
  const auto [n, scale] = GetParam();
  const std::vector<Matrix> matrices = RandomMatrices(n, scale, kMatrices, 1);
  Matrix product;
  for (int m = 0; m < kMatrices; ++m) {
    ASSERT_NO_FATAL_FAILURE(ExpectOnManifold(matrices[size_t(m)], n, "a matrix")) << "matrix " << m;
    product = m % kDepth == 0 ? matrices[size_t(m)] : Product(matrices[size_t(m)], product, n);
    if (m % kDepth != kDepth - 1) continue;
    ASSERT_NO_FATAL_FAILURE(ExpectOnManifold(product, n, "a product of 60"))
        << "product ending at " << m;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Manifold,
                         ::testing::Values(ManifoldCase{1, 1}, ManifoldCase{1, 4},
                                           ManifoldCase{1, 10}, ManifoldCase{2, 1},
                                           ManifoldCase{2, 4}, ManifoldCase{2, 10},
                                           ManifoldCase{4, 1}, ManifoldCase{4, 4},
                                           ManifoldCase{4, 10}, ManifoldCase{8, 1},
                                           ManifoldCase{8, 4}, ManifoldCase{8, 10}));

// What 20 iterations leave in the column sums of 4 x 4 matrices: measured by others, in float64
// and without an epsilon.
struct ResidualCase {
  double scale, median, p99;
};

class ColumnResidual : public ::testing::TestWithParam<ResidualCase> {};

TEST_P(ColumnResidual, IsWhatTwentyIterationsLeave) {
  std::vector<double> residuals;
  for (const Matrix& matrix : RandomMatrices(4, GetParam().scale, kMatrices, 2)) {
    double worst = 0.0;
    for (const double sum : SumsOf(matrix, 4).columns) worst = std::max(worst, std::abs(sum - 1));
    residuals.push_back(worst);
  }
  std::sort(residuals.begin(), residuals.end());
  const double median = residuals[kMatrices / 2], p99 = residuals[kMatrices * 99 / 100];
  EXPECT_GT(median, GetParam().median / 1.5);
  EXPECT_LT(median, GetParam().median * 1.5);
  EXPECT_GT(p99, GetParam().p99 / 1.5);
  EXPECT_LT(p99, GetParam().p99 * 1.5);
  const std::string figure = absl::StrCat("column residual at scale ", GetParam().scale);
  Worst(figure + ", median", median);
  Worst(figure + ", 99th percentile", p99);
}

INSTANTIATE_TEST_SUITE_P(Scales, ColumnResidual,
                         ::testing::Values(ResidualCase{1, 4e-13, 1.6e-6},
                                           ResidualCase{2, 8e-7, 1.4e-2},
                                           ResidualCase{4, 2.9e-3, 4.2e-2},
                                           ResidualCase{6, 1.6e-2, 6.9e-2}));

}  // namespace
}  // namespace birkhoff
