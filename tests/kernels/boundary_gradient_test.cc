// Boundary backward against central differences in float64: one boundary at a time, then a chain
// from embedding to head.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/boundary.h"
#include "tests/kernels/boundary_fixture.h"

namespace birkhoff {
namespace {

using Tensor = std::vector<double>;

// One sub-layer boundary: X -> (norm_out, and X of the next boundary for a given y), with a loss
// that weighs both.
struct SingleBoundary {
  explicit SingleBoundary(const BoundaryCase& c)
      : shape(c.shape()),
        weights(shape, 1, c.scale),
        state(shape),
        above(shape),
        y(Normal(shape.tokens * shape.channels, 5)),
        dnorm(Normal(shape.tokens * shape.channels, 6)),
        dx_above(Normal(shape.tokens * shape.streams * shape.channels, 7)) {
    state.x = Normal(int64_t(state.x.size()), 8);  // every stream its own
  }

  double Loss() {
    EXPECT_TRUE(
        cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, state)).ok());
    BoundaryForwardArgs<double> merge = ForwardArgs(shape, BoundarySink::kNone, weights, above);
    merge.source = MergeOf(state, y);
    EXPECT_TRUE(cpu::BoundaryForward(merge).ok());
    return Inner(state.norm_out, dnorm) + Inner(above.x, dx_above);
  }

  BoundaryShape shape;
  BoundaryWeights<double> weights;
  BoundaryState<double> state, above;
  Tensor y, dnorm, dx_above;
};

class BoundaryGradient : public testing::TestWithParam<BoundaryCase> {};
INSTANTIATE_TEST_SUITE_P(All, BoundaryGradient, testing::ValuesIn(BoundaryCases()));

TEST_P(BoundaryGradient, OfOneSubLayerAgreesWithCentralDifferences) {
  SingleBoundary b(GetParam());
  b.Loss();
  BoundaryWeights<double> gradients = b.weights.Zeros();
  Tensor dx = b.dx_above, dy(b.y.size());
  Tensor workspace(size_t(cpu::BoundaryWorkspaceElements(b.shape)), std::nan(""));
  // The boundary above gives dy: it received dX and merges.
  BoundaryBackwardArgs<double> close;
  close.shape = b.shape, close.sink = BoundarySink::kNone, close.dx = dx.data();
  close.source = BoundarySource::kMerge, close.dy_below = dy.data();
  close.coefficients_below = b.state.coefficients.data();
  ASSERT_OK(cpu::BoundaryBackward(close));
  BoundaryBackwardArgs<double> args;
  args.shape = b.shape;
  args.dx_above = args.dx = dx.data();  // in place
  args.x = b.state.x.data(), args.y = b.y.data(), args.dnorm = b.dnorm.data();
  args.norm_inv_rms = b.state.norm_inv_rms.data(), args.logits = b.state.logits.data();
  args.coefficients = b.state.coefficients.data();
  args.parameters = b.weights.view(), args.gradients = gradients.gradient_view();
  args.workspace = workspace.data();
  ASSERT_OK(cpu::BoundaryBackward(args));

  const auto loss = [&b] { return b.Loss(); };
  ExpectGradient("x", b.state.x, dx, loss);
  ExpectGradient("y", b.y, dy, loss);
  ExpectGradient("gamma", b.weights.gamma, gradients.gamma, loss);
  if (b.shape.kind == BoundaryKind::kResidual) return;
  ExpectGradient("projection", b.weights.projection, gradients.projection, loss);
  ExpectGradient("bias", b.weights.bias, gradients.bias, loss);
  ExpectGradient("alpha", b.weights.alpha, gradients.alpha, loss);
}

// Embedding, two sub-layers with F = sin, head; through the same calls that a stage makes.
class Chain {
 public:
  Chain(const BoundaryCase& c, StreamExpand expand, StreamContract contract)
      : shape_(c.shape()), expand_(expand), contract_(contract) {
    for (uint64_t l = 0; l < 3; ++l) {
      weights.emplace_back(shape_, 10 * l, c.scale);
      gradients.push_back(weights.back().Zeros());
      states_.emplace_back(shape_);
    }
    embedding = Normal(kVocabulary * shape_.channels, 40);
    dembedding.assign(embedding.size(), 0.0);
    for (int64_t t = 0; t < shape_.tokens; ++t) ids_.push_back(int32_t((t * 3 + 1) % kVocabulary));
    dnorm_ = Normal(shape_.tokens * shape_.channels, 41);
    y_.resize(2);
  }

  double Loss() {
    for (size_t l = 0; l < 3; ++l) Forward(l);
    return Inner(states_[2].norm_out, dnorm_);
  }

  void Backward() {
    Tensor dx(states_[0].x.size()), dy, dnorm = dnorm_;
    for (size_t l = 3; l-- > 0;) {
      dy.assign(dnorm.size(), 0.0);
      BackwardAt(l, dnorm, dx, dy);
      if (l == 0) return;
      for (size_t i = 0; i < dy.size(); ++i) {
        dnorm[i] = dy[i] * std::cos(states_[l - 1].norm_out[i]);
      }
    }
  }

  std::vector<BoundaryWeights<double>> weights, gradients;  // of two sub-layers and the head
  Tensor embedding, dembedding;
  bool equal_streams = false;

 private:
  static constexpr int64_t kVocabulary = 4;

  void Forward(size_t l) {
    BoundaryForwardArgs<double> args = ForwardArgs(
        shape_, l == 2 ? BoundarySink::kHead : BoundarySink::kSubLayer, weights[l], states_[l]);
    args.contract = contract_;
    if (l == 0) {
      args.source = {.kind = BoundarySource::kEmbed,
                     .embedding = embedding.data(),
                     .ids = ids_.data(),
                     .vocabulary = kVocabulary,
                     .expand = expand_};
    } else {
      y_[l - 1] = states_[l - 1].norm_out;
      for (double& value : y_[l - 1]) value = std::sin(value);
      args.source = MergeOf(states_[l - 1], y_[l - 1]);
    }
    EXPECT_TRUE(cpu::BoundaryForward(args).ok());
  }

  void BackwardAt(size_t l, const Tensor& dnorm, Tensor& dx, Tensor& dy) {
    Tensor workspace(size_t(cpu::BoundaryWorkspaceElements(shape_)));
    BoundaryBackwardArgs<double> args;
    args.shape = shape_, args.contract = contract_;
    args.sink = l == 2 ? BoundarySink::kHead : BoundarySink::kSubLayer;
    args.dx_above = args.dx = dx.data();
    args.x = states_[l].x.data(), args.contracted = states_[l].contracted.data();
    args.y = l < 2 ? y_[l].data() : nullptr;
    args.dnorm = dnorm.data(), args.norm_inv_rms = states_[l].norm_inv_rms.data();
    args.coefficients = states_[l].coefficients.data(), args.logits = states_[l].logits.data();
    args.parameters = weights[l].view(), args.gradients = gradients[l].gradient_view();
    args.workspace = workspace.data();
    args.equal_streams = equal_streams && l == 0;
    if (l == 0) {
      args.source = BoundarySource::kEmbed, args.expand = expand_;
      args.dembedding = dembedding.data(), args.ids = ids_.data();
      args.vocabulary = kVocabulary;
    } else {
      args.source = BoundarySource::kMerge, args.dy_below = dy.data();
      args.coefficients_below = states_[l - 1].coefficients.data();
    }
    ASSERT_OK(cpu::BoundaryBackward(args));
  }

  BoundaryShape shape_;
  StreamExpand expand_;
  StreamContract contract_;
  std::vector<BoundaryState<double>> states_;
  std::vector<Tensor> y_;
  std::vector<int32_t> ids_;
  Tensor dnorm_;
};

void ExpectChainGradients(const BoundaryCase& c, StreamExpand expand, StreamContract contract) {
  Chain chain(c, expand, contract);
  chain.Loss();
  chain.Backward();
  const auto loss = [&chain] { return chain.Loss(); };
  ExpectGradient("embedding", chain.embedding, chain.dembedding, loss);
  ExpectGradient("final gamma", chain.weights[2].gamma, chain.gradients[2].gamma, loss);
  for (size_t l = 0; l < 2; ++l) {
    const std::string name = absl::StrCat("sub-layer ", l, " ");
    ExpectGradient(name + "gamma", chain.weights[l].gamma, chain.gradients[l].gamma, loss);
    if (c.kind == BoundaryKind::kResidual) continue;
    ExpectGradient(name + "projection", chain.weights[l].projection, chain.gradients[l].projection,
                   loss);
    ExpectGradient(name + "bias", chain.weights[l].bias, chain.gradients[l].bias, loss);
    ExpectGradient(name + "alpha", chain.weights[l].alpha, chain.gradients[l].alpha, loss);
  }
}

TEST_P(BoundaryGradient, OfAChainAgreesWithCentralDifferences) {
  BoundaryCase c = GetParam();
  if (c.tokens > 20) c.tokens = 20;
  ExpectChainGradients(c, StreamExpand::kOneHot, StreamContract::kMean);
}

TEST(BoundaryGradient, OfCopiedStreamsAndTheirSum) {
  ExpectChainGradients({}, StreamExpand::kCopy, StreamContract::kSum);
}

// What rounding leaves of a gradient that is 0 becomes whole steps under AdamW.
TEST(BoundaryGradient, OfTheResidualLogitsIsExactlyZeroWhereStreamsAreEqual) {
  const auto gradients_of = [](bool equal_streams) {
    Chain chain({}, StreamExpand::kCopy, StreamContract::kMean);
    chain.equal_streams = equal_streams;
    chain.Loss();
    chain.Backward();
    return std::make_pair(chain.gradients[0], chain.dembedding);
  };
  const auto [left, left_embedding] = gradients_of(false);
  const auto [zero, embedding] = gradients_of(true);
  const BoundaryShape shape = BoundaryCase().shape();
  const int64_t gates = 2 * shape.streams, columns = BiasElements(shape);
  EXPECT_EQ(zero.alpha[2], 0.0);
  for (int64_t k = gates; k < columns; ++k) {
    EXPECT_EQ(zero.bias[size_t(k)], 0.0);
    EXPECT_NEAR(left.bias[size_t(k)], 0.0, 1e-12);  // the same value, but for rounding
  }
  for (size_t i = 0; i < zero.projection.size(); ++i) {
    const bool residual = int64_t(i) % columns >= gates;
    if (residual) {
      EXPECT_EQ(zero.projection[i], 0.0);
    }
    EXPECT_NEAR(left.projection[i], zero.projection[i], 1e-12);
  }
  for (size_t i = 0; i < embedding.size(); ++i) {
    EXPECT_NEAR(left_embedding[i], embedding[i], 1e-11);
  }
}

TEST(BoundaryGradient, IsAddedToWhatIsThere) {
  Chain chain({}, StreamExpand::kCopy, StreamContract::kMean);
  chain.Loss();
  chain.Backward();
  const Tensor once = chain.gradients[1].projection, embedding_once = chain.dembedding;
  chain.Backward();
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NEAR(chain.gradients[1].projection[i], 2.0 * once[i], 1e-13);
  }
  for (size_t i = 0; i < embedding_once.size(); ++i) {
    EXPECT_NEAR(chain.dembedding[i], 2.0 * embedding_once[i], 1e-13);
  }
}

}  // namespace
}  // namespace birkhoff
