// The mappings on the CPU: small matrices worked out by hand, central differences, logits beyond
// the range of exp, and bits that no neighbour changes.
#include "kernels/mapping.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

template <typename T>
std::vector<T> Map(const MixShape& shape, const std::vector<T>& logits) {
  const int64_t columns = NumMixLogits(shape), entries = shape.streams * shape.streams;
  const int64_t tokens = int64_t(logits.size()) / columns;
  std::vector<T> matrices(size_t(tokens * entries), T(-7));
  const absl::Status status = cpu::MixForward<T>({.shape = shape,
                                                  .tokens = tokens,
                                                  .logits = logits.data(),
                                                  .logits_stride = columns,
                                                  .matrices = matrices.data(),
                                                  .matrices_stride = entries});
  EXPECT_TRUE(status.ok()) << status;
  return matrices;
}

template <typename T>
std::vector<T> MapBackward(const MixShape& shape, const std::vector<T>& logits,
                           const std::vector<T>& dmatrices) {
  const int64_t columns = NumMixLogits(shape), entries = shape.streams * shape.streams;
  std::vector<T> dlogits(logits.size(), T(-7)), workspace(size_t(MixWorkspaceElements(shape)));
  const absl::Status status = cpu::MixBackward<T>({.shape = shape,
                                                   .tokens = int64_t(logits.size()) / columns,
                                                   .logits = logits.data(),
                                                   .logits_stride = columns,
                                                   .dmatrices = dmatrices.data(),
                                                   .dmatrices_stride = entries,
                                                   .dlogits = dlogits.data(),
                                                   .workspace = workspace.data()});
  EXPECT_TRUE(status.ok()) << status;
  return dlogits;
}

MixShape Sinkhorn(int streams, int iterations = 20) {
  return {.mapping = MappingKind::kSinkhorn, .streams = streams, .sinkhorn_iterations = iterations};
}

TEST(Mapping, SinkhornOfAHandComputedMatrix) {
  // exp gives [[1, 2], [3, 4]].  Columns: / 4, / 6 -> [[1/4, 1/3], [3/4, 2/3]].
  // Rows: / (7/12), / (17/12) -> [[3/7, 4/7], [9/17, 8/17]].
  const std::vector<double> logits = {std::log(1.0), std::log(2.0), std::log(3.0), std::log(4.0)};
  const std::vector<double> want = {3.0 / 7, 4.0 / 7, 9.0 / 17, 8.0 / 17};
  EXPECT_LE(RelativeError(Map(Sinkhorn(2, 1), logits), want), 1e-15);
}

TEST(Mapping, SinkhornConvergesToTheSymmetricTwoByTwo) {
  // A doubly stochastic 2 x 2 matrix is [[p, 1 - p], [1 - p, p]], and scaling keeps the ratio
  // m00 m11 / (m01 m10) = 4: p / (1 - p) = 2.
  const std::vector<double> got =
      Map<double>(Sinkhorn(2, 200), {std::log(8.0), 0.0, std::log(2.0), 0.0});
  const std::vector<double> ratio = {std::log(4.0), 0.0, 0.0, 0.0};
  const std::vector<double> got_four = Map(Sinkhorn(2, 200), ratio);
  EXPECT_LE(RelativeError(got_four, std::vector<double>{2. / 3, 1. / 3, 1. / 3, 2. / 3}), 1e-14);
  EXPECT_LE(RelativeError(got, got_four), 1e-14);
}

TEST(Mapping, PermutationsOfAHandComputedMatrix) {
  // Softmax weights 1/4 (identity) and 3/4 (swap).
  const MixShape shape = {.mapping = MappingKind::kPermutations, .streams = 2};
  EXPECT_LE(RelativeError(Map<double>(shape, {0.0, std::log(3.0)}),
                          std::vector<double>{0.25, 0.75, 0.75, 0.25}),
            1e-15);
}

TEST(Mapping, PermutationsComeInLexicographicOrder) {
  // The fourth of six, (1, 2, 0), alone.
  const MixShape shape = {.mapping = MappingKind::kPermutations, .streams = 3};
  const std::vector<double> logits = {-900, -900, -900, 0, -900, -900};
  EXPECT_EQ(Map(shape, logits), (std::vector<double>{0, 1, 0, 0, 0, 1, 1, 0, 0}));
}

TEST(Mapping, UnconstrainedCopiesTheLogits) {
  const std::vector<double> logits = Normal(11 * 9, 1);
  EXPECT_EQ(Map({.mapping = MappingKind::kUnconstrained, .streams = 3}, logits), logits);
}

TEST(Mapping, IdentityNeedsNoLogits) {
  std::vector<float> matrices(2 * 4, 9.0f);
  ASSERT_OK(cpu::MixForward<float>({.shape = {.mapping = MappingKind::kIdentity, .streams = 2},
                                    .tokens = 2,
                                    .matrices = matrices.data(),
                                    .matrices_stride = 4}));
  EXPECT_EQ(matrices, (std::vector<float>{1, 0, 0, 1, 1, 0, 0, 1}));
}

struct GradientCase {
  MappingKind mapping;
  int streams;
  double scale;
};

class MappingGradient : public testing::TestWithParam<GradientCase> {};

TEST_P(MappingGradient, AgreesWithCentralDifferences) {
  const MixShape shape = {.mapping = GetParam().mapping, .streams = GetParam().streams};
  const int64_t tokens = 11;  // more than a lane group, and not a multiple of it
  const int64_t entries = shape.streams * shape.streams;
  if (NumMixLogits(shape) == 0) return;  // nothing to differentiate by
  std::vector<double> logits = Normal(tokens * NumMixLogits(shape), 3, GetParam().scale);
  const std::vector<double> weight = Normal(tokens * entries, 4);
  const std::vector<double> gradient = MapBackward(shape, logits, weight);
  ExpectGradient("logits", logits, gradient, [&] { return Inner(Map(shape, logits), weight); });
}

// One stream has no gradient: OneStreamHasNoGradient below.
std::vector<GradientCase> EveryMappingAtEveryNumberOfStreams() {
  std::vector<GradientCase> cases;
  for (size_t row = 0; row < kMappings.size(); ++row) {
    const auto mapping = static_cast<MappingKind>(row);
    for (int n = 2; n <= TraitsOf(mapping).most_streams; ++n) cases.push_back({mapping, n, 1});
  }
  return cases;
}

void PrintTo(const GradientCase& c, std::ostream* out) {
  *out << TraitsOf(c.mapping).name << " n " << c.streams << " scale " << c.scale;
}

INSTANTIATE_TEST_SUITE_P(Table, MappingGradient,
                         testing::ValuesIn(EveryMappingAtEveryNumberOfStreams()));
INSTANTIATE_TEST_SUITE_P(
    Scales, MappingGradient,
    testing::Values(
        GradientCase{MappingKind::kSinkhorn, 3, 4}, GradientCase{MappingKind::kSinkhorn, 4, 4},
        GradientCase{MappingKind::kSinkhorn, 4, 10}, GradientCase{MappingKind::kSinkhorn, 8, 4},
        GradientCase{MappingKind::kSinkhorn, 4, 120},  // the logarithmic path
        GradientCase{MappingKind::kPermutations, 2, 4},
        GradientCase{MappingKind::kPermutations, 4, 4}, GradientCase{MappingKind::kDeepSeek, 3, 4},
        GradientCase{MappingKind::kDeepSeek, 4, 10}, GradientCase{MappingKind::kRetention, 4, 4}));

// One block of golden/mappings.txt, which golden/make_mappings.py made in 50 digits.
struct GoldenMapping {
  MixShape shape;
  std::vector<double> logits, weights, matrix, gradient;
};

std::optional<MappingKind> MappingNamed(const std::string& name) {
  for (size_t row = 0; row < kMappings.size(); ++row) {
    if (kMappings[row].name == name) return static_cast<MappingKind>(row);
  }
  return std::nullopt;
}

std::vector<double> ReadNumbers(std::istream& file, const std::string& key) {
  std::string line, found;
  std::getline(file, line);
  std::istringstream words(line);
  words >> found;
  EXPECT_EQ(found, key);
  return {std::istream_iterator<double>(words), {}};
}

std::vector<GoldenMapping> ReadGolden() {
  std::ifstream file("tests/kernels/golden/mappings.txt");
  std::vector<GoldenMapping> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, name;
    GoldenMapping golden;
    words >> key >> name >> golden.shape.streams >> golden.shape.sinkhorn_iterations;
    const std::optional<MappingKind> mapping = MappingNamed(name);
    EXPECT_TRUE(mapping.has_value()) << name;
    golden.shape.mapping = mapping.value_or(MappingKind::kSinkhorn);
    golden.logits = ReadNumbers(file, "logits");
    golden.weights = ReadNumbers(file, "weights");
    golden.matrix = ReadNumbers(file, "matrix");
    golden.gradient = ReadNumbers(file, "gradient");
    all.push_back(golden);
  }
  return all;
}

TEST(MappingGolden, HasEveryRowOfTheTableAtThreeAndAtFourStreams) {
  std::set<std::pair<int, int>> found;
  for (const GoldenMapping& golden : ReadGolden()) {
    found.insert({static_cast<int>(golden.shape.mapping), golden.shape.streams});
  }
  EXPECT_EQ(found.size(), 2 * kMappings.size());
}

TEST(MappingGolden, ForwardAndBackwardEqualThem) {
  for (const GoldenMapping& golden : ReadGolden()) {
    const MixShape& shape = golden.shape;
    const std::string name = TraitsOf(shape.mapping).name;
    SCOPED_TRACE(name);
    std::vector<double> matrix(golden.matrix.size());
    ASSERT_OK(cpu::MixForward<double>({.shape = shape,
                                       .tokens = 1,
                                       .logits = golden.logits.data(),
                                       .logits_stride = NumMixLogits(shape),
                                       .matrices = matrix.data(),
                                       .matrices_stride = shape.streams * shape.streams}));
    EXPECT_LE(RelativeError(matrix, golden.matrix), 1e-14);
    Worst("mapping against 50 digits, " + name, RelativeError(matrix, golden.matrix));
    if (golden.logits.empty()) continue;
    const std::vector<double> gradient = MapBackward(shape, golden.logits, golden.weights);
    EXPECT_LE(RelativeError(gradient, golden.gradient), 1e-12);
    Worst("its gradient, " + name, RelativeError(gradient, golden.gradient));
  }
}

TEST(Mapping, OneStreamHasNoGradient) {
  EXPECT_EQ(Map(Sinkhorn(1), std::vector<double>{-4.0, 900.0}), (std::vector<double>{1, 1}));
  for (const double gradient : MapBackward<double>(Sinkhorn(1), {-4.0, 900.0}, {2.0, -3.0})) {
    EXPECT_NEAR(gradient, 0.0, 1e-15);
  }
}

TEST(Mapping, FloatFollowsDoubleAlsoWhereItMustUseLogarithms) {
  for (const double scale : {1.0, 4.0, 10.0, 100.0}) {
    const std::vector<float> logits = Normal<float>(64 * 16, 5, scale);
    const std::vector<double> wide(logits.begin(), logits.end());
    const std::vector<float> weight = Normal<float>(64 * 16, 6);
    EXPECT_LE(RelativeError(Map(Sinkhorn(4), logits), Map(Sinkhorn(4), wide)), 1e-5) << scale;
    EXPECT_LE(RelativeError(MapBackward(Sinkhorn(4), logits, weight),
                            MapBackward(Sinkhorn(4), wide, {weight.begin(), weight.end()})),
              2e-5)
        << scale;
  }
}

TEST(Mapping, LogarithmsAndScalingsMeetWhereTheyHandOver) {
  // The same matrix just inside and just outside the linear range of float: a spread of 25.
  std::vector<float> inside = Normal<float>(16, 8), outside;
  inside[3] = -12.4999f, inside[9] = 12.4999f;
  outside = inside;
  outside[3] = -12.5001f, outside[9] = 12.5001f;
  EXPECT_LE(RelativeError(Map(Sinkhorn(4), inside), Map(Sinkhorn(4), outside)), 1e-3);
  const std::vector<float> weight = Normal<float>(16, 9);
  EXPECT_LE(RelativeError(MapBackward(Sinkhorn(4), inside, weight),
                          MapBackward(Sinkhorn(4), outside, weight)),
            1e-3);
}

template <typename T>
void ExpectStochasticAtHugeLogits() {
  std::vector<T> logits = Normal<T>(200 * 16, 10, 1000.0);
  for (int64_t k = 0; k < 16; ++k) logits[size_t(k)] = k < 4 ? T(1000) : T(-1000);
  for (int64_t k = 16; k < 32; ++k) logits[size_t(k)] = k % 4 == 0 ? T(1000) : T(-1000);
  const std::vector<T> matrices = Map(Sinkhorn(4), logits);
  const std::vector<T> gradient = MapBackward(Sinkhorn(4), logits, Normal<T>(200 * 16, 11));
  for (size_t row = 0; row < matrices.size(); row += 4) {
    double sum = 0.0;
    for (size_t j = 0; j < 4; ++j) {
      EXPECT_GE(matrices[row + j], T(0));
      EXPECT_TRUE(std::isfinite(gradient[row + j]));
      sum += double(matrices[row + j]);
    }
    EXPECT_NEAR(sum, 1.0, sizeof(T) == 8 ? 1e-12 : 1e-6);
  }
}

TEST(Mapping, HugeLogitsStayStochasticInDouble) { ExpectStochasticAtHugeLogits<double>(); }
TEST(Mapping, HugeLogitsStayStochasticInFloat) { ExpectStochasticAtHugeLogits<float>(); }

TEST(Mapping, AShiftOfAllLogitsChangesNothing) {
  const std::vector<double> logits = Normal(16, 12);
  std::vector<double> shifted = logits;
  for (double& logit : shifted) logit += 512.0;
  EXPECT_LE(RelativeError(Map(Sinkhorn(4), shifted), Map(Sinkhorn(4), logits)), 1e-12);
}

TEST(Mapping, ManyIterationsStayInRange) {
  const std::vector<float> logits = Normal<float>(40 * 16, 13, 6.0);
  const std::vector<float> matrices = Map(Sinkhorn(4, 1000), logits);
  for (const float entry : matrices) EXPECT_TRUE(entry >= 0.0f && entry <= 1.0001f) << entry;
}

TEST(Mapping, NanLogitsStayVisibleAndAlone) {
  std::vector<float> logits = Normal<float>(3 * 16, 14);
  const std::vector<float> clean = Map(Sinkhorn(4), logits);
  logits[20] = std::nanf("");
  const std::vector<float> got = Map(Sinkhorn(4), logits);
  EXPECT_TRUE(std::isnan(got[20]));
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + 16, clean.begin()));
  EXPECT_TRUE(std::equal(got.begin() + 32, got.end(), clean.begin() + 32));
}

TEST(Mapping, BitsDoNotDependOnNeighboursOrRepetition) {
  const std::vector<float> logits = Normal<float>(29 * 16, 15, 6.0);
  const std::vector<float> weight = Normal<float>(29 * 16, 16);
  const std::vector<float> all = Map(Sinkhorn(4), logits);
  const std::vector<float> gradient = MapBackward(Sinkhorn(4), logits, weight);
  EXPECT_EQ(Map(Sinkhorn(4), logits), all);
  EXPECT_EQ(MapBackward(Sinkhorn(4), logits, weight), gradient);
  for (int64_t t = 0; t < 29; ++t) {
    const auto token = [t](const std::vector<float>& rows) {
      return std::vector<float>(rows.begin() + t * 16, rows.begin() + (t + 1) * 16);
    };
    EXPECT_EQ(Map(Sinkhorn(4), token(logits)), token(all));
    EXPECT_EQ(MapBackward(Sinkhorn(4), token(logits), token(weight)), token(gradient));
  }
}

TEST(Mapping, NoTokensIsNoWork) {
  ASSERT_OK(cpu::MixForward<double>({.logits_stride = 16, .matrices_stride = 16}));
  ASSERT_OK(cpu::MixBackward<double>({.logits_stride = 16, .dmatrices_stride = 16}));
}

TEST(Mapping, RefusesWhatItCannotDo) {
  const auto forward = [](MixShape shape, int64_t tokens, int64_t logits_stride,
                          int64_t matrices_stride) {
    double logits[64] = {}, matrices[64];
    return cpu::MixForward<double>({.shape = shape,
                                    .tokens = tokens,
                                    .logits = logits,
                                    .logits_stride = logits_stride,
                                    .matrices = matrices,
                                    .matrices_stride = matrices_stride});
  };
  ExpectRefused(forward(Sinkhorn(9), 1, 81, 81), "mapping: streams=9; need 1 to 8");
  ExpectRefused(forward({.mapping = MappingKind::kPermutations, .streams = 5}, 1, 120, 25),
                "mapping: streams=5; need 1 to 4 with permutations");
  ExpectRefused(forward(Sinkhorn(4, 0), 1, 16, 16),
                "mapping: sinkhorn_iterations=0; need 1 to 1000");
  ExpectRefused(forward(Sinkhorn(4), -1, 16, 16), "mapping forward: tokens=-1; need tokens >= 0");
  ExpectRefused(forward(Sinkhorn(4), 1, 15, 16),
                "mapping forward: logits_stride=15; need at least 16 logits");
  ExpectRefused(forward(Sinkhorn(4), 1, 16, 15),
                "mapping forward: matrices_stride=15; need at least 16");
  ExpectRefused(cpu::MixForward<double>({.tokens = 1, .logits_stride = 16, .matrices_stride = 16}),
                "mapping forward: logits is null; need a buffer");
  ExpectRefused(
      cpu::MixBackward<double>({.tokens = 1, .logits_stride = 16, .dmatrices_stride = 16}),
      "mapping backward: workspace is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
