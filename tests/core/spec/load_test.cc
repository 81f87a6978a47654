// YAML <-> JobSpec: what is read, what is written, and what odd texts get instead of a crash.
#include "core/spec/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/rng.h"
#include "core/spec/field.h"
#include "core/spec/validate.h"
#include "tests/core/spec/read_spec.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kSmallest[] = "data: {train: data/corpus-train}\n";

TEST(LoadTest, FillsInEveryDefault) {
  JobSpec defaults;
  defaults.data.train = {{"data/corpus-train", 1.0}};
  EXPECT_EQ(JobSpecToYaml(Load(kSmallest)), JobSpecToYaml(defaults));
}

TEST(LoadTest, ReadsTheExampleOfTheDesign) {
  const JobSpec spec = Load(R"(
name: tiny
model: {vocab_size: 0, hidden_size: 64, num_hidden_layers: 3, num_attention_heads: 8,
        num_key_value_heads: 2, intermediate_size: 96, tie_embeddings: true, rms_norm_eps: 1.0e-5,
        rope_theta: 5e5, init_std: .01, residual: {kind: hc, streams: 2, sinkhorn_iterations: 7}}
data: {train: [{path: a, weight: 2}, b], validation: c, tokenizer: t.model, seed: 18446744073709551615}
training: {steps: 7, deterministic: true}
lr_schedule: {kind: step, step_at: [0.5], step_factor: [1e-1]}
parallelism: {schedule: 1f1b, recompute: 4}
device: cpu
)");
  EXPECT_EQ(spec.name, "tiny");
  EXPECT_EQ(spec.model.hidden_size, 64);
  EXPECT_TRUE(spec.model.tie_embeddings);
  EXPECT_EQ(spec.model.rms_norm_eps, 1.0e-5);
  EXPECT_EQ(spec.model.rope_theta, 5e5);
  EXPECT_EQ(spec.model.residual.kind, ResidualKind::kHc);
  ASSERT_THAT(spec.data.train, SizeIs(2));
  EXPECT_EQ(spec.data.train[0].path, "a");
  EXPECT_EQ(spec.data.train[0].weight, 2.0);
  EXPECT_EQ(spec.data.train[1].path, "b");
  EXPECT_EQ(spec.data.train[1].weight, 1.0);
  EXPECT_EQ(spec.data.seed, 18446744073709551615ULL);
  EXPECT_EQ(spec.training.deterministic, Toggle::kTrue);
  EXPECT_THAT(spec.lr_schedule.step_factor, ElementsAre(0.1));
  EXPECT_EQ(spec.parallelism.schedule, ScheduleKind::k1F1B);
  EXPECT_EQ(spec.parallelism.recompute, 4);
  EXPECT_EQ(spec.device, DeviceKind::kCpu);
}

TEST(LoadTest, ResolvedYamlLoadsBackToTheSameValues) {
  JobSpec spec;
  spec.name = "on";  // a word that YAML readers of version 1.1 take for true
  spec.data.train = {{"with space", 0.1}, {"quote\"back\\slash", 1e-300}, {"tab\tnewline\n", 3}};
  spec.data.validation = "\xc3\xa9t\xc3\xa9: {not a map}";
  spec.data.tokenizer = "123";
  spec.data.seed = 0xffffffffffffffffULL;
  spec.optimizer.lr = 0.1 + 0.2;  // needs 17 digits
  spec.training.steps = 0x7fffffffffffffffLL;
  spec.lr_schedule.step_at = {};
  spec.lr_schedule.step_factor = {1.0 / 3};
  spec.parallelism.recompute = ParallelismSpec::kRecomputeNone;
  spec.training.deterministic = Toggle::kFalse;
  const std::string yaml = JobSpecToYaml(spec);
  const JobSpec back = Load(yaml);
  EXPECT_EQ(JobSpecToYaml(back), yaml);
  EXPECT_EQ(back.data.train[2].path, "tab\tnewline\n");
  EXPECT_EQ(back.optimizer.lr, 0.1 + 0.2);
}

// YAML 1.1 takes 3e-04 for a text, and so do its readers in Python.
TEST(LoadTest, NumbersHaveAPointBeforeAnExponent) {
  EXPECT_EQ(ShortestNumber(3e-4), "3.0e-04");
  EXPECT_EQ(ShortestNumber(1e-15), "1.0e-15");
  EXPECT_EQ(ShortestNumber(1.5e-7), "1.5e-07");
  EXPECT_EQ(ShortestNumber(1e300), "1.0e+300");
  EXPECT_EQ(ShortestNumber(0.003), "0.003");
  EXPECT_EQ(ShortestNumber(3), "3");
}

TEST(LoadTest, EveryFieldRoundTripsAwayFromItsDefault) {
  const std::string path = "changed";
  for (const Field& field : Fields()) {
    std::string value;
    if (const auto* kind = std::get_if<ChoiceField>(&field.kind)) {
      const bool last = FieldValue(field, JobSpec()) == kind->names.back();
      value = last ? kind->names.front() : kind->names.back();
    } else if (std::holds_alternative<SwitchField>(field.kind)) {
      value = FieldValue(field, JobSpec()) == "true" ? "false" : "true";
    } else if (std::holds_alternative<TextField>(field.kind) ||
               std::holds_alternative<SourcesField>(field.kind)) {
      value = path;
    } else if (std::holds_alternative<RealsField>(field.kind)) {
      value = "[0.25]";
    } else if (std::holds_alternative<RealField>(field.kind)) {
      value = "0.375";
    } else {
      value = "5";
    }
    const JobSpec spec = Load(kSmallest, {field.path + "=" + value});
    EXPECT_NE(FieldValue(field, spec), FieldValue(field, Load(kSmallest))) << field.path;
    EXPECT_EQ(JobSpecToYaml(Load(JobSpecToYaml(spec))), JobSpecToYaml(spec)) << field.path;
  }
}

TEST(LoadTest, OverridesReplaceFieldsAndSectionsInOrder) {
  const JobSpec spec = Load(kSmallest, {"model.residual.kind=hc", "model.residual={streams: 2}",
                                        "data.train=[x, {path: y, weight: 3}]", "training.steps=5",
                                        "training.steps=6", "data.validation="});
  EXPECT_EQ(spec.model.residual.kind, ResidualKind::kHc);
  EXPECT_EQ(spec.model.residual.streams, 2);
  EXPECT_EQ(spec.data.train.back().path, "y");
  EXPECT_EQ(spec.training.steps, 6);
  EXPECT_EQ(spec.data.validation, "");
}

TEST(LoadTest, SaysWhatIsWrongWithAnOverride) {
  EXPECT_THAT(ProblemsOf(kSmallest, {"training.steps"}),
              ElementsAre("--set training.steps: no assignment is not allowed; need path=value"));
  EXPECT_THAT(ProblemsOf(kSmallest, {"training.step=5"}),
              ElementsAre("training.step: 5 is not allowed; need a field of the job spec (did you "
                          "mean training.steps?)"));
  EXPECT_THAT(ProblemsOf(kSmallest, {"model={"}), ElementsAre(HasSubstr("--set model line 1")));
}

TEST(LoadTest, ReportsEverythingAtOnce) {
  EXPECT_THAT(
      ProblemsOf("modle: {}\nmodel: {hidden_size: wide, hiden_size: 1, moe: {experts: 8}}\n"
                 "data: {train: [{weight: 1}, 5, [x]]}\ntraining: 3\n"),
      ElementsAre("modle: a mapping is not allowed; need a field of the job spec (did you mean "
                  "model?)",
                  "model.hidden_size: wide is not allowed; need a whole number from 1 to 65536",
                  "model.hiden_size: 1 is not allowed; need a field of the job spec (did you mean "
                  "model.hidden_size?)",
                  "model.moe: a mapping is not allowed; need no such field (reserved, not built "
                  "yet)",
                  "data.train[0]: an entry without path is not allowed; need path",
                  "data.train[2]: a list is not allowed; need a path or {path: PATH, weight: "
                  "NUMBER}",
                  "training: 3 is not allowed; need a mapping of fields (birkhoff explain training "
                  "lists them)"));
}

struct OddText {
  const char* name;
  std::string text;
  std::string says;
  friend void PrintTo(const OddText& odd, std::ostream* out) { *out << odd.name; }
};

std::string AliasBomb() {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 40; ++i) {
    const std::vector<std::string> nine(9, absl::StrCat("*a", i - 1));
    absl::StrAppend(&text, "a", i, ": &a", i, " [", absl::StrJoin(nine, ", "), "]\n");
  }
  return text + "data: {train: *a39}\n";
}

class OddTextTest : public ::testing::TestWithParam<OddText> {};

TEST_P(OddTextTest, GetsAMessage) {
  EXPECT_THAT(absl::StrJoin(ProblemsOf(GetParam().text), "\n"), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Odd, OddTextTest,
    ::testing::Values(
        OddText{"Empty", "", "job spec: an empty text is not allowed"},
        OddText{"OnlyComment", "# nothing\n", "job spec: "},
        OddText{"Null", "null\n", "job spec: nothing (null) is not allowed"},
        OddText{"Scalar", "tiny\n", "job spec: tiny is not allowed; need a mapping of fields"},
        OddText{"List", "- a\n- b\n", "job spec: a list is not allowed"},
        OddText{"TwoDocuments", "name: a\n---\nname: b\n", "more than one document"},
        OddText{"Tab", "model:\n\thidden_size: 3\n", "job spec line 2, column 1: a tab"},
        OddText{"TabBehindSpaces", "model:\n  residual:\n  \tkind: hc\n",
                "job spec line 3, column 3: a tab"},
        OddText{"TabAndAnotherSlip", "model: {hidden_size: 3\n\tname: x: y\n", "a tab"},
        OddText{"SlipBeforeATab", "a: b: c\nmodel:\n\tx: 1\n", "line 1, column 5: the text"},
        OddText{"Unclosed", "model: {hidden_size: 3\n", "need well-formed YAML"},
        OddText{"UnknownAlias", "name: *nowhere\n", "need well-formed YAML"},
        OddText{"SelfAlias", "data: &d {train: *d}\n", "data.train: a mapping is not allowed"},
        OddText{"AliasBomb", AliasBomb(), "a0: a list is not allowed"},
        OddText{"DeepNesting", std::string(200000, '['), "job spec"},
        OddText{"DeepMaps",
                [] {
                  std::string text;
                  for (int i = 0; i < 3000; ++i) text += "{a: ";
                  return text;
                }(),
                "job spec"},
        OddText{"DuplicateKey", "name: a\nname: b\n",
                "name: a second value is not allowed; need each key once"},
        OddText{"DuplicateSection", "model: {}\nmodel: {}\n", "model: a second value"},
        OddText{"KeyThatIsAMap", "{a: 1}: b\n", "the key a mapping is not allowed"},
        OddText{"KeyThatIsNull", "~: b\n", "job spec: the key"},
        OddText{"NotUtf8", "name: \xff\n", "byte 0xff at offset 6"},
        OddText{"OverlongUtf8", "name: \xc0\xaf\n", "byte 0xc0 at offset 6"},
        OddText{"CutUtf8", "name: \xe2\x82", "byte 0xe2 at offset 6"},
        OddText{"Surrogate", "name: \xed\xa0\x80\n", "byte 0xed at offset 6"},
        OddText{"Utf16",
                std::string("\xff\xfe"
                            "n\0",
                            4),
                "byte 0xff at offset 0"},
        OddText{"Nul", std::string("name: a\0b\n", 10), "byte 0x0 at offset 7"},
        OddText{"TooLong", std::string((1 << 20) + 1, 'x'), "1048577 bytes is not allowed"},
        OddText{"LongValue", "training: {steps: " + std::string(5000, '9') + "}\n",
                "training.steps: 999999999999999999999999999999999999999999999999999999999999..."},
        OddText{"NaN", "optimizer: {lr: .nan}\n", "optimizer.lr: .nan is not allowed"},
        OddText{"Infinity", "optimizer: {lr: .inf}\n", "optimizer.lr: .inf is not allowed"},
        OddText{"Overflow", "optimizer: {lr: 1e999}\n", "optimizer.lr: 1e999 is not allowed"},
        OddText{"HugeInt", "training: {steps: 9223372036854775808}\n",
                "training.steps: 9223372036854775808 is not allowed"},
        OddText{"NegativeSeed", "data: {seed: -1}\n",
                "data.seed: -1 is not allowed; need a whole number from 0 to 2^64 - 1"},
        OddText{"HexInt", "training: {steps: 0x10}\n", "training.steps: 0x10 is not allowed"},
        OddText{"RealForInt", "training: {steps: 10.0}\n", "training.steps: 10.0 is not allowed"},
        OddText{"QuotedInt", "training: {steps: \"10\"}\n", "write it without quotes"},
        OddText{"YesForTrue", "model: {tie_embeddings: yes}\n",
                "model.tie_embeddings: yes is not allowed; need true or false"},
        OddText{"ListForNumber", "training: {steps: [1]}\n",
                "training.steps: a list is not allowed"},
        OddText{"MapForText", "name: {a: b}\n", "name: a mapping is not allowed"},
        OddText{"NumberForPath", "data: {train: {path: x}}\n",
                "data.train: a mapping is not allowed; need a path, or a list"},
        OddText{"ZeroRecompute", "parallelism: {recompute: 0}\n",
                "parallelism.recompute: 0 is not allowed; need auto, none, or a whole number"},
        OddText{"MergeKey", "<<: {name: a}\n", "<<: a mapping is not allowed"}),
    [](const ::testing::TestParamInfo<OddText>& test) { return test.param.name; });

// Every prefix and many single-byte edits of a real file: problems or none, but never a crash, and
// what loads without a problem writes a text that loads again.
TEST(LoadTest, SurvivesDamageAnywhere) {
  const std::string good = JobSpecToYaml(Load(kSmallest));
  const auto try_text = [](const std::string& text) {
    std::vector<Problem> problems;
    JobSpec spec;
    problems = ReadJobSpec(text, {}, &spec);
    if (!problems.empty()) return;
    std::vector<Problem> again;
    LoadJobSpec(JobSpecToYaml(spec), {}, &again);
    EXPECT_THAT(again, IsEmpty()) << text;
  };
  for (size_t length = 0; length < good.size(); length += 7) try_text(good.substr(0, length));
  Rng rng(1);
  for (int i = 0; i < 1500; ++i) {
    std::string text = good;
    text[rng.Below(text.size())] = "\n\t {}[]:-#&*!|>'\"%@`?,0x\xff"[rng.Below(25)];
    try_text(text);
  }
}

TEST(ExplainTest, ShowsMeaningLimitsAndDefault) {
  EXPECT_EQ(ExplainField("model.residual.streams"),
            "model.residual.streams\n  Parallel residual streams n; the plain residual has one and "
            "ignores this.\n  Allowed: a whole number from 1 to 8.  Default: 4\n");
  EXPECT_THAT(ExplainField("optimizer"), HasSubstr("optimizer.weight_decay\n"));
  EXPECT_THAT(ExplainField(""), HasSubstr("device\n"));
  EXPECT_EQ(ExplainField("model.residual.stream"), "");
}

TEST(ExplainTest, NamesEveryMappingWithItsSource) {
  const std::string text = ExplainField("model.residual.mapping");
  for (const MappingTraits& mapping : kMappings) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\n    ", mapping.name, ": ")));
    EXPECT_THAT(text, HasSubstr(absl::StrCat("(", mapping.source, ")")));
  }
}

TEST(NearestPathTest, FindsTheNameThatWasMeant) {
  EXPECT_EQ(NearestPath("model.hiddensize"), "model.hidden_size");
  EXPECT_EQ(NearestPath("training.lr"), "optimizer.lr");  // right name, wrong section
  EXPECT_EQ(NearestPath("paralelism"), "parallelism");
  EXPECT_EQ(NearestPath("training.something_else_entirely"), "");
}

}  // namespace
}  // namespace birkhoff
