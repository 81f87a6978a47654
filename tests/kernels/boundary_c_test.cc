// The boundary in plain C, on the CPU: the same bits as the calls behind it, and refusals in words.
#include "kernels/boundary_c.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/version.h"
#include "kernels/boundary.h"
#include "tests/kernels/boundary_fixture.h"

namespace birkhoff {
namespace {

birkhoff_boundary_problem ProblemOf(const BoundaryShape& shape, DType dtype) {
  return {.dtype = int32_t(dtype),
          .kind = int32_t(shape.kind),
          .mapping = int32_t(shape.mapping),
          .sinkhorn_iterations = shape.sinkhorn_iterations,
          .streams = shape.streams,
          .sink = int32_t(BoundarySink::kSubLayer),
          .contract = int32_t(StreamContract::kMean),
          .source = int32_t(BoundarySource::kMerge),
          .tokens = shape.tokens,
          .channels = shape.channels,
          .mix_eps = shape.mix_eps,
          .norm_eps = shape.norm_eps};
}

// A merge into a sub-layer and its backward pass, once by each way, on the same operands.
template <typename T>
class Merge {
 public:
  explicit Merge(const BoundaryShape& shape)
      : shape_(shape),
        weights_(shape, 3),
        below_(shape),
        state_(shape),
        gradients_(weights_.Zeros()),
        y_below_(Normal<T>(shape.tokens * shape.channels, 11)),
        y_(Normal<T>(shape.tokens * shape.channels, 12)),
        dnorm_(Normal<T>(shape.tokens * shape.channels, 13)),
        dx_above_(Normal<T>(int64_t(state_.x.size()), 14)),
        dx_(state_.x.size()),
        dy_(y_.size()),
        workspace_(size_t(cpu::BoundaryWorkspaceElements(shape))) {
    below_.x = Normal<T>(int64_t(below_.x.size()), 15);
    below_.coefficients = Normal<T>(int64_t(below_.coefficients.size()), 16);
  }

  void Run() {
    auto forward = ForwardArgs(shape_, BoundarySink::kSubLayer, weights_, state_);
    forward.source = MergeOf(below_, y_below_);
    ASSERT_TRUE(cpu::BoundaryForward(forward).ok());
    BoundaryBackwardArgs<T> backward;
    backward.shape = shape_;
    backward.dx_above = dx_above_.data();
    backward.x = state_.x.data();
    backward.y = y_.data();
    backward.dnorm = dnorm_.data();
    backward.norm_inv_rms = state_.norm_inv_rms.data();
    backward.coefficients = state_.coefficients.data();
    backward.logits = state_.logits.data();
    backward.parameters = weights_.view();
    backward.gradients = gradients_.gradient_view();
    backward.dx = dx_.data();
    backward.source = BoundarySource::kMerge;
    backward.coefficients_below = below_.coefficients.data();
    backward.dy_below = dy_.data();
    backward.workspace = workspace_.data();
    ASSERT_TRUE(cpu::BoundaryBackward(backward).ok());
  }

  void RunInC() {
    const birkhoff_boundary_problem problem = ProblemOf(shape_, kDTypeOf<T>);
    char message[256] = "";
    const birkhoff_boundary_forward_args forward = {
        .problem = problem,
        .source_x = below_.x.data(),
        .source_y = y_below_.data(),
        .source_coefficients = below_.coefficients.data(),
        .x = state_.x.data(),
        .projection = weights_.projection.data(),
        .alpha = weights_.alpha.data(),
        .bias = weights_.bias.data(),
        .gamma = weights_.gamma.data(),
        .coefficients = state_.coefficients.data(),
        .logits = state_.logits.data(),
        .contracted = nullptr,
        .norm_out = state_.norm_out.data(),
        .norm_inv_rms = state_.norm_inv_rms.data()};
    ASSERT_EQ(birkhoff_boundary_forward(&forward, nullptr, message, sizeof(message)), 0) << message;
    birkhoff_boundary_sizes sizes;
    ASSERT_EQ(birkhoff_boundary_size(&problem, &sizes, message, sizeof(message)), 0) << message;
    std::vector<char> workspace(size_t(sizes.workspace_bytes));
    const birkhoff_boundary_backward_args backward = {
        .problem = problem,
        .equal_streams = 0,
        .dx_above = dx_above_.data(),
        .x = state_.x.data(),
        .contracted = nullptr,
        .y = y_.data(),
        .dnorm = dnorm_.data(),
        .norm_inv_rms = state_.norm_inv_rms.data(),
        .coefficients = state_.coefficients.data(),
        .logits = state_.logits.data(),
        .projection = weights_.projection.data(),
        .alpha = weights_.alpha.data(),
        .bias = weights_.bias.data(),
        .gamma = weights_.gamma.data(),
        .dprojection = gradients_.projection.data(),
        .dalpha = gradients_.alpha.data(),
        .dbias = gradients_.bias.data(),
        .dgamma = gradients_.gamma.data(),
        .dx = dx_.data(),
        .coefficients_below = below_.coefficients.data(),
        .dy_below = dy_.data(),
        .workspace = workspace.data()};
    ASSERT_EQ(birkhoff_boundary_backward(&backward, nullptr, message, sizeof(message)), 0)
        << message;
  }

  std::vector<std::vector<T>> Results() const {
    return {state_.x,
            state_.norm_out,
            state_.norm_inv_rms,
            state_.coefficients,
            state_.logits,
            dx_,
            dy_,
            gradients_.projection,
            gradients_.alpha,
            gradients_.bias,
            gradients_.gamma};
  }

 private:
  const BoundaryShape shape_;
  BoundaryWeights<T> weights_;
  BoundaryState<T> below_, state_;
  BoundaryWeights<T> gradients_;
  std::vector<T> y_below_, y_, dnorm_, dx_above_, dx_, dy_, workspace_;
};

template <typename T>
void ExpectTheSameBits(const BoundaryShape& shape) {
  Merge<T> direct(shape), in_c(shape);
  direct.Run();
  in_c.RunInC();
  EXPECT_EQ(in_c.Results(), direct.Results());
}

TEST(BoundaryC, GivesTheBitsOfTheCallsBehindIt) {
  for (const BoundaryCase& each : BoundaryCases()) {
    SCOPED_TRACE(testing::Message() << each);
    ExpectTheSameBits<float>(each.shape());
    ExpectTheSameBits<double>(each.shape());
  }
}

TEST(BoundaryC, SaysSizes) {
  birkhoff_boundary_sizes sizes;
  const BoundaryShape shape = {.tokens = 3, .channels = 8};
  const birkhoff_boundary_problem problem = ProblemOf(shape, DType::kFloat32);
  ASSERT_EQ(birkhoff_boundary_size(&problem, &sizes, nullptr, 0), 0);
  EXPECT_EQ(sizes.coefficients_per_token, 24);
  EXPECT_EQ(sizes.logits_per_token, 25);
  EXPECT_EQ(sizes.projection, 4 * 8 * 24);
  EXPECT_EQ(sizes.bias, 24);
}

TEST(BoundaryC, NamesMappingsAndWhereTheyStart) {
  EXPECT_STREQ(birkhoff_boundary_mapping(0), "sinkhorn");
  EXPECT_EQ(birkhoff_boundary_mapping(int32_t(kMappings.size())), nullptr);
  EXPECT_STREQ(birkhoff_boundary_version(), kVersion);
  EXPECT_EQ(birkhoff_boundary_abi(), BIRKHOFF_BOUNDARY_ABI);
  const birkhoff_boundary_problem problem =
      ProblemOf({.streams = 2, .channels = 8}, DType::kFloat32);
  std::vector<double> bias(4);
  ASSERT_EQ(birkhoff_boundary_start(&problem, -4.0, bias.data(), nullptr, 0), 0);
  EXPECT_EQ(bias, (std::vector<double>{0.0, -4.0, -4.0, 0.0}));
}

TEST(BoundaryC, RefusesInWords) {
  birkhoff_boundary_sizes sizes;
  char message[64] = "";
  const auto refusal = [&](const auto& change) {
    birkhoff_boundary_problem problem = ProblemOf({.tokens = 3, .channels = 8}, DType::kFloat32);
    change(problem);
    const int32_t code = birkhoff_boundary_size(&problem, &sizes, message, sizeof(message));
    return std::to_string(code) + " " + message;
  };
  EXPECT_EQ(refusal([](auto& p) { p.dtype = int32_t(DType::kBfloat16); }),
            "12 boundary: dtype=3; need 1 or 2");
  EXPECT_EQ(refusal([](auto& p) { p.kind = 7; }), "3 boundary: kind=7; need 0 to 2");
  EXPECT_EQ(refusal([](auto& p) { p.source = 0; }),
            "3 boundary: source=0, an embedding; need 1 or 2");
  EXPECT_EQ(refusal([](auto& p) { p.channels = 0; }).substr(0, 2), "3 ");
  // A message is cut to what there is room for.
  birkhoff_boundary_problem problem = ProblemOf({.tokens = 3, .channels = 8}, DType::kFloat32);
  problem.kind = 7;
  EXPECT_EQ(birkhoff_boundary_size(&problem, &sizes, message, 9), 3);
  EXPECT_STREQ(message, "boundary");
}

}  // namespace
}  // namespace birkhoff
