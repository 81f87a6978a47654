// The boundary on the CPU: tokens worked out by hand, what holds for every kind and shape,
// refusals.  Its gradients: boundary_gradient_test.cc.
#include "kernels/boundary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/boundary_fixture.h"

namespace birkhoff {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// ---- hand-computed cases ------------------------------------------------------------------------

TEST(Boundary, MhcOfAHandComputedToken) {
  // n = 2, C = 1: X = (3, 4), mean square 12.5, r = sqrt(12.5 + 3.5) = 4.
  const BoundaryShape shape = {.kind = BoundaryKind::kMhc,
                               .sinkhorn_iterations = 1,
                               .streams = 2,
                               .tokens = 1,
                               .channels = 1,
                               .mix_eps = 3.5,
                               .norm_eps = 1e-9};
  BoundaryWeights<double> weights;
  // v phi: stream 0 contributes 3 phi[0], stream 1 contributes 4 phi[1]; then / 4.
  weights.projection = {4, 0, 0, 0, /**/ 0, 0, 0, 4,   // stream 0: p0 = 3, s11 = 3
                        0, 1, 2, 0, /**/ 0, 0, 0, 0};  // stream 1: p1 = 1, q0 = 2
  weights.alpha = {0.5, 2.0, 1.0};
  weights.bias = {0.5, 0.0, -4.0, 1.0, /**/ 0.0, 0.0, std::log(3.0), -3.0};
  weights.gamma = {5.0};
  BoundaryState<double> state(shape);
  state.x = {3, 4};
  ASSERT_OK(cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, state)));
  // Logits of H_res: [[0, 0], [log 3, 3 - 3]] -> exp [[1, 1], [3, 1]]
  // columns / 4, / 2: [[1/4, 1/2], [3/4, 1/2]]; rows / (3/4), / (5/4): [[1/3, 2/3], [3/5, 2/5]]
  const double pre0 = Sigmoid(2.0), pre1 = Sigmoid(0.5);
  const std::vector<double> want = {pre0,    pre1,    1.0,     2 * Sigmoid(1.0),
                                    1.0 / 3, 2.0 / 3, 3.0 / 5, 2.0 / 5};
  EXPECT_LE(RelativeError(state.coefficients, want), 1e-15);
  EXPECT_LE(RelativeError(state.logits, std::vector<double>{3, 1, 2, 0, 0, 0, 0, 3, 0.25}), 1e-15);
  EXPECT_NEAR(state.norm_inv_rms[0], 1.0 / (3 * pre0 + 4 * pre1), 1e-9);
  EXPECT_NEAR(state.norm_out[0], 5.0, 1e-8);

  // The merge with y = 10: H_res X = (1 + 8/3, 9/5 + 8/5), plus H_post y.
  const std::vector<double> y = {10.0};
  BoundaryState<double> above(shape);
  BoundaryForwardArgs<double> merge = ForwardArgs(shape, BoundarySink::kNone, weights, above);
  merge.source = MergeOf(state, y);
  ASSERT_OK(cpu::BoundaryForward(merge));
  EXPECT_LE(
      RelativeError(above.x, std::vector<double>{11.0 / 3 + 10.0, 17.0 / 5 + 20.0 * Sigmoid(1.0)}),
      1e-15);
}

TEST(Boundary, HcOfAHandComputedToken) {
  // n = 2, C = 2: X = ((3, 4), (0, 0)); xn_0 = (3, 4) / sqrt(12.5 + 3.5) = (0.75, 1), xn_1 = 0.
  const BoundaryShape shape = {.kind = BoundaryKind::kHc,
                               .streams = 2,
                               .tokens = 1,
                               .channels = 2,
                               .mix_eps = 3.5,
                               .norm_eps = 1e-9};
  BoundaryWeights<double> weights;
  weights.projection = {4, 0, /*pre*/ 0, 2, /*post*/ 0, 1, /*res 0*/ -4, 0 /*res 1*/};
  weights.alpha = {0.5, 2.0, 3.0};
  weights.bias = {1, 0, 0, 1, /**/ 1, 0, 0, 1};
  weights.gamma = {1, 1};
  BoundaryState<double> state(shape);
  state.x = {3, 4, 0, 0};
  ASSERT_OK(cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, state)));
  const std::vector<double> want = {1 + 0.5 * std::tanh(3.0), 0, 2 * std::tanh(2.0),  1,
                                    1 + 3 * std::tanh(1.0),   0, 3 * std::tanh(-3.0), 1};
  EXPECT_LE(RelativeError(state.coefficients, want), 1e-15);
}

TEST(Boundary, ResidualIsAddAndRmsNorm) {
  const BoundaryShape shape = {
      .kind = BoundaryKind::kResidual, .streams = 1, .tokens = 1, .channels = 2, .norm_eps = 3.5};
  BoundaryWeights<double> weights;
  weights.gamma = {8, 16};
  BoundaryState<double> state(shape);
  const std::vector<double> x = {1, 1}, y = {2, 3};
  BoundaryForwardArgs<double> args = ForwardArgs(shape, BoundarySink::kSubLayer, weights, state);
  args.source = {.kind = BoundarySource::kMerge, .x = x.data(), .y = y.data()};
  ASSERT_OK(cpu::BoundaryForward(args));
  EXPECT_EQ(state.x, (std::vector<double>{3, 4}));
  EXPECT_EQ(state.norm_out, (std::vector<double>{6, 16}));  // rms = sqrt(12.5 + 3.5) = 4
}

TEST(Boundary, HeadReadsMeanOrSumOfTheStreams) {
  const BoundaryShape shape = {.streams = 2, .tokens = 1, .channels = 2, .norm_eps = 3.5};
  BoundaryWeights<double> weights;
  weights.gamma = {1, 2};
  BoundaryState<double> state(shape);
  state.x = {2, 8, 4, 0};
  BoundaryForwardArgs<double> args = ForwardArgs(shape, BoundarySink::kHead, weights, state);
  ASSERT_OK(cpu::BoundaryForward(args));
  EXPECT_EQ(state.contracted, (std::vector<double>{3, 4}));
  EXPECT_EQ(state.norm_out, (std::vector<double>{0.75, 2.0}));
  args.contract = StreamContract::kSum;
  ASSERT_OK(cpu::BoundaryForward(args));
  EXPECT_EQ(state.contracted, (std::vector<double>{6, 8}));
}

TEST(Boundary, EmbeddingOpensTheStreamsAndThePrefix) {
  const BoundaryShape shape = {.streams = 2, .tokens = 2, .channels = 2};
  const std::vector<double> table = {1, 2, 3, 4, 5, 6};
  const std::vector<int32_t> ids = {2, 0};
  BoundaryState<double> state(shape);
  BoundaryForwardArgs<double> args = ForwardArgs<double>(shape, BoundarySink::kNone, {}, state);
  args.source = {.kind = BoundarySource::kEmbed,
                 .embedding = table.data(),
                 .ids = ids.data(),
                 .vocabulary = 3};
  args.prefix = state.prefix.data();
  ASSERT_OK(cpu::BoundaryForward(args));
  EXPECT_EQ(state.x, (std::vector<double>{5, 6, 5, 6, 1, 2, 1, 2}));
  EXPECT_EQ(state.prefix, (std::vector<double>{1, 0, 0, 1, 1, 0, 0, 1}));
  args.source.expand = StreamExpand::kOneHot;
  ASSERT_OK(cpu::BoundaryForward(args));
  EXPECT_EQ(state.x, (std::vector<double>{5, 6, 0, 0, 1, 2, 0, 0}));
}

TEST(Boundary, PrefixAndSuffixMultiplyFromTheirOwnSides) {
  const BoundaryShape shape = {.kind = BoundaryKind::kHc, .streams = 2, .tokens = 1, .channels = 1};
  const std::vector<double> x = {0, 0}, y = {0};
  std::vector<double> h = {0, 0, 0, 0, /*H_res*/ 1, 2, 3, 4}, product = {5, 6, 7, 8};
  BoundaryState<double> state(shape);
  BoundaryForwardArgs<double> forward = ForwardArgs<double>(shape, BoundarySink::kNone, {}, state);
  forward.source = {
      .kind = BoundarySource::kMerge, .x = x.data(), .y = y.data(), .coefficients = h.data()};
  forward.prefix_below = forward.prefix = product.data();  // in place
  ASSERT_OK(cpu::BoundaryForward(forward));
  EXPECT_EQ(product, (std::vector<double>{19, 22, 43, 50}));  // H P

  product = {5, 6, 7, 8};
  const BoundaryWeights<double> weights(shape, 1);
  BoundaryWeights<double> gradients = weights.Zeros();
  std::vector<double> dx = {1, 1}, workspace(size_t(cpu::BoundaryWorkspaceElements(shape)));
  const std::vector<double> logits(size_t(LogitsPerToken(shape)), 0.5);
  BoundaryBackwardArgs<double> backward;
  backward.shape = shape;
  backward.dx_above = backward.dx = dx.data();
  backward.x = x.data(), backward.y = y.data(), backward.dnorm = y.data();
  backward.norm_inv_rms = x.data(), backward.coefficients = h.data();
  backward.logits = logits.data(), backward.parameters = weights.view();
  backward.gradients = gradients.gradient_view(), backward.workspace = workspace.data();
  backward.suffix_above = backward.suffix = product.data();
  ASSERT_OK(cpu::BoundaryBackward(backward));
  EXPECT_EQ(product, (std::vector<double>{23, 34, 31, 46}));  // S H
}

TEST(Boundary, SavesFortyNineNumbersAtFourStreams) {
  EXPECT_EQ(SavedPerToken({.streams = 4}), 49);
  EXPECT_EQ(SavedPerToken({.kind = BoundaryKind::kHc, .streams = 4}), 24 + 28);
  EXPECT_EQ(SavedPerToken({.kind = BoundaryKind::kResidual, .streams = 1}), 0);
  EXPECT_EQ(SavedPerToken({.mapping = MappingKind::kPermutations, .streams = 4}), 24 + 8 + 24 + 1);
  EXPECT_EQ(SavedPerToken({.mapping = MappingKind::kIdentity, .streams = 4}), 24 + 8 + 1);
  EXPECT_EQ(SavedPerToken({.mapping = MappingKind::kRetention, .streams = 4}), 24 + 8 + 1);
  EXPECT_EQ(SavedPerToken({.mapping = MappingKind::kGatedResidual, .streams = 4}), 24 + 4 + 1);
  EXPECT_EQ(SavedPerToken({.mapping = MappingKind::kStatic, .streams = 4}), 24 + 1);
}

// ---- properties ---------------------------------------------------------------------------------

// H_pre = 1 / n by its bias, H_post = 1, H_res = I: with equal streams the plain residual.
TEST(Boundary, MhcAtItsIdentityIsThePlainResidual) {
  const BoundaryShape mhc = {
      .mapping = MappingKind::kIdentity, .streams = 4, .tokens = 9, .channels = 16};
  BoundaryShape plain = mhc;
  plain.kind = BoundaryKind::kResidual;
  plain.streams = 1;
  BoundaryWeights<double> weights(mhc, 1), plain_weights(plain, 1);
  plain_weights.gamma = weights.gamma;
  weights.projection.assign(weights.projection.size(), 0.0);
  weights.bias = {0, 0, 0, 0, 0, 0, 0, 0};
  for (size_t j = 0; j < 4; ++j) weights.bias[j] = std::log(1.0 / 3.0);  // sigmoid = 1 / 4
  const std::vector<double> table = Normal(7 * 16, 2), y = Normal(9 * 16, 3);
  const std::vector<int32_t> ids = {0, 1, 2, 3, 4, 5, 6, 0, 3};
  const BoundarySourceArgs<double> embed = {.kind = BoundarySource::kEmbed,
                                            .embedding = table.data(),
                                            .ids = ids.data(),
                                            .vocabulary = 7};
  const auto run = [&](const BoundaryShape& shape, const BoundaryWeights<double>& parameters) {
    BoundaryState<double> first(shape), second(shape), head(shape);
    BoundaryForwardArgs<double> args =
        ForwardArgs(shape, BoundarySink::kSubLayer, parameters, first);
    args.source = embed;
    EXPECT_TRUE(cpu::BoundaryForward(args).ok());
    args = ForwardArgs(shape, BoundarySink::kSubLayer, parameters, second);
    args.source = MergeOf(first, y);
    EXPECT_TRUE(cpu::BoundaryForward(args).ok());
    args = ForwardArgs(shape, BoundarySink::kHead, parameters, head);
    args.source = MergeOf(second, y);
    EXPECT_TRUE(cpu::BoundaryForward(args).ok());
    std::vector<double> outputs = first.norm_out;
    outputs.insert(outputs.end(), second.norm_out.begin(), second.norm_out.end());
    outputs.insert(outputs.end(), head.norm_out.begin(), head.norm_out.end());
    return outputs;
  };
  const double error = RelativeError(run(mhc, weights), run(plain, plain_weights));
  EXPECT_LE(error, 1e-14);
  Worst("mhc as the identity against the plain residual, boundary", error);
}

template <typename T>
void ExpectRecomputeGivesForwardsBits(const BoundaryShape& shape, double scale) {
  const int64_t width = shape.streams * shape.channels;
  const BoundaryWeights<T> weights(shape, 1, scale);
  BoundaryState<T> below(shape), above(shape);
  below.x = Normal<T>(shape.tokens * width, 5);
  ASSERT_OK(cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, below)));
  const std::vector<T> y = Normal<T>(shape.tokens * shape.channels, 6);
  for (const BoundarySink sink : {BoundarySink::kSubLayer, BoundarySink::kHead}) {
    BoundaryForwardArgs<T> forward = ForwardArgs(shape, sink, weights, above);
    forward.source = MergeOf(below, y);
    ASSERT_OK(cpu::BoundaryForward(forward));
    std::vector<T> x(above.x.size()), norm_out(above.norm_out.size());
    ASSERT_OK(cpu::BoundaryRecompute<T>({.shape = shape,
                                         .source = forward.source,
                                         .x = x.data(),
                                         .sink = sink,
                                         .gamma = weights.gamma.data(),
                                         .coefficients = above.coefficients.data(),
                                         .norm_inv_rms = above.norm_inv_rms.data(),
                                         .norm_out = norm_out.data()}));
    EXPECT_EQ(x, above.x);
    EXPECT_EQ(norm_out, above.norm_out);
  }
}

class BoundaryShapes : public testing::TestWithParam<BoundaryCase> {};
INSTANTIATE_TEST_SUITE_P(All, BoundaryShapes, testing::ValuesIn(BoundaryCases()));

TEST_P(BoundaryShapes, RecomputeGivesTheBitsOfForward) {
  ExpectRecomputeGivesForwardsBits<float>(GetParam().shape(), GetParam().scale);
  ExpectRecomputeGivesForwardsBits<double>(GetParam().shape(), GetParam().scale);
}

TEST_P(BoundaryShapes, MergeMayBeInPlace) {
  const BoundaryShape shape = GetParam().shape();
  const BoundaryWeights<float> weights(shape, 1);
  BoundaryState<float> below(shape), above(shape);
  below.x = Normal<float>(int64_t(below.x.size()), 5);
  ASSERT_OK(cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, below)));
  const std::vector<float> y = Normal<float>(shape.tokens * shape.channels, 6);
  BoundaryForwardArgs<float> args = ForwardArgs(shape, BoundarySink::kSubLayer, weights, above);
  args.source = MergeOf(below, y);
  ASSERT_OK(cpu::BoundaryForward(args));
  args.x = below.x.data();
  ASSERT_OK(cpu::BoundaryForward(args));
  EXPECT_EQ(below.x, above.x);
}

// Forward and backward over one boundary at rows of zeros; every number that comes out.
template <typename T>
std::vector<T> AllOutputs(const BoundaryShape& shape, const std::vector<T>& x, double scale) {
  const int64_t width = shape.streams * shape.channels;
  const BoundaryWeights<T> weights(shape, 1, scale);
  BoundaryWeights<T> gradients = weights.Zeros();
  BoundaryState<T> state(shape);
  state.x = x;
  EXPECT_TRUE(
      cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, state)).ok());
  const std::vector<T> y = Normal<T>(shape.tokens * shape.channels, 6);
  const std::vector<T> dnorm = Normal<T>(shape.tokens * shape.channels, 7);
  const std::vector<T> dx_above = Normal<T>(shape.tokens * width, 8);
  std::vector<T> dx(x.size()), dy(y.size()),
      workspace(size_t(cpu::BoundaryWorkspaceElements(shape)));
  BoundaryBackwardArgs<T> args;
  args.shape = shape;
  args.dx_above = dx_above.data(), args.x = state.x.data(), args.y = y.data();
  args.dnorm = dnorm.data(), args.norm_inv_rms = state.norm_inv_rms.data();
  args.coefficients = args.coefficients_below = state.coefficients.data();
  args.logits = state.logits.data(), args.parameters = weights.view();
  args.gradients = gradients.gradient_view(), args.dx = dx.data();
  args.source = BoundarySource::kMerge, args.dy_below = dy.data();
  args.workspace = workspace.data();
  EXPECT_TRUE(cpu::BoundaryBackward(args).ok());
  std::vector<T> all;
  for (const std::vector<T>* each :
       {&state.coefficients, &state.logits, &state.norm_out, &state.norm_inv_rms, &dx, &dy,
        &gradients.projection, &gradients.alpha, &gradients.bias, &gradients.gamma}) {
    all.insert(all.end(), each->begin(), each->end());
  }
  return all;
}

TEST_P(BoundaryShapes, TwoRunsGiveTheSameBits) {
  const BoundaryShape shape = GetParam().shape();
  const std::vector<float> x = Normal<float>(shape.tokens * shape.streams * shape.channels, 9);
  EXPECT_EQ(AllOutputs(shape, x, GetParam().scale), AllOutputs(shape, x, GetParam().scale));
}

TEST_P(BoundaryShapes, FloatFollowsDouble) {
  const BoundaryShape shape = GetParam().shape();
  const std::vector<float> x = Normal<float>(shape.tokens * shape.streams * shape.channels, 9);
  const std::vector<double> wide(x.begin(), x.end());
  EXPECT_LE(RelativeError(AllOutputs(shape, x, 1.0), AllOutputs(shape, wide, 1.0)), 1e-5);
}

TEST_P(BoundaryShapes, ZeroRowsGiveFiniteNumbers) {
  BoundaryShape shape = GetParam().shape();
  shape.mix_eps = shape.norm_eps = 1e-20;  // the paper's: 1 / r is 1e10 at a row of zeros
  std::vector<float> x = Normal<float>(shape.tokens * shape.streams * shape.channels, 9);
  std::fill(x.begin(), x.begin() + shape.streams * shape.channels, 0.0f);  // token 0
  for (const float value : AllOutputs(shape, x, GetParam().scale)) {
    ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(Boundary, LargeLogitsGiveFiniteNumbers) {
  const BoundaryShape shape = {.streams = 4, .tokens = 20, .channels = 8};
  const std::vector<float> x = Normal<float>(20 * 4 * 8, 9, 50.0);
  for (const float value : AllOutputs(shape, x, 1000.0)) ASSERT_TRUE(std::isfinite(value));
}

TEST_P(BoundaryShapes, NoTokensIsNoWork) {
  BoundaryShape shape = GetParam().shape();
  shape.tokens = 0;
  ASSERT_OK(cpu::BoundaryForward<float>({.shape = shape}));
  ASSERT_OK(cpu::BoundaryRecompute<float>({.shape = shape}));
  ASSERT_OK(cpu::BoundaryBackward<float>({.shape = shape}));
}

// ---- refusals -----------------------------------------------------------------------------------

absl::Status ForwardOf(const BoundaryShape& shape) {
  return cpu::BoundaryForward<double>({.shape = shape});
}

TEST(Boundary, RefusesWrongShapes) {
  ExpectRefused(ForwardOf({.kind = BoundaryKind::kResidual, .streams = 4, .channels = 8}),
                "boundary forward: streams=4; need 1 for the plain residual");
  ExpectRefused(ForwardOf({.streams = 0, .channels = 8}), "mapping: streams=0; need 1 to 8");
  ExpectRefused(ForwardOf({.tokens = -1, .channels = 8}),
                "boundary forward: tokens=-1; need 0 <= tokens * n < 2^31");
  ExpectRefused(ForwardOf({.channels = 0}),
                "boundary forward: channels=0; need 0 < channels * n < 2^31");
  ExpectRefused(ForwardOf({.channels = 8, .mix_eps = 0.0}),
                "boundary forward: mix_eps=0; need mix_eps > 0");
  ExpectRefused(ForwardOf({.channels = 8, .norm_eps = -kInfinity}),
                "boundary forward: norm_eps=-inf; need norm_eps > 0");
}

TEST(Boundary, RefusesMissingBuffersByName) {
  const BoundaryShape shape = {.streams = 2, .tokens = 1, .channels = 2};
  BoundaryState<double> state(shape);
  BoundaryForwardArgs<double> args =
      ForwardArgs<double>(shape, BoundarySink::kSubLayer, BoundaryWeights<double>(shape, 1), state);
  args.logits = nullptr;
  ExpectRefused(cpu::BoundaryForward(args), "boundary forward: logits is null; need a buffer");
  args.source.kind = BoundarySource::kMerge;
  ExpectRefused(cpu::BoundaryForward(args), "boundary forward: source.x is null; need a buffer");
  ExpectRefused(cpu::BoundaryRecompute<double>({.shape = shape}),
                "boundary recompute: x is null; need a buffer");
  BoundaryBackwardArgs<double> backward;
  backward.shape = shape;
  backward.dx = state.x.data();
  ExpectRefused(cpu::BoundaryBackward(backward), "boundary backward: dnorm is null; need a buffer");
}

TEST(Boundary, RefusesIdsBeyondTheVocabulary) {
  const BoundaryShape shape = {.streams = 2, .tokens = 2, .channels = 2};
  const std::vector<double> table(6);
  const std::vector<int32_t> ids = {1, 3};
  BoundaryState<double> state(shape);
  BoundaryForwardArgs<double> args = ForwardArgs<double>(shape, BoundarySink::kNone, {}, state);
  args.source = {.kind = BoundarySource::kEmbed,
                 .embedding = table.data(),
                 .ids = ids.data(),
                 .vocabulary = 3};
  ExpectRefused(cpu::BoundaryForward(args), "boundary forward: ids[1]=3; need 0 <= id < 3");
  EXPECT_EQ(state.x[0], -7.0);  // nothing was written
  BoundaryRecomputeArgs<double> recompute;
  recompute.shape = shape, recompute.sink = BoundarySink::kNone;
  recompute.source = args.source, recompute.x = state.x.data();
  ExpectRefused(cpu::BoundaryRecompute(recompute),
                "boundary recompute: ids[1]=3; need 0 <= id < 3");
  std::vector<double> dembedding(6, -7.0);
  BoundaryBackwardArgs<double> backward;
  backward.shape = shape, backward.sink = BoundarySink::kNone, backward.dx = state.x.data();
  backward.source = BoundarySource::kEmbed, backward.dembedding = dembedding.data();
  backward.ids = ids.data(), backward.vocabulary = 3;
  ExpectRefused(cpu::BoundaryBackward(backward), "boundary backward: ids[1]=3; need 0 <= id < 3");
  EXPECT_EQ(dembedding[0], -7.0);
}

TEST(Boundary, IsCheckedWithoutReadingIds) {
  const BoundaryShape shape = {.streams = 2, .tokens = 2, .channels = 2};
  const auto* const garbage = reinterpret_cast<const int32_t*>(uintptr_t{64});
  std::vector<double> table(6);
  BoundaryState<double> state(shape);
  BoundaryForwardArgs<double> forward = ForwardArgs<double>(shape, BoundarySink::kNone, {}, state);
  forward.source = {
      .kind = BoundarySource::kEmbed, .embedding = table.data(), .ids = garbage, .vocabulary = 3};
  ASSERT_OK(Validate(forward));
  BoundaryRecomputeArgs<double> recompute;
  recompute.shape = shape, recompute.sink = BoundarySink::kNone;
  recompute.source = forward.source, recompute.x = state.x.data();
  ASSERT_OK(Validate(recompute));
  BoundaryBackwardArgs<double> backward;
  backward.shape = shape, backward.sink = BoundarySink::kNone, backward.dx = state.x.data();
  backward.source = BoundarySource::kEmbed, backward.dembedding = table.data();
  backward.ids = garbage, backward.vocabulary = 3;
  ASSERT_OK(Validate(backward));
}

}  // namespace
}  // namespace birkhoff
