// From training to text: what ranks have written is loaded by one process, measured as they
// measured it, and says again what it was taught.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/format/token_file.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/figure.h"
#include "tests/testing/rank_threads.h"
#include "worker/inference/evaluation.h"
#include "worker/inference/generation.h"

namespace birkhoff {
namespace {

using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;

class InferenceTest : public ::testing::Test {
 protected:
  InferenceTest() {
    options_.spec = testing::SmallJob(directory_);
    options_.spec.training.steps = 3;
    options_.spec.data.tokenizer = kNoTokenizer;
    options_.disk = &disk_;
    options_.directory = "/out";
  }

  // Trains afresh; the model that comes of it.
  std::unique_ptr<TrainedModel> Train() {
    options_.fresh = true;
    result_ = RunRanks(options_);
    EXPECT_TRUE(result_.status().ok()) << result_.status();
    absl::StatusOr<std::unique_ptr<TrainedModel>> model =
        TrainedModel::Load(disk_, options_.directory, *device_);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }
  double LossOfTheRun() const {
    return result_.reports.front().back().validation_loss.value_or(
        std::numeric_limits<double>::quiet_NaN());
  }
  // Of the sequences that the run's validations read.
  double LossOfEval(const TrainedModel& model) {
    const TrainingSpec& training = options_.spec.training;
    const auto data = OpenEvaluationData(model.spec(), "").value();
    return Evaluate(model, *data, *device_,
                    {.sequences = int64_t{training.validation_batches} * training.micro_batch_size})
        .value()
        .loss;
  }

  const std::string directory_ = testing::NewTestDirectory();
  testing::FaultDisk disk_;
  RunOptions options_;
  RunResult result_;
  const std::unique_ptr<Device> device_ = NewCpuDevice();
};

TEST_F(InferenceTest, EvalHasTheBitsOfTheRunsValidationForEveryConnection) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    for (const bool tied : {false, true}) {
      options_.spec.model.residual.kind = kind;
      options_.spec.model.tie_embeddings = tied;
      options_.spec.training.micro_batch_size = tied ? 2 : 1;
      const std::unique_ptr<TrainedModel> model = Train();
      ASSERT_NE(model, nullptr);
      EXPECT_EQ(LossOfEval(*model), LossOfTheRun()) << int(kind) << tied;
    }
  }
  for (const MappingKind mapping : {MappingKind::kPermutations, MappingKind::kIdentity}) {
    options_.spec.model.residual.mapping = mapping;
    const std::unique_ptr<TrainedModel> model = Train();
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(LossOfEval(*model), LossOfTheRun()) << int(mapping);
  }
}

// Replicas and the two directions of DualPipe add the same losses in another order.
TEST_F(InferenceTest, EvalAgreesWithEveryParallelism) {
  ParallelismSpec& parallelism = options_.spec.parallelism;
  for (const auto& [stages, replicas, schedule] :
       {std::tuple{1, 1, ScheduleKind::k1F1B}, std::tuple{2, 2, ScheduleKind::kDualPipeV},
        std::tuple{4, 1, ScheduleKind::kDualPipe}}) {
    parallelism.pipeline_parallel_degree = stages;
    parallelism.data_parallel_degree = replicas;
    parallelism.schedule = schedule;
    const std::unique_ptr<TrainedModel> model = Train();
    ASSERT_NE(model, nullptr);
    const double want = LossOfTheRun(), error = std::abs(LossOfEval(*model) - want) / want;
    Worst("loss of eval against the run's", error);
    EXPECT_LE(error, 48 * std::numeric_limits<double>::epsilon());  // targets that are added
  }
}

TEST_F(InferenceTest, EvalCountsTheWindowsOfAFileOnce) {
  const std::unique_ptr<TrainedModel> model = Train();
  ASSERT_NE(model, nullptr);
  const auto data = OpenEvaluationData(model->spec(), directory_ + "/validation").value();
  int64_t last = 0;
  const auto figures =
      Evaluate(*model, *data, *device_, {.progress = [&](int64_t done, int64_t) { last = done; }});
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_EQ(figures->sequences, 37);  // of 600 tokens
  EXPECT_EQ(last, 37);
  EXPECT_EQ(figures->tokens, 37 * 16);
  EXPECT_EQ(figures->Perplexity(), std::exp(figures->loss));
  EXPECT_TRUE(std::isnan(figures->BitsPerByte()));
}

// A text of 41 bytes, over and over, learned by heart on two stages.
class LearnedByHeart : public InferenceTest {
 protected:
  LearnedByHeart() {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 4000; ++i) tokens.push_back(text_[size_t(i) % text_.size()]);
    auto writer = *TokenWriter::Create(posix_, {.path = directory_ + "/text"});
    EXPECT_TRUE(writer->AddDocument(tokens).ok() && writer->Finish().ok());
    JobSpec& spec = options_.spec;
    spec.data.tokenizer = "bytes";
    spec.model.vocab_size = 257;
    spec.model.num_hidden_layers = 2;
    spec.data.train = {{directory_ + "/text", 1.0}};
    spec.data.validation = directory_ + "/text";
    spec.training.steps = 60;
    spec.training.validation_interval = 0;
    spec.checkpoint.interval = 0;
    spec.optimizer.lr = 3e-2;
    model_ = Train();
  }
  Generation Make(const std::string& prompt, const SamplingOptions& sampling, int64_t count) {
    const auto tokenizer = LoadTokenizer(posix_, "bytes").value();
    std::string streamed;
    const auto made = Generate(*model_, *tokenizer, *device_,
                               {.prompt = prompt, .max_tokens = count, .sampling = sampling},
                               [&](std::string_view piece) { return streamed += piece, true; });
    EXPECT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(streamed, made->text);
    return *made;
  }

  const std::string text_ = "The quick brown fox jumps over lazy dogs.";
  PosixDisk posix_;
  std::unique_ptr<TrainedModel> model_;
};

TEST_F(LearnedByHeart, IsSaidAgainGreedilyAlsoBeyondTheContext) {
  ASSERT_NE(model_, nullptr);
  const Generation made = Make("The quick ", {.temperature = 0.0}, 100);
  std::string want;
  while (want.size() < 200) want += text_;
  EXPECT_EQ(made.text, want.substr(10, 100));
  EXPECT_EQ(made.tokens.size(), 100u);
  EXPECT_FALSE(made.ended);
  EXPECT_LT(LossOfEval(*model_), 0.5);  // a window's first letters follow from nothing
}

TEST_F(LearnedByHeart, SeedsSayTheSameAgain) {
  ASSERT_NE(model_, nullptr);
  const auto text = [&](uint64_t seed) {
    return Make("", {.temperature = 3.0, .seed = seed}, 40).text;
  };
  EXPECT_EQ(text(1), text(1));
  EXPECT_NE(text(1), text(2));
}

TEST_F(LearnedByHeart, BitsPerByteAreThoseOfTheText) {
  ASSERT_NE(model_, nullptr);
  const auto tokenizer = LoadTokenizer(posix_, "bytes").value();
  const auto data = OpenEvaluationData(model_->spec(), "").value();
  const auto figures = Evaluate(*model_, *data, *device_, {.tokenizer = tokenizer.get()});
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_EQ(figures->bytes, figures->tokens);
  EXPECT_DOUBLE_EQ(figures->BitsPerByte(), figures->loss / std::log(2.0));
}

}  // namespace
}  // namespace birkhoff
