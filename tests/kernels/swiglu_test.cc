// SwiGLU on the CPU: values worked out by hand, central differences, and gates that saturate.
#include "kernels/swiglu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

template <typename T>
std::vector<T> Activate(int64_t tokens, int64_t features, const std::vector<T>& gate_up) {
  std::vector<T> act(size_t(tokens * features), T(-7));
  EXPECT_TRUE(cpu::SwiGluForward<T>({tokens, features, gate_up.data(), act.data()}).ok());
  return act;
}

TEST(SwiGlu, OfHandComputedValues) {
  // sigmoid(log 3) = 3/4; gates log 3 and 0, ups 4 and 5.
  const std::vector<double> act = Activate<double>(1, 2, {std::log(3.0), 0.0, 4.0, 5.0});
  EXPECT_LE(RelativeError(act, std::vector<double>{3.0 * std::log(3.0), 0.0}), 1e-15);
}

TEST(SwiGlu, BackwardAgreesWithCentralDifferences) {
  for (const double scale : {1.0, 4.0}) {
    std::vector<double> gate_up = Normal(3 * 2 * 7, 1, scale);
    const std::vector<double> dact = Normal(3 * 7, 2);
    std::vector<double> dgate_up(gate_up.size());
    ASSERT_OK(cpu::SwiGluBackward<double>({.tokens = 3,
                                           .features = 7,
                                           .gate_up = gate_up.data(),
                                           .dact = dact.data(),
                                           .dgate_up = dgate_up.data()}));
    ExpectGradient("gate_up", gate_up, dgate_up,
                   [&] { return Inner(Activate(3, 7, gate_up), dact); });
  }
}

TEST(SwiGlu, BackwardMayBeInPlace) {
  std::vector<float> gate_up = Normal<float>(5 * 2 * 19, 1), apart(gate_up.size());
  const std::vector<float> dact = Normal<float>(5 * 19, 2);
  SwiGluBackwardArgs<float> args = {5, 19, gate_up.data(), dact.data(), apart.data()};
  ASSERT_OK(cpu::SwiGluBackward(args));
  args.dgate_up = gate_up.data();
  ASSERT_OK(cpu::SwiGluBackward(args));
  EXPECT_EQ(gate_up, apart);
}

TEST(SwiGlu, BackwardGivesWhatTheForwardPassMadeInItsBits) {
  const std::vector<float> gate_up = Normal<float>(5 * 2 * 37, 1, 3.0);
  const std::vector<float> dact = Normal<float>(5 * 37, 2);
  std::vector<float> wanted(gate_up.size()), dgate_up(gate_up.size()), act = dact;
  ASSERT_OK(cpu::SwiGluBackward<float>({5, 37, gate_up.data(), dact.data(), wanted.data()}));
  // In place of dact.
  ASSERT_OK(cpu::SwiGluBackward<float>({.tokens = 5,
                                        .features = 37,
                                        .gate_up = gate_up.data(),
                                        .dact = act.data(),
                                        .dgate_up = dgate_up.data(),
                                        .act = act.data()}));
  EXPECT_EQ(dgate_up, wanted);
  EXPECT_EQ(act, Activate(5, 37, gate_up));
}

TEST(SwiGlu, LargeGatesSaturateWithoutNan) {
  const std::vector<float> gate_up = {-1000, 1000, 2, 2};
  EXPECT_EQ(Activate(1, 2, gate_up), (std::vector<float>{0, 2000}));
  const std::vector<float> dact = {1, 1};
  std::vector<float> dgate_up(4);
  ASSERT_OK(cpu::SwiGluBackward<float>({1, 2, gate_up.data(), dact.data(), dgate_up.data()}));
  EXPECT_EQ(dgate_up, (std::vector<float>{0, 2, 0, 1000}));
}

TEST(SwiGlu, FloatFollowsDouble) {
  const std::vector<float> gate_up = Normal<float>(40 * 2 * 33, 1, 3.0);
  const std::vector<double> wide(gate_up.begin(), gate_up.end());
  EXPECT_LE(RelativeError(Activate(40, 33, gate_up), Activate(40, 33, wide)), 1e-6);
}

TEST(SwiGlu, OfNoTokensIsNoWork) {
  ASSERT_OK(cpu::SwiGluForward<float>({.tokens = 0, .features = 3}));
  ASSERT_OK(cpu::SwiGluBackward<float>({.tokens = 0, .features = 3}));
}

TEST(SwiGlu, RefusesWrongArguments) {
  ExpectRefused(cpu::SwiGluForward<float>({.tokens = -2, .features = 3}),
                "swiglu forward: tokens=-2; need tokens >= 0");
  ExpectRefused(cpu::SwiGluBackward<float>({.tokens = 2, .features = 0}),
                "swiglu backward: features=0; need features > 0");
  ExpectRefused(cpu::SwiGluForward<float>({.tokens = 2, .features = 3}),
                "swiglu forward: gate_up is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
