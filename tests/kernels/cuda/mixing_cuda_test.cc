// The measures of mixing on the GPU against the CPU's in double, over every mapping.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

struct Inputs {
  explicit Inputs(const BoundaryShape& of)
      : shape(of),
        coefficients(Normal<float>(of.tokens * CoefficientsPerToken(of), 1, 0.3)),
        logits(Normal<float>(of.tokens * LogitsPerToken(of), 2)),
        alpha(Normal<float>(DynamicColumns(of) > 0 ? 3 : 0, 3)),
        bias(Normal<float>(BiasElements(of), 4)),
        prefix(Normal<float>(of.tokens * of.streams * of.streams, 5)),
        x(Normal<float>(of.tokens * of.streams * of.channels, 6)) {
    for (float& gate : coefficients) gate = std::abs(gate);
  }
  BoundaryShape shape;
  std::vector<float> coefficients, logits, alpha, bias, prefix, x;
};

struct Measured {
  CoefficientMeasures opened;
  StreamMeasures merged;
};

Measured OnGpu(const Inputs& in) {
  const DeviceBuffer<float> coefficients(in.coefficients), logits(in.logits), alpha(in.alpha),
      bias(in.bias), prefix(in.prefix), x(in.x);
  const DeviceBuffer<CoefficientMeasures> opened(std::vector<CoefficientMeasures>(1));
  const DeviceBuffer<StreamMeasures> merged(std::vector<StreamMeasures>(1));
  const DeviceBuffer<std::byte> workspace(cuda::MixingWorkspaceBytes());
  const absl::Status status = cuda::AccumulateMixing<float>({.shape = in.shape,
                                                             .coefficients = coefficients.data(),
                                                             .logits = logits.data(),
                                                             .alpha = alpha.data(),
                                                             .bias = bias.data(),
                                                             .prefix = prefix.data(),
                                                             .x = x.data(),
                                                             .opened = opened.data(),
                                                             .merged = merged.data(),
                                                             .workspace = workspace.data()},
                                                            nullptr);
  EXPECT_TRUE(status.ok()) << status;
  workspace.ToHost();  // checks its guard bands
  return {opened.ToHost()[0], merged.ToHost()[0]};
}

Measured OnCpu(const Inputs& in) {
  const auto wide = [](const std::vector<float>& values) {
    return std::vector<double>(values.begin(), values.end());
  };
  const std::vector<double> coefficients = wide(in.coefficients), logits = wide(in.logits),
                            alpha = wide(in.alpha), bias = wide(in.bias), prefix = wide(in.prefix),
                            x = wide(in.x);
  Measured measured;
  EXPECT_TRUE(cpu::AccumulateMixing<double>({.shape = in.shape,
                                             .coefficients = coefficients.data(),
                                             .logits = logits.data(),
                                             .alpha = alpha.data(),
                                             .bias = bias.data(),
                                             .prefix = prefix.data(),
                                             .x = x.data(),
                                             .opened = &measured.opened,
                                             .merged = &measured.merged})
                  .ok());
  return measured;
}

// Of sums of a few tokens; a cosine is of C products in float.
void ExpectNear(const char* what, double got, double want) {
  if (std::isnan(want)) {
    EXPECT_TRUE(std::isnan(got)) << what;
  } else {
    EXPECT_NEAR(got, want, 1e-4 * (1.0 + std::abs(want))) << what;
  }
}

TEST(MixingCuda, MatchesTheReference) {
  for (size_t row = 0; row < kMappings.size(); ++row) {
    for (const int streams : {2, 3, 4, 8}) {
      if (streams > kMappings[row].most_streams) continue;
      for (const int64_t tokens : {1, 5, 300}) {
        const Inputs in({.mapping = static_cast<MappingKind>(row),
                         .streams = streams,
                         .tokens = tokens,
                         .channels = 100});
        SCOPED_TRACE(absl::StrCat(kMappings[row].name, " n ", streams, " tokens ", tokens));
        const Measured got = OnGpu(in), want = OnCpu(in);
        EXPECT_EQ(got.opened.tokens, want.opened.tokens);
        ExpectNear("saturation", got.opened.saturation, want.opened.saturation);
        ExpectNear("off_diagonal", got.opened.off_diagonal, want.opened.off_diagonal);
        ExpectNear("column_residual", got.opened.column_residual, want.opened.column_residual);
        ExpectNear("read", got.opened.read, want.opened.read);
        ExpectNear("write", got.opened.write, want.opened.write);
        EXPECT_EQ(got.merged.tokens, want.merged.tokens);
        ExpectNear("from_identity", got.merged.from_identity, want.merged.from_identity);
        ExpectNear("from_uniform", got.merged.from_uniform, want.merged.from_uniform);
        ExpectNear("similarity", got.merged.similarity, want.merged.similarity);
      }
    }
  }
}

}  // namespace
}  // namespace birkhoff
