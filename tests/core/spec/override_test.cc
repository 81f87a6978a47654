// --set PATH=VALUE: what is taken, in which order, what is said of what is not; and the name that
// somebody meant.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/nearest.h"
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

constexpr char kFile[] = "data: {train: t, validation: v}\ntraining: {steps: 7}\n";

JobSpec With(const std::vector<std::string>& overrides) { return Load(kFile, overrides); }

std::string SaidOf(const std::vector<std::string>& overrides) {
  return absl::StrJoin(ProblemsOf(kFile, overrides), "\n");
}

TEST(Override, StandsAboveTheFileAndBelowTheNext) {
  EXPECT_EQ(With({}).training.steps, 7);
  EXPECT_EQ(With({"training.steps=8"}).training.steps, 8);
  EXPECT_EQ(With({"training.steps=8", "training.steps=9"}).training.steps, 9);
  EXPECT_EQ(With({"training={steps: 8}", "training.steps=9"}).training.steps, 9);
  EXPECT_EQ(With({"training.steps=9", "training={steps: 8}"}).training.steps, 8);
  EXPECT_EQ(With({"training={sequence_length: 64}"}).training.steps, 7) << "not named, not moved";
  EXPECT_EQ(With({"training={}"}).training.steps, 7);
}

TEST(Override, ReplacesAListAsAWhole) {
  EXPECT_THAT(With({"data.train=[a, b]", "data.train=c"}).data.train, SizeIs(1));
  EXPECT_THAT(With({"data.train=[]"}).data.train, IsEmpty());
  EXPECT_THAT(With({"lr_schedule.step_at=[0.25]"}).lr_schedule.step_at, ElementsAre(0.25));
}

struct Text {
  const char* override;
  const char* path;  // what data.validation becomes
};

TEST(Override, EverythingBehindTheFirstEqualsSignIsTheValue) {
  const Text cases[] = {
      {"data.validation=a=b", "a=b"},
      {"data.validation==", "="},
      {"data.validation=", ""},
      {"data.validation=''", ""},
      {"data.validation=\"a: b\"", "a: b"},
      {"data.validation='it''s'", "it's"},
      {"data.validation= a ", "a"},
      {"data.validation=a b", "a b"},
      {"data.validation=a # b", "a"},
      {"data.validation=a#b", "a#b"},
      {"data.validation=5", "5"},
      {"data.validation=true", "true"},
      {"data.validation=C:\\tokens", "C:\\tokens"},
      {"data.validation=s3://bucket/a", "s3://bucket/a"},
      {"data.validation=\xc3\xa9", "\xc3\xa9"},
      {"data={validation: w, seed: 1}", "w"},
  };
  for (const Text& c : cases) EXPECT_EQ(With({c.override}).data.validation, c.path) << c.override;
}

struct Wrong {
  const char* override;
  const char* says;
};

TEST(Override, SaysWhatIsWrongAndWhere) {
  const Wrong cases[] = {
      {"", "--set : no assignment is not allowed; need path=value"},
      {"=", "--set =: no assignment is not allowed; need path=value"},
      {"=5", "--set =5: no assignment is not allowed; need path=value"},
      {"training.steps", "--set training.steps: no assignment is not allowed; need path=value"},
      {"training.steps: 5",
       "--set training.steps: 5: no assignment is not allowed; need path=value"},
      {"training.steps=",
       "training.steps: an empty text is not allowed; need a whole number from 1 "
       "on"},
      {"device=", "device: an empty text is not allowed; need one of auto, cpu, cuda"},
      {"training.steps= # none",
       "--set training.steps: an empty text is not allowed; need one YAML document"},
      {"training.steps=5\n---\n6",
       "--set training.steps: more than one document is not allowed; need one YAML document"},
      {"training.steps=five", "training.steps: five is not allowed; need a whole number from 1 on"},
      {"training.steps=\"5\"",
       "training.steps: 5 is not allowed; need a whole number from 1 on (write it without quotes)"},
      {"model.tie_embeddings='true'",
       "model.tie_embeddings: true is not allowed; need true or "
       "false (write it without quotes)"},
      {"training.steps =5",
       "training.steps : 5 is not allowed; need a field of the job spec (did "
       "you mean training.steps?)"},
      {"steps=5",
       "steps: 5 is not allowed; need a field of the job spec (did you mean training.steps?)"},
      {"Training.steps=5",
       "Training.steps: 5 is not allowed; need a field of the job spec (did you "
       "mean training.steps?)"},
      {"training/steps=5",
       "training/steps: 5 is not allowed; need a field of the job spec "
       "(birkhoff explain lists them)"},
      {"training..steps=5",
       "training..steps: 5 is not allowed; need a field of the job spec (did "
       "you mean training.steps?)"},
      {"training.steps.x=5",
       "training.steps.x: 5 is not allowed; need a field of the job spec "
       "(birkhoff explain lists them)"},
      {"data.train[0].weight=5",
       "data.train[0].weight: 5 is not allowed; need a field of the job "
       "spec (birkhoff explain lists them)"},
      {"model.moe.experts=8",
       "model.moe.experts: 8 is not allowed; need no such field (reserved, not built yet)"},
      {"training=5",
       "training: 5 is not allowed; need a mapping of fields (birkhoff explain "
       "training lists them)"},
      {"training={step: 5}",
       "training.step: 5 is not allowed; need a field of the job spec (did "
       "you mean training.steps?)"},
      {"training={steps: 5, steps: 6}",
       "training.steps: a second value is not allowed; need each "
       "key once (remove one of the two)"},
      {"data.validation=\x1b[31m",
       "--set data.validation: byte 0x1b at offset 0 is not allowed; "
       "need UTF-8 text without control characters"},
      {"data.validation=\xff",
       "--set data.validation: byte 0xff at offset 0 is not allowed; need "
       "UTF-8 text without control characters"},
  };
  for (const Wrong& c : cases) EXPECT_EQ(SaidOf({c.override}), c.says) << c.override;
  EXPECT_THAT(SaidOf({"data.train=[a"}), HasSubstr("--set data.train line 1, column "));
  EXPECT_THAT(SaidOf({"data.validation='a"}), HasSubstr("line 1, column 3: the text (illegal EOF"));
}

TEST(Override, AWrongOneStopsNoOther) {
  std::vector<Problem> problems;
  const JobSpec spec =
      LoadJobSpec(kFile, {"training.steps=x", "nothing", "optimizer.lr=0.5"}, &problems);
  EXPECT_THAT(problems, SizeIs(2));
  EXPECT_EQ(spec.optimizer.lr, 0.5);
  EXPECT_EQ(spec.training.steps, 7) << "as the file says";
}

TEST(Override, WorksOnADocumentThatIsNone) {
  std::vector<Problem> problems;
  EXPECT_EQ(LoadJobSpec("[", {"training.steps=8"}, &problems).training.steps, 8);
  EXPECT_THAT(problems, SizeIs(1));
}

TEST(Override, ThereIsAMostOfThem) {
  JobSpec spec;
  std::vector<std::string> overrides(kMaxOverrides, "training.steps=5");
  EXPECT_THAT(ReadJobSpec(kFile, overrides, &spec), IsEmpty());
  EXPECT_EQ(spec.training.steps, 5);
  overrides.push_back("training.steps=6");
  const std::vector<Problem> problems = ReadJobSpec(kFile, overrides, &spec);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(ProblemToString(problems[0]),
            "overrides: 1025 items is not allowed; need at most 1024 (write them into the job "
            "file)");
  EXPECT_EQ(spec.training.steps, 5) << "nothing was read";
}

TEST(Override, CountsTowardsTheBytesOfTheSpec) {
  JobSpec spec;
  const std::string name = "name=";
  const std::string file =
      absl::StrCat(kFile, "#", std::string(kMaxSpecBytes - sizeof(kFile) - 6, 'x'));
  ASSERT_EQ(file.size() + name.size() + 1, kMaxSpecBytes);
  EXPECT_THAT(ReadJobSpec(file, {name + "a"}, &spec), IsEmpty());
  EXPECT_THAT(ReadJobSpec(file, {name + "ab"}, &spec), SizeIs(1));
  EXPECT_EQ(CheckSpecBytes(kMaxSpecBytes).size(), 0u);
  EXPECT_EQ(ProblemToString(CheckSpecBytes(kMaxSpecBytes + 1).at(0)),
            "job spec: 1048577 bytes is not allowed; need at most 1048576 bytes");
}

struct Slip {
  const char* path;
  const char* meant;
};

TEST(NearestPathTest, TakesTheVeryNameAnywhereThenTheMostAlikeOfTheSection) {
  const Slip cases[] = {
      {"training.lr", "optimizer.lr"},
      {"model.streams", "model.residual.streams"},
      {"streams", "model.residual.streams"},
      {"model.kind", "model.residual.kind"},
      {"optimizer.warmup_steps", "lr_schedule.warmup_steps"},
      {"training.data_parallel_degree", "parallelism.data_parallel_degree"},
      {"residual", "model.residual"},
      {"optimizer.model", "model"},
      {"optimizer.steps", "training.steps"},  // not eps, which is two letters away
      {"optimizer.step", ""},
      {"modell", "model"},
      {"optimiser", "optimizer"},
      {"optimiser.lr", "optimizer.lr"},
      {"optimiser.beta_1", ""},  // neither the section nor the name
      {"model.residual.sinkhorn_iters", ""},
      {"model.residual.iterations", ""},
      {"model.n_heads", ""},
      {"model.num_heads", ""},
      {"model.num_layers", ""},
      {"model.num_attention_head", "model.num_attention_heads"},
      {"training.batch_size", ""},
      {"training.microbatch_size", "training.micro_batch_size"},
      {"training.seq_length", ""},
      {"devise", "device"},
      {"", ""},
      {".", ""},
      {"x", ""},
      {"training.", ""},
  };
  for (const Slip& c : cases) EXPECT_EQ(NearestPath(c.path), c.meant) << c.path;
}

// Whatever letter is lost, doubled or replaced: what is offered is of the same section and at least
// as near as what was meant.
TEST(NearestPathTest, EverySlipOfALetterIsUnderstood) {
  int others = 0;
  for (const Field& field : Fields()) {
    const size_t first = field.path.rfind('.') + 1;
    const std::string section = field.path.substr(0, first), name = field.path.substr(first);
    for (size_t i = 0; i < name.size(); ++i) {
      for (const std::string& slip :
           {name.substr(0, i) + name.substr(i + 1), name.substr(0, i) + name[i] + name.substr(i),
            name.substr(0, i) + "q" + name.substr(i + 1)}) {
        if (slip == name || slip.empty()) continue;
        const std::string offered = NearestPath(section + slip);
        if (offered == field.path) continue;
        ++others;
        ASSERT_EQ(offered.substr(0, first), section) << section << slip;
        EXPECT_LE(EditDistance(slip, offered.substr(first)), EditDistance(slip, name)) << offered;
      }
    }
  }
  EXPECT_LT(others, 30) << "beta for beta1 or beta2, learn_re for learn_pre or learn_res";
}

}  // namespace
}  // namespace birkhoff
