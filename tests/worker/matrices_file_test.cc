// Means of the matrices that the ranks' shares hold.
#include "worker/matrices_file.h"

#include <gtest/gtest.h>

#include <vector>

namespace birkhoff {
namespace {

// Two ranks of a model of one block and two streams; each owns one sub-layer.
TEST(MatricesFile, AreMeansOverTokensOfWhatAllRanksHaveSummed) {
  ModelSpec model;
  model.num_hidden_layers = 1;
  model.residual.streams = 2;
  const ShareLayout layout(model);
  std::vector<double> all(2 * layout.length());
  for (int64_t i = 0; i < 4; ++i) {
    const auto value = static_cast<double>(i + 1);
    all[layout.MatrixAt(0, GainOf::kPrefix) + i] = 8.0 * value;
    all[layout.MatrixAt(0, GainOf::kSuffix) + i] = 80.0 * value;
    all[layout.length() + layout.MatrixAt(1, GainOf::kPrefix) + i] = -8.0 * value;
    all[layout.length() + layout.MatrixAt(1, GainOf::kSuffix) + i] = value;
  }
  EXPECT_EQ(
      MatricesToJson(layout, all, /*tokens=*/8, /*step=*/7),
      R"({"step":7,"streams":2,"forward_by_sublayer":[[1.0,2.0,3.0,4.0],[-1.0,-2.0,-3.0,-4.0]],)"
      R"("backward_by_sublayer":[[10.0,20.0,30.0,40.0],[0.125,0.25,0.375,0.5]]})");
}

}  // namespace
}  // namespace birkhoff
