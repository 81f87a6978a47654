// Rotary embedding and attention on the CPU: tokens worked out by hand, the definition one score at
// a time, central differences.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// ---- rope ---------------------------------------------------------------------------------------

TEST(Rope, RotatesTheHalvesAgainstEachOther) {
  // D = 4, theta = 4 / pi^2 ... frequencies 1 and theta^(-1/2) = pi / 2; position 1.
  constexpr double kPi = std::numbers::pi;
  std::vector<double> x = {1, 1, 0, 0};
  const std::vector<int32_t> positions = {1};
  ASSERT_OK(cpu::RopeForward<double>({.tokens = 1,
                                      .heads = 1,
                                      .head_dim = 4,
                                      .theta = 4 / (kPi * kPi),
                                      .positions = positions.data(),
                                      .x = x.data(),
                                      .stride = 4}));
  EXPECT_LE(RelativeError(x, std::vector<double>{std::cos(1.0), 0, std::sin(1.0), 1}), 1e-15);
}

TEST(Rope, LeavesPositionZeroAndWhatLiesBehindTheHeads) {
  std::vector<float> x = Normal<float>(2 * 20, 1);
  const std::vector<float> before = x;
  const std::vector<int32_t> positions = {0, 9};
  ASSERT_OK(cpu::RopeForward<float>({.tokens = 2,
                                     .heads = 2,
                                     .head_dim = 6,
                                     .positions = positions.data(),
                                     .x = x.data(),
                                     .stride = 20}));
  EXPECT_TRUE(std::equal(x.begin(), x.begin() + 20, before.begin()));
  EXPECT_FALSE(std::equal(x.begin() + 20, x.begin() + 32, before.begin() + 20));
  EXPECT_TRUE(std::equal(x.begin() + 32, x.end(), before.begin() + 32));
}

TEST(Rope, BackwardUndoesForward) {
  std::vector<double> x = Normal(5 * 2 * 150, 2);  // wider than one slice of the table
  const std::vector<double> before = x;
  const std::vector<int32_t> positions = {0, 1, 7, 4095, 131071};
  const RopeArgs<double> args = {.tokens = 5,
                                 .heads = 2,
                                 .head_dim = 150,
                                 .positions = positions.data(),
                                 .x = x.data(),
                                 .stride = 300};
  ASSERT_OK(cpu::RopeForward(args));
  EXPECT_GT(RelativeError(x, before), 0.1);
  ASSERT_OK(cpu::RopeBackward(args));
  EXPECT_LE(RelativeError(x, before), 1e-14);
}

TEST(Rope, TurnsEveryChannelByItsOwnFrequency) {
  constexpr int kDim = 150;  // wider than one slice of the table
  std::vector<double> x(kDim, 0.0);
  std::fill_n(x.begin(), kDim / 2, 1.0);
  const std::vector<int32_t> positions = {3};
  ASSERT_OK(cpu::RopeForward<double>({.tokens = 1,
                                      .heads = 1,
                                      .head_dim = kDim,
                                      .theta = 500.0,
                                      .positions = positions.data(),
                                      .x = x.data(),
                                      .stride = kDim}));
  for (size_t i = 0; i < kDim / 2; ++i) {
    const double angle = 3.0 * std::pow(500.0, -2.0 * double(i) / kDim);
    EXPECT_NEAR(x[i], std::cos(angle), 1e-14) << i;
    EXPECT_NEAR(x[kDim / 2 + i], std::sin(angle), 1e-14) << i;
  }
}

TEST(Rope, MakesScoresDependOnDistanceAlone) {
  const std::vector<double> q = Normal(8, 3), k = Normal(8, 4);
  const auto score = [&](int32_t at_q, int32_t at_k) {
    std::vector<double> both = q;
    both.insert(both.end(), k.begin(), k.end());
    const std::vector<int32_t> positions = {at_q, at_k};
    EXPECT_TRUE(cpu::RopeForward<double>({.tokens = 2,
                                          .heads = 1,
                                          .head_dim = 8,
                                          .positions = positions.data(),
                                          .x = both.data(),
                                          .stride = 8})
                    .ok());
    double sum = 0.0;
    for (size_t i = 0; i < 8; ++i) sum += both[i] * both[8 + i];
    return sum;
  };
  EXPECT_NEAR(score(5, 2), score(105, 102), 1e-12);
  EXPECT_GT(std::abs(score(5, 2) - score(5, 3)), 1e-3);
}

TEST(Rope, RefusesWrongArguments) {
  const auto rope = [](int head_dim, double theta, int64_t stride) {
    return cpu::RopeForward<float>(
        {.tokens = 1, .heads = 2, .head_dim = head_dim, .theta = theta, .stride = stride});
  };
  ExpectRefused(rope(5, 1e4, 10), "rope: heads=2 head_dim=5; need heads >= 1 and an even head_dim");
  ExpectRefused(rope(4, 0.0, 8), "rope: theta=0; need theta > 0");
  ExpectRefused(rope(4, 1e4, 7), "rope: stride=7; need at least heads * head_dim");
  ExpectRefused(rope(4, 1e4, 8), "rope: positions is null; need a buffer");
}

// ---- attention ----------------------------------------------------------------------------------

// Queries, keys and values as one fused row [heads + 2 kv_heads, D] per token.
template <typename T>
struct Attention {
  Attention(int heads, int kv_heads, int head_dim, std::vector<int32_t> lengths)
      : starts(lengths.size() + 1) {
    for (size_t s = 0; s < lengths.size(); ++s) starts[s + 1] = starts[s] + lengths[s];
    shape = {.tokens = starts.back(),
             .heads = heads,
             .kv_heads = kv_heads,
             .head_dim = head_dim,
             .num_sequences = int(lengths.size()),
             .sequence_starts = starts.data(),
             .qkv_stride = (heads + 2 * kv_heads) * head_dim};
    qkv = Normal<T>(shape.tokens * shape.qkv_stride, 11);
    out.assign(size_t(shape.tokens * heads * head_dim), T(-7));
    lse.assign(size_t(shape.tokens * heads), T(-7));
    workspace.assign(size_t(cpu::AttentionWorkspaceElements(shape)), T(std::nan("")));
  }

  int64_t key_offset() const { return int64_t{shape.heads} * shape.head_dim; }
  int64_t value_offset() const { return key_offset() + int64_t{shape.kv_heads} * shape.head_dim; }

  absl::Status Forward() {
    return cpu::AttentionForward<T>({.shape = shape,
                                     .q = qkv.data(),
                                     .k = qkv.data() + key_offset(),
                                     .v = qkv.data() + value_offset(),
                                     .out = out.data(),
                                     .lse = lse.data(),
                                     .workspace = workspace.data()});
  }

  std::vector<T> Backward(const std::vector<T>& dout) {
    std::vector<T> dqkv(qkv.size(), T(-7));
    EXPECT_TRUE(cpu::AttentionBackward<T>({.shape = shape,
                                           .q = qkv.data(),
                                           .k = qkv.data() + key_offset(),
                                           .v = qkv.data() + value_offset(),
                                           .out = out.data(),
                                           .lse = lse.data(),
                                           .dout = dout.data(),
                                           .dq = dqkv.data(),
                                           .dk = dqkv.data() + key_offset(),
                                           .dv = dqkv.data() + value_offset(),
                                           .workspace = workspace.data()})
                    .ok());
    return dqkv;
  }

  // The definition, one score at a time.
  std::vector<double> Naive() const {
    std::vector<double> result(out.size());
    for (int64_t t = 0; t < shape.tokens; ++t) {
      for (int64_t h = 0; h < shape.heads; ++h) NaiveHead(t, h, result);
    }
    return result;
  }

  AttentionShape shape;
  std::vector<int32_t> starts;
  std::vector<T> qkv, out, lse, workspace;

 private:
  void NaiveHead(int64_t t, int64_t h, std::vector<double>& result) const {
    const int64_t D = shape.head_dim, kv = h / (shape.heads / shape.kv_heads);
    int64_t first = 0;
    for (const int32_t start : starts) first = start <= t ? start : first;
    double sum = 0.0;
    double* row = result.data() + (t * shape.heads + h) * D;
    for (int64_t s = first; s <= t; ++s) {
      double score = 0.0;
      for (int64_t d = 0; d < D; ++d) {
        score += double(qkv[size_t(t * shape.qkv_stride + h * D + d)]) *
                 double(qkv[size_t(s * shape.qkv_stride + key_offset() + kv * D + d)]);
      }
      const double weight = std::exp(score / std::sqrt(double(D)));
      sum += weight;
      for (int64_t d = 0; d < D; ++d) {
        row[d] += weight * double(qkv[size_t(s * shape.qkv_stride + value_offset() + kv * D + d)]);
      }
    }
    for (int64_t d = 0; d < D; ++d) row[d] /= sum;
  }
};

TEST(Attention, OfTwoHandComputedTokens) {
  // D = 1: q = (1, log 3), k = (1, 0) and v = (2, 10).  Token 0 sees itself; token 1 weighs
  // exp(log 3) = 3 against 1.
  Attention<double> a(1, 1, 1, {2});
  a.qkv = {1, 1, 2, std::log(3.0), 0, 10};
  ASSERT_OK(a.Forward());
  EXPECT_LE(RelativeError(a.out, std::vector<double>{2, (3 * 2 + 10) / 4.0}), 1e-15);
  EXPECT_LE(RelativeError(a.lse, std::vector<double>{1, std::log(4.0)}), 1e-15);
}

struct AttentionCase {
  int heads, kv_heads, head_dim;
  std::vector<int32_t> lengths;
};

class AttentionShapes : public testing::TestWithParam<AttentionCase> {
 protected:
  template <typename T>
  static Attention<T> Make() {
    const AttentionCase& c = GetParam();
    return Attention<T>(c.heads, c.kv_heads, c.head_dim, c.lengths);
  }
};

TEST_P(AttentionShapes, AgreeWithTheDefinition) {
  auto reference = Make<double>();
  ASSERT_OK(reference.Forward());
  EXPECT_LE(RelativeError(reference.out, reference.Naive()), 1e-14);
  auto training = Make<float>();
  ASSERT_OK(training.Forward());
  EXPECT_LE(RelativeError(training.out, training.Naive()), 2e-6);
}

TEST_P(AttentionShapes, BackwardAgreesWithCentralDifferences) {
  auto a = Make<double>();
  ASSERT_OK(a.Forward());
  const std::vector<double> dout = Normal(int64_t(a.out.size()), 12);
  const std::vector<double> dqkv = a.Backward(dout);
  if (a.shape.tokens > 40) {  // too many elements to move one by one: along a few directions
    for (uint64_t seed = 20; seed < 24; ++seed) {
      const std::vector<double> direction = Normal(int64_t(a.qkv.size()), seed), kept = a.qkv;
      const auto loss = [&](double step) {
        for (size_t i = 0; i < kept.size(); ++i) a.qkv[i] = kept[i] + step * direction[i];
        EXPECT_TRUE(a.Forward().ok());
        a.qkv = kept;
        return Inner(a.out, dout);
      };
      const double want = (loss(1e-5) - loss(-1e-5)) / 2e-5;
      EXPECT_NEAR(Inner(dqkv, direction), want, 1e-6 * std::abs(want));
    }
    return;
  }
  ExpectGradient("qkv", a.qkv, dqkv, [&] {
    EXPECT_TRUE(a.Forward().ok());
    return Inner(a.out, dout);
  });
}

TEST_P(AttentionShapes, FloatGradientFollowsDoubleAndRepeatsItsBits) {
  auto a = Make<double>();
  auto b = Make<float>();
  ASSERT_OK(a.Forward());
  ASSERT_OK(b.Forward());
  const std::vector<float> out = b.out;
  const std::vector<float> gradient = b.Backward(Normal<float>(int64_t(b.out.size()), 12));
  EXPECT_LE(RelativeError(gradient, a.Backward(Normal(int64_t(a.out.size()), 12))), 1e-5);
  ASSERT_OK(b.Forward());
  EXPECT_EQ(b.out, out);
  EXPECT_EQ(b.Backward(Normal<float>(int64_t(b.out.size()), 12)), gradient);
}

INSTANTIATE_TEST_SUITE_P(All, AttentionShapes,
                         testing::Values(AttentionCase{1, 1, 2, {3}},
                                         AttentionCase{4, 2, 3, {1, 5, 0, 2}},
                                         AttentionCase{6, 1, 4, {7}},
                                         AttentionCase{2, 2, 8, {64, 65}},
                                         AttentionCase{4, 1, 5, {130, 3}}));

TEST(Attention, SequencesDoNotSeeEachOther) {
  Attention<float> packed(2, 1, 4, {5, 6});
  ASSERT_OK(packed.Forward());
  const std::vector<float> before = packed.out;
  for (int64_t i = 0; i < 5 * packed.shape.qkv_stride; ++i) packed.qkv[size_t(i)] += 1.0f;
  ASSERT_OK(packed.Forward());
  EXPECT_TRUE(std::equal(before.begin() + 5 * 8, before.end(), packed.out.begin() + 5 * 8));
  EXPECT_FALSE(std::equal(before.begin(), before.begin() + 5 * 8, packed.out.begin()));
}

TEST(Attention, LargeScoresStayFinite) {
  Attention<float> a(2, 2, 4, {70});
  for (float& value : a.qkv) value *= 300.0f;
  ASSERT_OK(a.Forward());
  for (const float value : a.out) ASSERT_TRUE(std::isfinite(value));
  for (const float value : a.Backward(Normal<float>(int64_t(a.out.size()), 12))) {
    ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(Attention, OfNoTokensIsNoWork) {
  Attention<float> a(2, 1, 4, {});
  ASSERT_OK(a.Forward());
  EXPECT_EQ(cpu::AttentionWorkspaceElements(a.shape), 0);
}

TEST(Attention, RefusesWrongArguments) {
  const auto refused = [](void (*change)(Attention<float>&)) {
    Attention<float> a(4, 2, 4, {3, 2});
    change(a);
    a.shape.sequence_starts = a.starts.data();
    return a.Forward();
  };
  ExpectRefused(refused([](auto& a) { a.shape.kv_heads = 3; }),
                "attention forward: heads=4 kv_heads=3; need kv_heads >= 1 that divides heads");
  ExpectRefused(refused([](auto& a) { a.shape.head_dim = 0; }),
                "attention forward: head_dim=0; need head_dim >= 1");
  ExpectRefused(refused([](auto& a) { a.shape.qkv_stride = 15; }),
                "attention forward: qkv_stride=15; need at least heads * head_dim");
  ExpectRefused(refused([](auto& a) {
                  a.starts = {0, 3, 4};
                }),
                "attention forward: sequences from 0 to 4; need 0 to tokens=5");
  ExpectRefused(refused([](auto& a) {
                  a.starts = {0, 6, 5};
                }),
                "attention forward: sequence_starts[2]=5; need at least 6");
  ExpectRefused(refused([](auto& a) { a.shape.tokens = -1; }),
                "attention forward: tokens=-1 num_sequences=2; need neither below 0");
}

TEST(Attention, BackwardRefusesMissingBuffersByName) {
  Attention<float> a(2, 1, 4, {3});
  std::vector<float> dqkv(a.qkv.size());
  AttentionBackwardArgs<float> args = {.shape = a.shape,
                                       .q = a.qkv.data(),
                                       .k = a.qkv.data(),
                                       .v = a.qkv.data(),
                                       .out = nullptr,
                                       .lse = a.lse.data()};
  ExpectRefused(cpu::AttentionBackward(args), "attention backward: out is null; need a buffer");
  args.out = a.out.data();
  ExpectRefused(cpu::AttentionBackward(args), "attention backward: dout is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
