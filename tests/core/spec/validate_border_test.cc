// The rules that join fields, at their borders: what just does, what just does not, and that the
// value that is offered would do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/rng.h"
#include "core/spec/field.h"
#include "core/spec/load.h"
#include "core/spec/validate.h"
#include "tests/core/spec/read_spec.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> FieldsOf(const std::vector<Problem>& problems) {
  std::vector<std::string> fields;
  for (const Problem& problem : problems) fields.push_back(problem.field);
  return fields;
}

std::vector<Problem> Read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  JobSpec spec;
  return ReadJobSpec(yaml, overrides, &spec);
}

// Fields by ";", over the defaults with a training file.
std::vector<Problem> ProblemsWith(const std::string& overrides) {
  return Read("data: {train: t}\n", absl::StrSplit(overrides, ';', absl::SkipEmpty()));
}

struct Border {
  const char* inside;
  const char* outside;
  const char* field;  // that is refused
};

TEST(ValidateBorder, OneStepFurtherIsRefused) {
  const Border borders[] = {
      {"model.hidden_size=8", "model.hidden_size=4", "model.hidden_size"},
      {"model.hidden_size=136", "model.hidden_size=132", "model.hidden_size"},
      {"model.hidden_size=128", "model.hidden_size=127", "model.hidden_size"},
      {"model.num_key_value_heads=2", "model.num_key_value_heads=3", "model.num_key_value_heads"},
      {"model.num_key_value_heads=4", "model.num_key_value_heads=8", "model.num_key_value_heads"},
      {"model.num_attention_heads=64;model.num_key_value_heads=64",
       "model.num_attention_heads=128;model.num_key_value_heads=128", "model.hidden_size"},
      {"model.residual.mapping=permutations;model.residual.streams=4",
       "model.residual.mapping=permutations;model.residual.streams=5", "model.residual.streams"},
      {"model.residual.mapping=deepseek;model.residual.sinkhorn_iterations=32",
       "model.residual.mapping=deepseek;model.residual.sinkhorn_iterations=33",
       "model.residual.sinkhorn_iterations"},
      {"model.residual.mapping=identity;model.residual.sinkhorn_iterations=1000",
       "model.residual.mapping=identity;model.residual.sinkhorn_iterations=1001",
       "model.residual.sinkhorn_iterations"},
      {"model.residual.kind=hc;model.residual.mapping=permutations;model.residual.streams=8",
       "model.residual.mapping=permutations;model.residual.streams=8", "model.residual.streams"},
      {"model.residual.kind=hc;model.residual.learn_res=false", "model.residual.learn_res=false",
       "model.residual.learn_res"},
      {"model.residual.kind=residual;model.residual.learn_res=false",
       "model.residual.kind=mhc;model.residual.learn_res=false", "model.residual.learn_res"},
      {"model.residual.learn_pre=false;model.residual.streams=2",
       "model.residual.learn_pre=false;model.residual.streams=1", "model.residual.learn_pre"},
      {"model.residual.learn_pre=false;model.residual.streams=1;model.residual.kind=hc",
       "model.residual.learn_pre=false;model.residual.streams=1", "model.residual.learn_pre"},
      {"model.residual.learn_post=false;model.residual.streams=1",
       "model.residual.learn_post=false;model.residual.streams=0", "model.residual.streams"},
      {"data.train=[{path: a, weight: 1.0e-300}]", "data.train=[{path: a, weight: -1}]",
       "data.train[0].weight"},
      {"data.train=[a, {path: b, weight: 2}]", "data.train=[a, {path: b, weight: 0}]",
       "data.train[1].weight"},
      {"data.train=[a, b]", "data.train=[a, '']", "data.train[1].path"},
      {"data.train=a", "data.train=", "data.train[0].path"},
      {"data.validation=v;data.validation_split=0", "data.validation=v;data.validation_split=0.001",
       "data.validation_split"},
      {"data.validation_split=0.5", "data.validation_split=0.5;data.validation=v",
       "data.validation_split"},
      {"data.tokenizer=t.model", "data.tokenizer=", "data.tokenizer"},
      {"data.tokenizer=none;model.vocab_size=1", "data.tokenizer=none", "model.vocab_size"},
      {"model.vocab_size=257", "model.vocab_size=256", "model.vocab_size"},
      {"model.vocab_size=0", "model.vocab_size=1", "model.vocab_size"},
      {"model.vocab_size=100;data.tokenizer=t.model", "model.vocab_size=100", "model.vocab_size"},
      {"training.precision=bf16", "training.precision=bf16;device=cpu", "training.precision"},
      {"training.precision=bf16;device=cuda", "training.precision=bf16;device=cpu",
       "training.precision"},
      {"training.global_batch_size=8", "training.global_batch_size=6",
       "training.global_batch_size"},
      {"training.global_batch_size=10", "training.global_batch_size=9",
       "training.global_batch_size"},
      {"parallelism.data_parallel_degree=4", "parallelism.data_parallel_degree=3",
       "training.global_batch_size"},
      {"parallelism.data_parallel_degree=4", "parallelism.data_parallel_degree=8",
       "training.global_batch_size"},
      {"parallelism.schedule=1f1b;training.global_batch_size=2",
       "parallelism.schedule=1f1b;training.global_batch_size=1", "training.global_batch_size"},
      {"parallelism.schedule=dualpipe;training.global_batch_size=12",
       "parallelism.schedule=dualpipe;training.global_batch_size=10", "training.global_batch_size"},
      {"parallelism.schedule=dualpipe;training.global_batch_size=8",
       "parallelism.schedule=dualpipe;training.global_batch_size=4", "training.global_batch_size"},
      {"training.global_batch_size=10",
       "training.global_batch_size=10;parallelism.schedule=dualpipe", "training.global_batch_size"},
      {"parallelism.schedule=dualpipe;parallelism.pipeline_parallel_degree=4",
       "parallelism.schedule=dualpipe;parallelism.pipeline_parallel_degree=5",
       "parallelism.pipeline_parallel_degree"},
      {"parallelism.pipeline_parallel_degree=3;training.global_batch_size=12",
       "parallelism.pipeline_parallel_degree=3;training.global_batch_size=10",
       "training.global_batch_size"},
      {"parallelism.schedule=1f1b;parallelism.pipeline_parallel_degree=18",
       "parallelism.schedule=1f1b;parallelism.pipeline_parallel_degree=19",
       "parallelism.pipeline_parallel_degree"},
      {"parallelism.pipeline_parallel_degree=9;training.global_batch_size=36",
       "parallelism.pipeline_parallel_degree=10;training.global_batch_size=40",
       "parallelism.pipeline_parallel_degree"},
      {"parallelism.schedule=dualpipe;parallelism.pipeline_parallel_degree=18;"
       "training.global_batch_size=144",
       "parallelism.schedule=dualpipe;parallelism.pipeline_parallel_degree=20;"
       "training.global_batch_size=160",
       "parallelism.pipeline_parallel_degree"},
      {"parallelism.recompute=16", "parallelism.recompute=17", "parallelism.recompute"},
      {"parallelism.recompute=none;model.num_hidden_layers=2",
       "parallelism.recompute=5;model.num_hidden_layers=2", "parallelism.recompute"},
      {"training.sequence_length=1048576;training.micro_batch_size=16;"
       "training.global_batch_size=64",
       "training.sequence_length=1048576;training.micro_batch_size=32;"
       "training.global_batch_size=128",
       "training.micro_batch_size"},
      {"lr_schedule.min_lr=0.001", "lr_schedule.min_lr=0.0010000000000000002",
       "lr_schedule.min_lr"},
      {"lr_schedule.min_lr=1;lr_schedule.kind=constant",
       "lr_schedule.min_lr=1;lr_schedule.kind=linear", "lr_schedule.min_lr"},
      {"lr_schedule.min_lr=1;lr_schedule.kind=step", "lr_schedule.min_lr=1;lr_schedule.kind=wsd",
       "lr_schedule.min_lr"},
      {"lr_schedule.kind=wsd;lr_schedule.decay_steps=180",
       "lr_schedule.kind=wsd;lr_schedule.decay_steps=181", "lr_schedule.decay_steps"},
      {"lr_schedule.kind=cosine;lr_schedule.decay_steps=181",
       "lr_schedule.kind=wsd;lr_schedule.decay_steps=181", "lr_schedule.decay_steps"},
      {"lr_schedule.kind=wsd;lr_schedule.warmup_steps=200",
       "lr_schedule.kind=wsd;lr_schedule.warmup_steps=200;lr_schedule.decay_steps=1",
       "lr_schedule.decay_steps"},
      {"lr_schedule.kind=wsd;lr_schedule.warmup_steps=201;lr_schedule.decay_steps=1",
       "lr_schedule.kind=wsd;lr_schedule.warmup_steps=199;lr_schedule.decay_steps=2",
       "lr_schedule.decay_steps"},
      {"lr_schedule.step_at=[0.5, 0.5000000000000001]", "lr_schedule.step_at=[0.5, 0.5]",
       "lr_schedule.step_at"},
      {"lr_schedule.step_at=[5.0e-324, 0.9]", "lr_schedule.step_at=[0, 0.9]",
       "lr_schedule.step_at"},
      {"lr_schedule.step_at=[0.1, 0.9999999999999999]", "lr_schedule.step_at=[0.1, 1]",
       "lr_schedule.step_at"},
      {"lr_schedule.step_at=[0.8, 0.9]", "lr_schedule.step_at=[0.9, 0.8]", "lr_schedule.step_at"},
      {"lr_schedule.step_at=[];lr_schedule.step_factor=[]", "lr_schedule.step_at=[]",
       "lr_schedule.step_factor"},
      {"lr_schedule.step_factor=[0, 5]", "lr_schedule.step_factor=[0, -5.0e-324]",
       "lr_schedule.step_factor"},
      {"lr_schedule.step_factor=[1, 2]", "lr_schedule.step_factor=[1, 2, 3]",
       "lr_schedule.step_factor"},
      {"name=a", "name=''", "name"},
      {"name=0", "name=-", "name"},
      {"name=a-b--c", "name=a-b-", "name"},
      {"name=a-b", "name=-a", "name"},
      {"name=az09", "name=aZ09", "name"},
      {"name=a-b", "name=a_b", "name"},
      {"name=a-b", "name=a.b", "name"},
      {"name=a-b", "name=a/b", "name"},
      {"name=a-b", "name='a b'", "name"},
      {"name=e", "name=\xc3\xa9", "name"},
  };
  for (const Border& border : borders) {
    EXPECT_THAT(Lines(ProblemsWith(border.inside)), IsEmpty()) << border.inside;
    EXPECT_THAT(FieldsOf(ProblemsWith(border.outside)), ElementsAre(border.field))
        << border.outside;
  }
  EXPECT_THAT(Lines(ProblemsWith("parallelism.pipeline_parallel_degree=3;"
                                 "training.global_batch_size=10")),
              ElementsAre(HasSubstr("at least 6 micro-batches per replica (2 x 3 ranks)")));
  EXPECT_THAT(Lines(ProblemsWith(absl::StrCat("name=", std::string(63, 'a')))), IsEmpty());
  EXPECT_THAT(Lines(ProblemsWith(absl::StrCat("name=", std::string(64, 'a')))), SizeIs(1));
}

// The multiples that are offered for a hidden size and a batch, put in, pass.
TEST(ValidateBorder, WhatIsOfferedWouldDo) {
  Rng rng(3);
  int offered = 0;
  for (int i = 0; i < 300; ++i) {
    const int heads = 1 + static_cast<int>(rng.Below(12)),
              micro = 1 + static_cast<int>(rng.Below(4));
    const std::string others =
        absl::StrCat("model.num_attention_heads=", heads, ";model.num_key_value_heads=", heads,
                     ";training.micro_batch_size=", micro,
                     ";parallelism.schedule=", rng.Below(2) == 0 ? "dualpipe" : "dualpipev", ";");
    const std::string sizes = absl::StrCat("model.hidden_size=", 1 + rng.Below(200),
                                           ";training.global_batch_size=", 1 + rng.Below(40));
    std::string mended = absl::StrCat(others, sizes);
    // A batch that divides may still be too small: at most one more round for each.
    for (int round = 0; round < 3; ++round) {
      for (const Problem& problem : ProblemsWith(mended)) {
        const std::string last = problem.remedy.substr(problem.remedy.rfind(' ') + 1);
        absl::StrAppend(&mended, ";", problem.field, "=", last);
        ++offered;
      }
    }
    EXPECT_THAT(Lines(ProblemsWith(mended)), IsEmpty()) << mended;
  }
  EXPECT_GT(offered, 300);
}

TEST(ValidateBorder, TextsAreShortAndWithoutControlCharacters) {
  for (const char* field : {"data.validation", "data.tokenizer", "checkpoint.directory"}) {
    const std::string longest(kMaxTextBytes, 'x');
    EXPECT_THAT(Lines(ProblemsWith(absl::StrCat(field, "=", longest))), IsEmpty());
    EXPECT_THAT(Lines(ProblemsWith(absl::StrCat(field, "=", longest, "x"))),
                ElementsAre(absl::StrCat(
                    field, ": a text of 4097 bytes is not allowed; need at most 4096")));
    for (const char* escape : {"\\n", "\\r", "\\t", "\\0", "\\e", "\\x1f", "\\x7f"}) {
      EXPECT_THAT(Lines(ProblemsWith(absl::StrCat(field, "=\"a", escape, "b\""))),
                  ElementsAre(HasSubstr(" is not allowed; need a text without control characters")))
          << escape;
    }
    EXPECT_THAT(Lines(ProblemsWith(absl::StrCat(field, "=\"a b~\\x20\xc3\xa9\""))), IsEmpty());
  }
  EXPECT_THAT(Lines(ProblemsWith("data.train=[a, \"b\\n\"]")),
              ElementsAre("data.train[1].path: b\\n is not allowed; need a text without control "
                          "characters"));
}

TEST(ValidateBorder, ListsBeyondTheirSizeAreAllThatIsSaid) {
  JobSpec spec;
  spec.name = "";
  spec.data.train.assign(kMaxListItems, {"t", 1.0});
  spec.lr_schedule.step_at.assign(kMaxListItems + 1, 0.5);
  spec.lr_schedule.step_factor.assign(kMaxListItems + 2, 0.5);
  EXPECT_THAT(Lines(ValidateJobSpec(spec)),
              ElementsAre("lr_schedule.step_at: 4097 items is not allowed; need at most 4096",
                          "lr_schedule.step_factor: 4098 items is not allowed; need at most 4096"));
  spec.data.train.push_back({"t", 1.0});
  EXPECT_THAT(Lines(ValidateJobSpec(spec)), SizeIs(3));
}

// Of a spec that no YAML made: numbers that no text is read as.
TEST(ValidateBorder, WhatIsNotFiniteIsRefused) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double odd : {kInfinity, -kInfinity, std::nan("")}) {
    for (const Field& field : Fields()) {
      const auto* real = std::get_if<RealField>(&field.kind);
      if (real == nullptr) continue;
      JobSpec spec;
      spec.data.train = {{"t", 1.0}};
      real->at(spec) = odd;
      EXPECT_THAT(FieldsOf(ValidateJobSpec(spec)), ElementsAre(field.path)) << odd;
    }
    JobSpec spec;
    spec.data.train = {{"t", odd}};
    spec.lr_schedule.step_at[1] = odd;
    spec.lr_schedule.step_factor[0] = odd;
    EXPECT_THAT(
        FieldsOf(ValidateJobSpec(spec)),
        ElementsAre("data.train[0].weight", "lr_schedule.step_at", "lr_schedule.step_factor"))
        << odd;
  }
}

TEST(ValidateBorder, AllThatIsWrongIsSaidAtOnce) {
  EXPECT_THAT(
      FieldsOf(Read("name: A\nmodel: {hidden_size: 130, residual: {learn_res: false}, x: 1}\n"
                    "data: {train: [{path: '', weight: 0}], tokenizer: ''}\n"
                    "training: {global_batch_size: 31, clip_grad: high}\n"
                    "optimizer: {name: lion, beta1: 1}\n"
                    "lr_schedule: {min_lr: 1, step_at: [2, 1], step_factor: [1]}\n"
                    "parallelism: {recompute: 99}\n")),
      ElementsAre("model.x", "training.clip_grad", "optimizer.beta1", "name", "data.train[0].path",
                  "data.train[0].weight", "data.tokenizer", "model.hidden_size",
                  "model.residual.learn_res", "training.global_batch_size", "optimizer.name",
                  "lr_schedule.min_lr", "lr_schedule.step_at", "lr_schedule.step_factor",
                  "parallelism.recompute"));
}

struct Once {
  const char* yaml;
  std::vector<std::string> fields;
};

// "Each field once", and no field is passed over because another one's name begins as its own.
TEST(ValidateBorder, EachFieldIsNamedOnceAndNoneIsHidden) {
  const Once cases[] = {
      {"data: {train: t, validation: v, validation_split: 0.7}\n", {"data.validation_split"}},
      {"data: {train: t}\noptimizer: {name: \"a\\nb\"}\n", {"optimizer.name"}},
      {"data: {train: t}\nlr_schedule: {step_factor: [-1]}\n", {"lr_schedule.step_factor"}},
      {"data: {train: {a: b}}\n", {"data.train"}},
      {"data: {train: [{weight: 1}]}\n", {"data.train[0]"}},
      {"data: {train: [{path: t, weight: x}]}\n", {"data.train[0].weight"}},
      {"data: 5\n", {"data"}},
      {"[]\n", {"job spec"}},
      {"d: 1\n", {"d", "data.train"}},
      {"data: {t: 1}\n", {"data.t", "data.train"}},
      {"data: {train: t}\nmodel: {residual: {stream: 2, streams: 9}}\n",
       {"model.residual.stream", "model.residual.streams"}},
      {"data: {train: t}\ntraining: {step: 2, steps: 0}\n", {"training.step", "training.steps"}},
      {"data: {train: t}\nn: 1\nname: A\n", {"n", "name"}},
      {"data: {train: [{path: '', weight: 1}, {path: t, weigth: 0}]}\n",
       {"data.train[1].weigth", "data.train[0].path"}},
      {"data: {train: [a, {path: '', weight: x}]}\n",
       {"data.train[1].weight", "data.train[1].path"}},
  };
  for (const Once& c : cases) EXPECT_EQ(FieldsOf(Read(c.yaml)), c.fields) << c.yaml;
}

TEST(ValidateBorder, AWarmUpAsLongAsTheTrainingIsNotOdd) {
  JobSpec spec;
  const auto notice = [&spec](int64_t warmup, int64_t steps) {
    spec.lr_schedule.warmup_steps = warmup;
    spec.training.steps = steps;
    const std::vector<std::string> notices = SpecNotices(spec);
    return notices.empty() ? "" : notices[0].substr(notices[0].find(": ") + 2);
  };
  EXPECT_EQ(notice(200, 200), "");
  EXPECT_EQ(notice(201, 200), "the learning rate ends at 100 % of optimizer.lr");
  EXPECT_EQ(notice(300, 200), "the learning rate ends at 67 % of optimizer.lr");
  EXPECT_EQ(notice(std::numeric_limits<int64_t>::max(), 1),
            "the learning rate ends at 0 % of optimizer.lr");
}

}  // namespace
}  // namespace birkhoff
