// What may change on a resume: the table, the comparison, and the words.
#include "core/spec/spec_change.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/spec/field.h"
#include "core/spec/lr_schedule.h"
#include "tests/testing/random_spec.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

JobSpec Spec() {
  JobSpec spec;
  spec.data.train = {{"/a/one", 1.0}, {"/a/two", 2.0}};
  spec.data.validation = "/a/validation";
  return spec;
}

// Another value, whatever the field is.
struct Changer {
  JobSpec* spec;
  void operator()(const IntField& field) const { ++field.at(*spec); }
  void operator()(const LongField& field) const { ++field.at(*spec); }
  void operator()(const SeedField& field) const { ++field.at(*spec); }
  void operator()(const RealField& field) const { field.at(*spec) += 0.25; }
  void operator()(const SwitchField& field) const { field.at(*spec) = !field.at(*spec); }
  void operator()(const TextField& field) const { field.at(*spec) += "x"; }
  void operator()(const ChoiceField& field) const {
    field.set(*spec, (field.get(*spec) + 1) % static_cast<int>(field.names.size()));
  }
  void operator()(const RecomputeField& field) const { field.at(*spec) = 3; }
  void operator()(const RealsField& field) const { field.at(*spec).push_back(0.95); }
  void operator()(const SourcesField& field) const { field.at(*spec)[0].path += "x"; }
};

JobSpec WithAnother(const Field& field) {
  JobSpec spec = Spec();
  std::visit(Changer{&spec}, field.kind);
  return spec;
}

absl::StatusOr<std::string> Admit(const JobSpec& now, const std::vector<std::string>& asked = {},
                                  int64_t step = 0) {
  return AdmitChanges({Spec(), now, asked, step});
}

// A new field needs a rule before this passes.
TEST(SpecChange, EveryFieldOfTheSpecHasOneRuleAndNothingElseHas) {
  std::vector<std::string> ruled, fields;
  for (const auto& [path, rule] : ChangeRules()) ruled.emplace_back(path);
  for (const Field& field : Fields()) fields.push_back(field.path);
  EXPECT_EQ(ruled, fields);
}

TEST(SpecChange, EveryFieldIsTreatedByItsRule) {
  size_t at = 0;
  std::set<ChangeRule> seen;
  for (const Field& field : Fields()) {
    ChangeRule rule = ChangeRules()[at++].second;
    const JobSpec now = WithAnother(field);
    const std::vector<FieldChange> changes = CompareSpecs(Spec(), now);
    ASSERT_THAT(changes, SizeIs(1)) << field.path;
    EXPECT_EQ(changes[0].path, field.path);
    // Of no effect while data.validation names a file.
    if (field.path == "data.validation_split") rule = ChangeRule::kNoticed;
    EXPECT_EQ(changes[0].rule, rule) << field.path;
    const absl::StatusOr<std::string> admitted = Admit(now), asked = Admit(now, {field.path});
    EXPECT_EQ(admitted.ok(), rule == ChangeRule::kNoticed) << field.path;
    EXPECT_EQ(asked.ok(), rule != ChangeRule::kAnotherModel) << field.path;
    const std::string words = admitted.ok() ? *admitted : std::string(admitted.status().message());
    EXPECT_THAT(words, HasSubstr(field.path + ": "));
    EXPECT_THAT(words, HasSubstr(" there, "));
    seen.insert(rule);
  }
  EXPECT_THAT(seen, SizeIs(3));
}

TEST(SpecChange, TheSameSpecIsAdmittedWithoutAWord) {
  EXPECT_THAT(CompareSpecs(Spec(), Spec()), IsEmpty());
  EXPECT_EQ(*Admit(Spec(), {"optimizer.lr"}), "") << "asked for, and not done";
}

TEST(SpecChange, RefusalNamesAllFieldsWithBothValuesAndTheRemedy) {
  JobSpec now = Spec();
  now.model.rope_theta = 20000;
  now.data.seed = 7;
  now.training.steps = 400;
  now.optimizer.lr = 0.002;
  now.optimizer.beta2 = 0.99;
  const absl::Status status = Admit(now, {"optimizer.beta2"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            "holds a run of another spec: model.rope_theta: 10000 there, 20000 now; "
            "data.seed: 42 there, 7 now; optimizer.lr: 0.001 there, 0.002 now; "
            "to train it on give back the old model.rope_theta, data.seed, which would make it "
            "another model, and ask for the change with --change optimizer.lr; "
            "else give another --out, or --fresh to forget it, or start anew from its weights with "
            "--init-from");
  now = Spec();
  now.optimizer.lr = 0.002;
  EXPECT_THAT(std::string(Admit(now).status().message()),
              AllOf(HasSubstr("to train it on ask for the change with --change optimizer.lr;"),
                    Not(HasSubstr("another model"))));
}

TEST(SpecChange, ASectionMayBeAskedFor) {
  JobSpec now = Spec();
  now.lr_schedule.warmup_steps = 3;
  now.lr_schedule.min_lr = 0;
  EXPECT_FALSE(Admit(now).ok());
  EXPECT_TRUE(Admit(now, {"lr_schedule"}).ok());
  EXPECT_FALSE(Admit(now, {"lr"}).ok()) << "half a name";
  now.training.seed = 1;
  EXPECT_FALSE(Admit(now, {"lr_schedule", "training"}).ok()) << "a seed never changes";
}

// With the schedule's own formula in the numbers: cosine from 0.001 to 0.0001 after 20 steps.
TEST(SpecChange, MoreStepsSayWhatTheLearningRateDoes) {
  JobSpec now = Spec();
  now.training.steps = 380;
  EXPECT_EQ(*Admit(now, {}, 200),
            "training.steps: 200 there, 380 now; the learning rate, 0.0001 at step 200, is "
            "0.000548 at step 201 of the cosine schedule over 380 steps");
  now.training.steps = 150;
  EXPECT_EQ(*Admit(now, {}, 200),
            "training.steps: 200 there, 150 now; step 200 is done: none is left to train");
  now = Spec();
  now.lr_schedule.kind = LrScheduleKind::kConstant;
  EXPECT_THAT(*Admit(now, {"lr_schedule.kind"}, 200), HasSubstr("none is left"));
  EXPECT_THAT(*Admit(now, {"lr_schedule.kind"}, 100),
              HasSubstr("is 0.001 at step 101 of the constant schedule over 200 steps"));
  now = Spec();
  now.checkpoint.interval = 7;
  EXPECT_THAT(*Admit(now, {}, 100), Not(HasSubstr("learning rate")));
}

TEST(SpecChange, DataMayMoveButNotBeWeightedAnew) {
  JobSpec now = Spec();
  now.data.train = {{"/b/one", 1.0}, {"/b/two", 2.0}};
  EXPECT_EQ(*Admit(now), "data.train: /a/one there, /b/one (and 1 more) now");
  now.data.train[0].path = "/a/one";
  EXPECT_EQ(*Admit(now), "data.train: /a/two there, /b/two now");
  now.data.train[1].weight = 1.0;
  EXPECT_THAT(CompareSpecs(Spec(), now),
              ElementsAre(::testing::Field(&FieldChange::rule, ChangeRule::kAnotherModel)));
  now = Spec();
  now.data.train.pop_back();
  EXPECT_FALSE(Admit(now).ok());
}

TEST(SpecChange, WhatIsHeldOutOfTheTrainingFilesStays) {
  JobSpec split = Spec();
  split.data.validation = "";
  split.data.validation_split = 0.1;
  JobSpec other = split;
  other.data.validation_split = 0.2;
  EXPECT_FALSE(AdmitChanges({split, other, {}, 0}).ok());
  JobSpec file = split;
  file.data.validation = "/a/validation";
  EXPECT_FALSE(AdmitChanges({split, file, {}, 0}).ok()) << "the held-out tenth would be trained on";
  other = Spec();
  other.data.validation = "";
  EXPECT_TRUE(Admit(other).ok());
}

TEST(SpecChange, LongValuesAreShortened) {
  JobSpec now = Spec();
  now.data.train.assign(200, {std::string(4000, 'p'), 1.0});
  EXPECT_LT(Admit(now).status().message().size(), 1000u);
}

TEST(SpecChange, AListOfWhatMayChangeIsChecked) {
  EXPECT_THAT(CheckAskedChanges({"optimizer.lr", "lr_schedule", "training", "stability.max_gain",
                                 "training.steps", "data.validation"},
                                "changes"),
              IsEmpty());
  const std::vector<Problem> problems =
      CheckAskedChanges({"optimizer.rl", "model.rope_theta", "model", "", "a\n"}, "changes");
  ASSERT_THAT(problems, SizeIs(5));
  EXPECT_EQ(problems[0].field, "changes");
  EXPECT_EQ(problems[0].value, "optimizer.rl");
  EXPECT_EQ(problems[0].remedy, "did you mean optimizer.lr?");
  EXPECT_THAT(problems[1].remedy, HasSubstr("init_from"));
  EXPECT_THAT(problems[2].remedy, HasSubstr("init_from"));
  EXPECT_EQ(problems[4].value, "a\\n");
}

TEST(SpecChange, ASectionAsksForItsFieldsAndHalfANameForNone) {
  const std::vector<std::string> asked = {"optimizer", "lr_schedule.kind", "model.residual"};
  for (const char* field :
       {"optimizer", "optimizer.lr", "lr_schedule.kind", "model.residual", "model.residual.kind"}) {
    EXPECT_TRUE(IsAskedFor(field, asked)) << field;
  }
  for (const char* field : {"optimizers", "optimizer_lr", "lr_schedule", "lr_schedule.kinds",
                            "lr_schedule.min_lr", "model", "model.residuals", ""}) {
    EXPECT_FALSE(IsAskedFor(field, asked)) << field;
  }
  EXPECT_FALSE(IsAskedFor("optimizer.lr", {}));
  EXPECT_FALSE(IsAskedFor("optimizer.lr", {""}));
  EXPECT_FALSE(IsAskedFor("optimizer.lr", {"optimizer."}));
}

struct Asked {
  const char* path;
  bool allowed;
  const char* remedy;
};

TEST(SpecChange, WhatCanChangeIsAFieldOrASectionThatHoldsOne) {
  constexpr char kAnew[] = "another value of it makes another model: start anew, or with init_from";
  const Asked cases[] = {
      {"data.validation", true, ""},
      {"data", true, ""},
      {"optimizer", true, ""},
      {"stability", true, ""},
      {"parallelism", true, ""},
      {"name", true, ""},
      {"device", true, ""},
      {"model.residual", false, kAnew},
      {"model.residual.kind", false, kAnew},
      {"optimizer.name", false, kAnew},
      {"training.seed", false, kAnew},
      {"data.validation_split", false, kAnew},
      {"optimizer.LR", false, "did you mean optimizer.lr?"},
      {"modle", false, "did you mean model?"},
      {"optimizer.", false, "did you mean optimizer.lr?"},
      {"something.else", false, ""},
  };
  for (const Asked& c : cases) {
    const std::vector<Problem> problems = CheckAskedChanges({c.path}, "--change");
    ASSERT_THAT(problems, SizeIs(c.allowed ? 0 : 1)) << c.path;
    if (c.allowed) continue;
    EXPECT_EQ(problems[0].field, "--change");
    EXPECT_EQ(problems[0].value, c.path);
    EXPECT_EQ(problems[0].remedy, c.remedy) << c.path;
  }
}

TEST(SpecChange, RefusalSaysOnlyWhatHelps) {
  JobSpec now = Spec();
  now.training.seed = 1;
  EXPECT_EQ(std::string(Admit(now, {"training.seed"}).status().message()),
            "holds a run of another spec: training.seed: 42 there, 1 now; to train it on give back "
            "the old training.seed, which would make it another model; else give another --out, or "
            "--fresh to forget it, or start anew from its weights with --init-from");
  now = Spec();
  now.optimizer.beta1 = 0.8;
  now.training.clip_grad = 0;
  EXPECT_EQ(std::string(Admit(now, {"optimizer.beta2"}).status().message()),
            "holds a run of another spec: training.clip_grad: 1 there, 0 now; optimizer.beta1: 0.9 "
            "there, 0.8 now; to train it on ask for the change with --change training.clip_grad "
            "--change optimizer.beta1; else give another --out, or --fresh to forget it");
}

// What moved and what was refused follow from the values alone, for specs of any values.
TEST(SpecChange, AnySpecIsComparedFieldByField) {
  RandomSpec random(3);
  for (int i = 0; i < 100; ++i) {
    const JobSpec before = random.Next(), now = random.Next();
    EXPECT_THAT(CompareSpecs(now, now), IsEmpty());
    std::set<std::string> named;
    for (const FieldChange& change : CompareSpecs(before, now)) {
      EXPECT_TRUE(named.insert(change.path).second) << change.path;
      EXPECT_LE(change.before.size(), 160u);
    }
    for (const Field& field : Fields()) {
      EXPECT_EQ(named.contains(field.path), FieldValue(field, before) != FieldValue(field, now))
          << field.path;
    }
  }
}

// Every step that may be the last: the rate named is that of the step before, and of the next one.
TEST(SpecChange, TheRateThatIsNamedIsTheSchedulesOwn) {
  JobSpec now = Spec();
  now.training.steps = 300;
  for (int64_t step = 1; step < 300; step += 13) {
    const double was = LearningRate(Spec().lr_schedule, Spec().optimizer.lr, 200, step - 1);
    const double is = LearningRate(now.lr_schedule, now.optimizer.lr, 300, step);
    EXPECT_THAT(*Admit(now, {}, step),
                HasSubstr(absl::StrFormat("; the learning rate, %.4g at step %d, is %.4g at step "
                                          "%d of the cosine schedule over 300 steps",
                                          was, step, is, step + 1)));
  }
  EXPECT_THAT(*Admit(now, {}, 299), HasSubstr(" at step 300 of "));
  EXPECT_THAT(*Admit(now, {}, 300), HasSubstr("step 300 is done: none is left"));
  EXPECT_THAT(*Admit(now, {}, 0), Not(HasSubstr("rate"))) << "nobody knows the step";
  for (const char* field : {"optimizer.lr", "lr_schedule.kind", "lr_schedule.step_at"}) {
    EXPECT_THAT(*Admit(WithAnother(*FindField(field)), {field}, 5), HasSubstr("learning rate"));
  }
}

}  // namespace
}  // namespace birkhoff
