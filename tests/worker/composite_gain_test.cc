// Composite gains of the stages against the brute-force product of the matrices that they mixed
// with, at points where they are far from 1, and across stages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/testing/figure.h"
#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"

namespace birkhoff {
namespace {

constexpr int kStreams = 4;
using Matrix = std::vector<double>;  // [n, n]

// 12 sub-layers, so that products have time to grow.
ModelSpec DeepModel(ResidualKind kind) {
  ModelSpec model = SmallModel(kind);
  model.num_hidden_layers = 6;
  return model;
}

// HC with signed mixing matrices that amplify.
Parameters<double> LoudHc(const ModelSpec& model) {
  return RandomParameters<double>(model, /*seed=*/31);
}

// mHC whose residual logits are N(0, 4^2), alike in all sub-layers as training makes them: what 20
// iterations leave of each column sum adds up.
Parameters<double> LoudMhc(const ModelSpec& model) {
  Parameters<double> parameters = RandomParameters<double>(model, /*seed=*/32);
  for (auto& [name, values] : parameters.values) {
    if (!EndsWith(name, ".bias")) continue;
    Rng rng(/*seed=*/29, "residual logits");
    for (size_t i = 2 * kStreams; i < values.size(); ++i) values[i] = 4.0 * rng.Normal();
  }
  return parameters;
}

Matrix Identity() {
  Matrix matrix(kStreams * kStreams, 0.0);
  for (int i = 0; i < kStreams; ++i) matrix[i * kStreams + i] = 1.0;
  return matrix;
}

Matrix Product(const Matrix& a, const Matrix& b) {
  Matrix product(kStreams * kStreams, 0.0);
  for (int i = 0; i < kStreams; ++i) {
    for (int k = 0; k < kStreams; ++k) {
      for (int j = 0; j < kStreams; ++j) {
        product[i * kStreams + j] += a[i * kStreams + k] * b[k * kStreams + j];
      }
    }
  }
  return product;
}

double RowSum(const Matrix& matrix, int row) {
  double sum = 0.0;
  for (int j = 0; j < kStreams; ++j) sum += matrix[row * kStreams + j];
  return sum;
}

double ColumnSum(const Matrix& matrix, int column) {
  double sum = 0.0;
  for (int i = 0; i < kStreams; ++i) sum += matrix[i * kStreams + column];
  return sum;
}

double ForwardGain(const Matrix& matrix) {
  double gain = 0.0;
  for (int i = 0; i < kStreams; ++i) gain = std::max(gain, std::abs(RowSum(matrix, i)));
  return gain;
}

double BackwardGain(const Matrix& matrix) {
  double gain = 0.0;
  for (int j = 0; j < kStreams; ++j) gain = std::max(gain, std::abs(ColumnSum(matrix, j)));
  return gain;
}

// H_res of one token and sub-layer, as dumped by the stage.
Matrix Dumped(const StageChain<double>& chain, int sublayer, int64_t token) {
  const std::vector<double> coefficients =
      chain.Find(0, sublayer + 1, Home::kSaved, "coefficients");
  const double* matrix =
      coefficients.data() + token * (2 * kStreams + kStreams * kStreams) + 2 * kStreams;
  return Matrix(matrix, matrix + kStreams * kStreams);
}

void Add(const Matrix& matrix, std::vector<double>& sum) {
  for (size_t i = 0; i < matrix.size(); ++i) sum[i] += matrix[i];
}

std::vector<SubLayerSums> BruteForce(const StageChain<double>& chain, int sublayers,
                                     int64_t tokens) {
  SubLayerSums empty;
  empty.mean_forward = empty.mean_backward = Matrix(kStreams * kStreams, 0.0);
  empty.row_sum_min = empty.column_sum_min = std::numeric_limits<double>::infinity();
  std::vector<SubLayerSums> sums(sublayers, empty);
  for (int64_t token = 0; token < tokens; ++token) {
    Matrix prefix = Identity(), suffix = Identity();
    for (int l = 0; l < sublayers; ++l) {
      const Matrix matrix = Dumped(chain, l, token);
      prefix = Product(matrix, prefix);
      sums[l].composite_forward += ForwardGain(prefix);
      sums[l].single_forward += ForwardGain(matrix);
      sums[l].single_backward += BackwardGain(matrix);
      Add(prefix, sums[l].mean_forward);
      for (int i = 0; i < kStreams; ++i) {
        sums[l].row_sum_min = std::min(sums[l].row_sum_min, RowSum(prefix, i));
      }
    }
    for (int l = sublayers - 1; l >= 0; --l) {
      suffix = Product(suffix, Dumped(chain, l, token));
      sums[l].composite_backward += BackwardGain(suffix);
      Add(suffix, sums[l].mean_backward);
      for (int j = 0; j < kStreams; ++j) {
        sums[l].column_sum_min = std::min(sums[l].column_sum_min, ColumnSum(suffix, j));
      }
    }
  }
  return sums;
}

void ExpectNear(const std::vector<SubLayerSums>& got, const std::vector<SubLayerSums>& want,
                double tolerance, const std::string& figure) {
  ASSERT_EQ(got.size(), want.size());
  const auto near = [&](double a, double b, const char* what, size_t sublayer) {
    const double scale = std::max(1.0, std::abs(b));
    EXPECT_NEAR(a, b, tolerance * scale) << what << " of " << sublayer;
    Worst(figure, std::abs(a - b) / scale);
  };
  for (size_t l = 0; l < got.size(); ++l) {
    near(got[l].composite_forward, want[l].composite_forward, "composite forward", l);
    near(got[l].composite_backward, want[l].composite_backward, "composite backward", l);
    near(got[l].single_forward, want[l].single_forward, "single forward", l);
    near(got[l].single_backward, want[l].single_backward, "single backward", l);
    near(got[l].row_sum_min, want[l].row_sum_min, "row sum", l);
    near(got[l].column_sum_min, want[l].column_sum_min, "column sum", l);
    for (size_t i = 0; i < got[l].mean_forward.size(); ++i) {
      near(got[l].mean_forward[i], want[l].mean_forward[i], "mean forward", l);
      near(got[l].mean_backward[i], want[l].mean_backward[i], "mean backward", l);
    }
  }
}

struct Loud {
  ModelSpec model;
  Parameters<double> parameters;
  TestBatch batch;
};

Loud LoudPoint(ResidualKind kind) {
  const ModelSpec model = DeepModel(kind);
  return {model, kind == ResidualKind::kHc ? LoudHc(model) : LoudMhc(model),
          RandomBatch({9, 4}, model.vocab_size, /*seed=*/33)};
}

template <typename Pick>
double LargestMean(const std::vector<SubLayerSums>& sums, size_t tokens, Pick pick) {
  double largest = 0.0;
  for (const SubLayerSums& sublayer : sums) largest = std::max(largest, pick(sublayer));
  return largest / static_cast<double>(tokens);
}

TEST(Gains, EqualTheBruteForceProductWhereTheyAreLarge) {
  for (const ResidualKind kind : {ResidualKind::kHc, ResidualKind::kMhc}) {
    Loud loud = LoudPoint(kind);
    StageChain<double> chain({.model = loud.model}, loud.parameters);
    chain.Train(loud.batch);
    const size_t tokens = loud.batch.inputs.size();
    const auto want = BruteForce(chain, 12, static_cast<int64_t>(tokens));
    ExpectNear(chain.Sums(), want, 1e-12, "float64 gains against brute force");
    const double backward =
        LargestMean(want, tokens, [](const auto& sums) { return sums.composite_backward; });
    const double forward =
        LargestMean(want, tokens, [](const auto& sums) { return sums.composite_forward; });
    const std::string name = kind == ResidualKind::kHc ? "hc" : "mhc";
    Worst("backward gain checked by brute force, " + name, backward);
    if (kind == ResidualKind::kHc) {
      EXPECT_GT(forward, 5.0);
      EXPECT_GT(backward, 5.0);
    } else {
      EXPECT_NEAR(forward, 1.0, 1e-9);  // rows are normalised last
      EXPECT_GT(backward, 1.1);
    }
  }
}

TEST(Gains, DoNotDependOnTheCut) {
  for (const ResidualKind kind : {ResidualKind::kHc, ResidualKind::kMhc}) {
    Loud loud = LoudPoint(kind);
    StageChain<double> whole({.model = loud.model}, loud.parameters);
    whole.Train(loud.batch);
    for (const std::vector<int>& cuts : {std::vector<int>{4, 7, 10}, {1, 2, 13}}) {
      for (const int block : {0, 2}) {
        StageChain<double> chain({.model = loud.model, .cuts = cuts, .recompute_block = block},
                                 loud.parameters);
        chain.Train(loud.batch);
        ExpectNear(chain.Sums(), whole.Sums(), 1e-13, "float64 gains of 4 stages against 1");
      }
    }
  }
}

double OffDiagonal(const Matrix& matrix) {
  double sum = 0.0;
  for (int k = 0; k < kStreams * kStreams; ++k) {
    if (k / kStreams != k % kStreams) sum += std::abs(matrix[k]) / kStreams;
  }
  return sum;
}

double FromIdentity(const Matrix& matrix) {
  double squares = 0.0;
  for (int k = 0; k < kStreams * kStreams; ++k) {
    const double away = matrix[k] - (k / kStreams == k % kStreams ? 1.0 : 0.0);
    squares += away * away;
  }
  return std::sqrt(squares / (kStreams - 1));
}

TEST(Mixing, EqualsTheBruteForceOfItsSample) {
  for (const ResidualKind kind : {ResidualKind::kHc, ResidualKind::kMhc}) {
    Loud loud = LoudPoint(kind);
    const auto tokens = static_cast<int64_t>(loud.batch.inputs.size());
    StageChain<double> chain({.model = loud.model}, loud.parameters);
    chain.Train(loud.batch);
    std::vector<double> off_diagonal(12), from_identity(12);
    for (int64_t k = 0; k < NumMixingTokens(tokens); ++k) {
      Matrix prefix = Identity();
      for (int l = 0; l < 12; ++l) {
        const Matrix matrix = Dumped(chain, l, MixingToken(k, tokens));
        prefix = Product(matrix, prefix);
        off_diagonal[l] += OffDiagonal(matrix);
        from_identity[l] += FromIdentity(prefix);
      }
    }
    for (int l = 0; l < 12; ++l) {
      const std::vector<double> mixing = chain.Mixing(l);
      const double* merged = mixing.data() + ShareLayout::kOpened;
      EXPECT_EQ(mixing[ShareLayout::kOpenedTokens], 8.0);
      EXPECT_EQ(merged[ShareLayout::kMergedTokens], 8.0);
      EXPECT_NEAR(mixing[ShareLayout::kOffDiagonal], off_diagonal[l], 1e-12 * off_diagonal[l]);
      EXPECT_NEAR(merged[ShareLayout::kFromIdentity], from_identity[l], 1e-12 * from_identity[l]);
      EXPECT_EQ(std::isnan(mixing[ShareLayout::kSaturation]), kind == ResidualKind::kHc);
      EXPECT_LE(std::abs(merged[ShareLayout::kSimilarity]), 8.0);
    }
  }
}

TEST(Mixing, DoesNotDependOnTheCut) {
  Loud loud = LoudPoint(ResidualKind::kMhc);
  StageChain<double> whole({.model = loud.model}, loud.parameters);
  whole.Train(loud.batch);
  for (const std::vector<int>& cuts : {std::vector<int>{4, 7, 10}, {1, 2, 13}}) {
    StageChain<double> chain({.model = loud.model, .cuts = cuts}, loud.parameters);
    chain.Train(loud.batch);
    for (int l = 0; l < 12; ++l) EXPECT_EQ(chain.Mixing(l), whole.Mixing(l)) << l;
  }
}

// Streams that are written alike stay alike: the self-test of the measure, through a whole model.
TEST(Mixing, SeesStreamsThatHaveCollapsed) {
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  model.residual.expand = ExpandKind::kCopy;
  const TestBatch batch = RandomBatch({9, 4}, model.vocab_size, /*seed=*/36);
  Parameters<double> parameters = RandomParameters<double>(model, /*seed=*/37);
  const auto similarity = [&] {
    StageChain<double> chain({.model = model}, parameters);
    chain.Train(batch);
    const std::vector<double> mixing = chain.Mixing(NumSubLayers(model) - 1);
    const double* merged = mixing.data() + ShareLayout::kOpened;
    return merged[ShareLayout::kSimilarity] / merged[ShareLayout::kMergedTokens];
  };
  EXPECT_LT(similarity(), 0.99) << "random biases tell the streams apart";
  for (auto& [name, values] : parameters.values) {
    const bool bias = name.ends_with("mhc.bias"), gains = name.ends_with("mhc.alpha");
    if (bias || gains) std::fill(values.begin(), values.end(), 0.0);
  }
  EXPECT_NEAR(similarity(), 1.0, 1e-12) << "all are written alike";
}

TEST(Gains, AreThoseOfTheReferenceInFloat32) {
  for (const ResidualKind kind : {ResidualKind::kHc, ResidualKind::kMhc}) {
    Loud loud = LoudPoint(kind);
    StageChain<double> reference({.model = loud.model}, loud.parameters);
    reference.Train(loud.batch);
    Parameters<float> parameters;
    for (const auto& [name, values] : loud.parameters.values) {
      parameters.Add(name, {values.begin(), values.end()});
    }
    std::vector<SubLayerSums> sums;
    for (const std::vector<int>& cuts : {std::vector<int>{}, {4, 7, 10}}) {
      StageChain<float> chain({.model = loud.model, .cuts = cuts}, parameters);
      chain.Train(loud.batch);
      if (!sums.empty())
        ExpectNear(chain.Sums(), sums, 1e-6, "float32 gains of 4 stages against 1");
      sums = chain.Sums();
    }
    ExpectNear(sums, reference.Sums(), 1e-3, "float32 gains against float64");
  }
}

TEST(Gains, AddUpOverMicrobatchesUntilReset) {
  Loud loud = LoudPoint(ResidualKind::kMhc);
  StageChain<double> chain({.model = loud.model}, loud.parameters);
  chain.Train(loud.batch);
  const auto once = chain.Sums();
  chain.Train(loud.batch);
  EXPECT_DOUBLE_EQ(chain.Sums()[3].composite_forward, 2 * once[3].composite_forward);
  EXPECT_DOUBLE_EQ(chain.Sums()[3].composite_backward, 2 * once[3].composite_backward);
  EXPECT_EQ(chain.Sums()[3].row_sum_min, once[3].row_sum_min);
  chain.ResetSums();
  EXPECT_EQ(chain.Sums()[3].composite_forward, 0.0);
  EXPECT_EQ(chain.Sums()[3].row_sum_min, std::numeric_limits<double>::infinity());
  EXPECT_EQ(chain.loss(), 0.0);
}

TEST(Gains, AreOneForThePlainResidual) {
  const ModelSpec model = SmallModel(ResidualKind::kResidual);
  Parameters<float> parameters = RandomParameters<float>(model, /*seed=*/34);
  StageChain<float> chain({.model = model, .cuts = {2}}, parameters);
  chain.Train(RandomBatch({8}, model.vocab_size, /*seed=*/35));
  for (const SubLayerSums& sums : chain.Sums()) {
    EXPECT_EQ(sums.composite_forward, 8.0);
    EXPECT_EQ(sums.composite_backward, 8.0);
    EXPECT_EQ(sums.single_forward, 8.0);
    EXPECT_EQ(sums.single_backward, 8.0);
    EXPECT_EQ(sums.row_sum_min, 1.0);
    EXPECT_EQ(sums.column_sum_min, 1.0);
  }
}

}  // namespace
}  // namespace birkhoff
