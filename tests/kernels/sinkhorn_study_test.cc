// What a number of iterations leaves of the constraint: row sums to rounding, column sums as
// published, over logits as they are drawn, and as they start; and permutations beside it, exact.
// Prints the rows of docs/sinkhorn.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "kernels/mapping.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

constexpr int kMatrices = 2000, kStreams = 4, kEntries = kStreams * kStreams;

using Logits = std::vector<double>;  // [kMatrices, K_res]

// b_res = `off` off the diagonal, 0 on it, and noise of N(0, 0.5^2) on all.
Logits NoisyStart(double off) {
  Logits logits = Normal(kMatrices * kEntries, 21, 0.5);
  for (size_t i = 0; i < logits.size(); ++i) {
    const int k = int(i % kEntries);
    logits[i] += StartOnDiagonal(k, kStreams, off);
  }
  return logits;
}

// Largest |sum - 1| over the rows, and over the columns, of each matrix, sorted.
struct Errors {
  std::vector<double> rows, columns;
  double Row() const { return rows.back(); }
  double Column(double quantile) const {
    return columns[size_t(quantile * double(columns.size() - 1))];
  }
};

Errors ErrorsOf(const MixShape& shape, const Logits& logits) {
  std::vector<double> matrices(size_t(kMatrices) * kEntries);
  EXPECT_TRUE(cpu::MixForward<double>({.shape = shape,
                                       .tokens = kMatrices,
                                       .logits = logits.data(),
                                       .logits_stride = NumMixLogits(shape),
                                       .matrices = matrices.data(),
                                       .matrices_stride = kEntries})
                  .ok());
  Errors errors;
  for (size_t m = 0; m < kMatrices; ++m) {
    double row_error = 0.0, column_error = 0.0;
    for (int i = 0; i < kStreams; ++i) {
      double row = 0.0, column = 0.0;
      for (int j = 0; j < kStreams; ++j) {
        row += matrices[m * kEntries + size_t(i * kStreams + j)];
        column += matrices[m * kEntries + size_t(j * kStreams + i)];
      }
      row_error = std::max(row_error, std::abs(row - 1.0));
      column_error = std::max(column_error, std::abs(column - 1.0));
    }
    errors.rows.push_back(row_error);
    errors.columns.push_back(column_error);
  }
  std::sort(errors.rows.begin(), errors.rows.end());
  std::sort(errors.columns.begin(), errors.columns.end());
  return errors;
}

struct Study {
  std::string name;
  std::function<Logits()> logits;
  // Column error after 20 iterations, as others measured it; 0: nobody did.
  double median = 0.0, p99 = 0.0;
};

std::vector<Study> Studies() {
  const auto normal = [](double scale) {
    return [scale] { return Normal(kMatrices * kEntries, 20, scale); };
  };
  return {{"N(0, 1)", normal(1), 4e-13, 1.6e-6},
          {"N(0, 2^2)", normal(2), 8e-7, 1.4e-2},
          {"N(0, 4^2)", normal(4), 2.9e-3, 4.2e-2},
          {"-4 off the diagonal, noise 0.5", [] { return NoisyStart(-4); }},
          {"-8 off the diagonal, noise 0.5", [] { return NoisyStart(-8); }}};
}

class SinkhornStudy : public testing::TestWithParam<Study> {};

TEST_P(SinkhornStudy, RowsAreExactAndColumnsConverge) {
  const Study& study = GetParam();
  const Logits logits = study.logits();
  double before = 2.0;
  for (const int iterations : {5, 10, 20, 50}) {
    const Errors errors =
        ErrorsOf({.streams = kStreams, .sinkhorn_iterations = iterations}, logits);
    absl::PrintF("| %s | %d | %.0e | %.1e | %.1e | %.1e |\n", study.name, iterations, errors.Row(),
                 errors.Column(0.5), errors.Column(0.99), errors.Column(1.0));
    EXPECT_LE(errors.Row(), 1e-15) << iterations;
    // More iterations never make it worse, but for rounding.
    EXPECT_LE(errors.Column(1.0), std::max(before, 1e-15)) << iterations;
    before = errors.Column(1.0);
    if (iterations != 20 || study.median == 0.0) continue;
    EXPECT_GT(errors.Column(0.5), study.median / 1.5);
    EXPECT_LT(errors.Column(0.5), study.median * 1.5);
    EXPECT_GT(errors.Column(0.99), study.p99 / 1.5);
    EXPECT_LT(errors.Column(0.99), study.p99 * 1.5);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SinkhornStudy, testing::ValuesIn(Studies()));

TEST(PermutationsStudy, RowsAndColumnsAreExactAtAnyLogits) {
  const MixShape shape = {.mapping = MappingKind::kPermutations, .streams = kStreams};
  for (const double scale : {1.0, 2.0, 4.0}) {
    const Errors errors = ErrorsOf(shape, Normal(kMatrices * NumMixLogits(shape), 22, scale));
    absl::PrintF("| permutations, N(0, %.0f^2) | | %.0e | %.1e | %.1e | %.1e |\n", scale,
                 errors.Row(), errors.Column(0.5), errors.Column(0.99), errors.Column(1.0));
    EXPECT_LE(errors.Row(), 2e-15);
    EXPECT_LE(errors.Column(1.0), 2e-15);
  }
}

}  // namespace
}  // namespace birkhoff
