// The rules that join fields, each with the values that would do.
#include "core/spec/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/spec/load.h"
#include "tests/core/spec/read_spec.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> ProblemsWith(const std::vector<std::string>& overrides) {
  JobSpec spec;
  return Lines(ReadJobSpec("data: {train: t}\n", overrides, &spec));
}

TEST(ValidateTest, AcceptsTheDefaults) { EXPECT_THAT(ProblemsWith({}), IsEmpty()); }

struct WrongFields {
  const char* name;
  std::vector<std::string> overrides;
  std::string says;
  friend void PrintTo(const WrongFields& wrong, std::ostream* out) { *out << wrong.name; }
};

class WrongFieldsTest : public ::testing::TestWithParam<WrongFields> {};

TEST_P(WrongFieldsTest, AreRefusedWithTheRemedy) {
  EXPECT_THAT(ProblemsWith(GetParam().overrides), ElementsAre(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, WrongFieldsTest,
    ::testing::Values(
        WrongFields{"Streams",
                    {"model.residual.streams=9"},
                    "model.residual.streams: 9 is not allowed; need a whole number from 1 to 8"},
        WrongFields{"PermutationStreams",
                    {"model.residual.mapping=permutations", "model.residual.streams=5"},
                    "model.residual.streams: 5 is not allowed; need 1 to 4 with "
                    "model.residual.mapping permutations (use sinkhorn)"},
        WrongFields{"DeepSeekIterations",
                    {"model.residual.mapping=deepseek", "model.residual.sinkhorn_iterations=33"},
                    "model.residual.sinkhorn_iterations: 33 is not allowed; need 1 to 32 with "
                    "model.residual.mapping deepseek (use sinkhorn)"},
        WrongFields{"NothingLearnedOfMhcsMixing",
                    {"model.residual.learn_res=false"},
                    "model.residual.learn_res: false is not allowed; need true with "
                    "model.residual.kind mhc (--set model.residual.mapping=identity keeps H_res at "
                    "the identity)"},
        WrongFields{"OneStreamThatNoSigmoidReaches",
                    {"model.residual.learn_pre=false", "model.residual.streams=1"},
                    "model.residual.learn_pre: false is not allowed; need true with one stream and "
                    "model.residual.kind mhc (no sigmoid reaches 1; use kind hc, or more streams)"},
        WrongFields{"Heads",
                    {"model.hidden_size=130"},
                    "model.hidden_size: 130 is not allowed; need a multiple of "
                    "model.num_attention_heads, 4 (nearest: 128 or 132)"},
        WrongFields{"OddHead",
                    {"model.hidden_size=12"},
                    "model.hidden_size: 12 is not allowed; need an even head size for RoPE, not 3 "
                    "for 4 heads (nearest: 8 or 16)"},
        WrongFields{"KeyValueHeads",
                    {"model.num_key_value_heads=3"},
                    "model.num_key_value_heads: 3 is not allowed; need a divisor of "
                    "model.num_attention_heads, 4"},
        WrongFields{"Batch",
                    {"training.global_batch_size=33"},
                    "training.global_batch_size: 33 is not allowed; need a multiple of "
                    "training.micro_batch_size x parallelism.data_parallel_degree, 2 x 1 = 2 "
                    "(nearest: 32 or 34)"},
        WrongFields{"Replicas",
                    {"parallelism.data_parallel_degree=5"},
                    "training.global_batch_size: 32 is not allowed; need a multiple of "
                    "training.micro_batch_size x parallelism.data_parallel_degree, 2 x 5 = 10 "
                    "(nearest: 30 or 40)"},
        WrongFields{"FewMicrobatches",
                    {"training.global_batch_size=6"},
                    "training.global_batch_size: 6 is not allowed; need at least 4 micro-batches "
                    "per replica (2 x 2 ranks) with parallelism.schedule dualpipev, not 3 (set "
                    "training.global_batch_size to 8)"},
        WrongFields{"OddDualPipe",
                    {"parallelism.schedule=dualpipe", "parallelism.pipeline_parallel_degree=3"},
                    "parallelism.pipeline_parallel_degree: 3 is not allowed; need an even number "
                    "with parallelism.schedule dualpipe (set it to 2 or 4, or the schedule to "
                    "dualpipev)"},
        WrongFields{"OneDualPipe",
                    {"parallelism.schedule=dualpipe", "parallelism.pipeline_parallel_degree=1"},
                    "parallelism.pipeline_parallel_degree: 1 is not allowed; need an even number "
                    "with parallelism.schedule dualpipe (set it to 2, or the schedule to "
                    "dualpipev)"},
        WrongFields{"OddMicrobatches",
                    {"parallelism.schedule=dualpipe", "training.global_batch_size=10"},
                    "training.global_batch_size: 10 is not allowed; need an even number of "
                    "micro-batches per replica with parallelism.schedule dualpipe, not 5 (set "
                    "training.global_batch_size to 12)"},
        WrongFields{"Stages",
                    {"model.num_hidden_layers=1", "training.global_batch_size=64",
                     "parallelism.pipeline_parallel_degree=3"},
                    "parallelism.pipeline_parallel_degree: 3 is not allowed; need at most one "
                    "stage per unit: 6 stages, but 4 units (embedding, 2 sub-layers, head) (use "
                    "fewer workers or more model.num_hidden_layers)"},
        WrongFields{"Recompute",
                    {"parallelism.recompute=17"},
                    "parallelism.recompute: 17 is not allowed; need at most the model's 16 "
                    "sub-layers (auto chooses)"},
        WrongFields{"MinLr",
                    {"lr_schedule.min_lr=0.5"},
                    "lr_schedule.min_lr: 0.5 is not allowed; need at most optimizer.lr, 0.001"},
        WrongFields{"Decay",
                    {"lr_schedule.kind=wsd", "lr_schedule.decay_steps=181"},
                    "lr_schedule.decay_steps: 181 is not allowed; need at most training.steps - "
                    "lr_schedule.warmup_steps, 180"},
        WrongFields{"StepAt",
                    {"lr_schedule.step_at=[0.9, 0.8]"},
                    "lr_schedule.step_at: [0.9, 0.8] is not allowed; need ascending shares between "
                    "0 and 1"},
        WrongFields{"StepFactors",
                    {"lr_schedule.step_factor=[0.5]"},
                    "lr_schedule.step_factor: [0.5] is not allowed; need one factor per share of "
                    "lr_schedule.step_at, 2"},
        WrongFields{"NegativeFactor",
                    {"lr_schedule.step_factor=[0.5, -1]"},
                    "lr_schedule.step_factor: [0.5, -1] is not allowed; need finite factors of at "
                    "least 0"},
        WrongFields{"TwoValidations",
                    {"data.validation=v", "data.validation_split=0.1"},
                    "data.validation_split: 0.1 is not allowed; need 0 while data.validation names "
                    "a file (give one of the two)"},
        WrongFields{"NoTrain",
                    {"data.train=[]"},
                    "data.train: nothing is not allowed; need at least one token file (bash "
                    "deploy/corpus.sh makes data/corpus-train)"},
        WrongFields{"EmptyPath",
                    {"data.train=[{path: '', weight: 1}]"},
                    "data.train[0].path: an empty text is not allowed; need the path of a token "
                    "file"},
        WrongFields{"ZeroWeight",
                    {"data.train=[{path: t, weight: 0}]"},
                    "data.train[0].weight: 0 is not allowed; need a finite number above 0"},
        WrongFields{"SmallVocabulary",
                    {"model.vocab_size=256"},
                    "model.vocab_size: 256 is not allowed; need 257 or more with data.tokenizer "
                    "bytes (0 takes the tokenizer's size)"},
        WrongFields{"Precision",
                    {"training.precision=fp16"},
                    "training.precision: fp16 is not allowed; need one of auto, fp32, bf16"},
        WrongFields{"Bf16OnACpu",
                    {"training.precision=bf16", "device=cpu"},
                    "training.precision: bf16 is not allowed; need auto or fp32 with device cpu "
                    "(or set device to cuda)"},
        WrongFields{
            "Optimizer", {"optimizer.name=sgd"}, "optimizer.name: sgd is not allowed; need adamw"},
        WrongFields{"Name",
                    {"name=Tiny_1"},
                    "name: Tiny_1 is not allowed; need lower-case letters, digits and inner "
                    "hyphens, at most 63"},
        WrongFields{"LongName",
                    {"name=" + std::string(64, 'a')},
                    "name: " + std::string(64, 'a') +
                        " is not allowed; need lower-case letters, digits and inner hyphens, at "
                        "most 63"},
        WrongFields{"ZeroRate",
                    {"optimizer.lr=0", "lr_schedule.min_lr=0"},
                    "optimizer.lr: 0 is not allowed; need a finite number above 0 and up to 1000"},
        WrongFields{"HugeMicrobatch",
                    {"training.sequence_length=1048576", "training.micro_batch_size=32"},
                    "training.micro_batch_size: 32 is not allowed; need at most 16777216 tokens "
                    "per micro-batch, not 33554432 (make training.micro_batch_size or "
                    "training.sequence_length smaller)"}),
    [](const ::testing::TestParamInfo<WrongFields>& test) { return test.param.name; });

// --set training.steps=20 is what everybody tries first.
TEST(ValidateTest, AWarmupThatIsTooLongIsOddButCanRun) {
  EXPECT_THAT(ProblemsWith({"training.steps=20", "lr_schedule.warmup_steps=30"}), IsEmpty());
  JobSpec spec;
  spec.training.steps = 15;
  spec.lr_schedule.warmup_steps = 30;
  EXPECT_THAT(SpecNotices(spec),
              ::testing::ElementsAre("lr_schedule.warmup_steps, 30, is above training.steps, 15: "
                                     "the learning rate ends at 50 % of optimizer.lr"));
  spec.training.steps = 30;
  EXPECT_THAT(SpecNotices(spec), IsEmpty());
}

TEST(ValidateTest, JudgesNoRuleOverAFieldThatIsWrongItself) {
  EXPECT_THAT(ProblemsWith({"training.global_batch_size=0", "model.num_attention_heads=0"}),
              ElementsAre("model.num_attention_heads: 0 is not allowed; need a whole number from 1 "
                          "to 1024",
                          "training.global_batch_size: 0 is not allowed; need a whole number from "
                          "1 to 16777216"));
}

TEST(ValidateTest, ComplainsOnceAboutAFieldThatCannotBeRead) {
  JobSpec spec;
  EXPECT_THAT(Lines(ReadJobSpec("name: t\ndata: {train: 3.5.1: x}\n", {}, &spec)),
              testing::SizeIs(1));
  EXPECT_THAT(Lines(ReadJobSpec("- a\n", {}, &spec)), testing::SizeIs(1));
}

TEST(ResolveVocabularyTest, KnowsTheBytesTokenizerOnly) {
  JobSpec spec;
  EXPECT_TRUE(ResolveVocabulary(&spec));
  EXPECT_EQ(spec.model.vocab_size, 257);
  spec.model.vocab_size = 0;
  spec.data.tokenizer = "some.model";
  EXPECT_FALSE(ResolveVocabulary(&spec));
  spec.model.vocab_size = 300;
  EXPECT_TRUE(ResolveVocabulary(&spec));
  EXPECT_EQ(spec.model.vocab_size, 300);
}

}  // namespace
}  // namespace birkhoff
