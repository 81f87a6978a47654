// What was measured of a shape predicts the step of a job of that shape on a GPU, and the products
// that were searched are faster than the heuristics' first.  Figures of issue-sized layers.
#include "worker/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/format/token_file.h"
#include "core/plan/compile.h"
#include "core/spec/card_rates.h"
#include "kernels/gemm_choices.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

using testing::NewTestDirectory;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;

constexpr int kVocabulary = 32768, kLength = 4096;
constexpr int64_t kSteps = 14, kWarmSteps = 4;

// As a corpus has them: of the whole vocabulary.
void WriteRandomTokens(const std::string& path) {
  PosixDisk disk;
  auto writer = TokenWriter::Create(disk, {.path = path, .vocab_size = kVocabulary});
  ASSERT_TRUE(writer.ok()) << writer.status();
  Rng rng(3);
  std::vector<int32_t> tokens(100 * kLength);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.Below(kVocabulary));
  ASSERT_TRUE((*writer)->AddDocument(tokens).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
}

class CalibrationOnGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (TestDeviceName() != "cuda") GTEST_SKIP() << "needs BIRKHOFF_TEST_DEVICE=cuda";
    options_.directory = NewTestDirectory();
    JobSpec& spec = options_.spec = SmallJob(options_.directory);
    spec.data.train = {{options_.directory + "/random", 1.0}};
    spec.data.validation = "";
    WriteRandomTokens(options_.directory + "/random");
    spec.model.vocab_size = kVocabulary;
    spec.model.hidden_size = 2048;
    spec.model.intermediate_size = 5632;
    spec.model.num_attention_heads = spec.model.num_key_value_heads = 16;
    spec.model.num_hidden_layers = 4;
    spec.training.precision = PrecisionKind::kBf16;
    spec.training.deterministic = Toggle::kFalse;
    spec.training.sequence_length = kLength;
    spec.training.global_batch_size = 4;
    spec.training.validation_interval = 0;
    spec.training.steps = 1000;
    spec.optimizer.lr = 1e-4;
    spec.checkpoint.interval = 0;
    // An end without a checkpoint of gigabytes.
    options_.before_step = [](int, int64_t steps, Rank&, Transport& transport) {
      if (steps == kSteps) transport.Abort(absl::AbortedError("measured"));
    };
  }

  // The median of the steps after the first few.
  double StepMilliseconds() {
    options_.fresh = true;
    const RunResult result = RunRanks(options_);
    EXPECT_TRUE(absl::IsAborted(result.status())) << result.status();
    EXPECT_TRUE(std::isfinite(result.reports[0].back().loss)) << "the job must train, not diverge";
    std::vector<double> ms;
    for (const StepReport& report : result.reports[0]) {
      if (report.step > kWarmSteps) ms.push_back(report.step_seconds * 1e3);
    }
    if (ms.empty()) return 0.0;
    std::ranges::nth_element(ms, ms.begin() + std::ssize(ms) / 2);
    return ms[ms.size() / 2];
  }

  void Check(const char* what, bool without_products) {
    const auto text = Calibrate(options_.spec, *NewTestDevice(), "this card", "");
    ASSERT_TRUE(text.ok()) << text.status();
    std::fputs(text->c_str(), stdout);
    ClusterSpec cluster;
    cluster.card = CardRatesFromText(*text).value();
    const double predicted =
        static_cast<double>(CompilePlan(options_.spec, cluster)->predicted_step_ns) * 1e-6;
    options_.products = GemmChoicesFromText(*text).value();
    EXPECT_FALSE(options_.products.by_problem.empty());
    const double measured = StepMilliseconds();
    std::printf("%-60s predicted %.2f ms, measured %.2f ms, ratio %.4f limit 3 %%\n", what,
                predicted, measured, predicted / measured);
    EXPECT_NEAR(predicted / measured, 1.0, 0.03);
    if (!without_products) return;
    options_.products = {};
    const double first = StepMilliseconds();
    std::printf("%-60s searched %.2f ms, heuristics' first %.2f ms, ratio %.4f\n", what, measured,
                first, measured / first);
  }

  RunOptions options_;
};

TEST_F(CalibrationOnGpuTest, PredictsAStepOfMhc) {
  Check("step of 4 layers, C 2048 F 5632 T 4096, mHC", /*without_products=*/true);
}

TEST_F(CalibrationOnGpuTest, PredictsAStepOfThePlainResidual) {
  options_.spec.model.residual.kind = ResidualKind::kResidual;
  Check("step of 4 layers, C 2048 F 5632 T 4096, plain", /*without_products=*/false);
}

}  // namespace
}  // namespace birkhoff
