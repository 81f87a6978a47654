// The resolved YAML: the whole text of the defaults, and texts that come back as what was written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/spec/field.h"
#include "core/spec/load.h"
#include "tests/core/spec/read_spec.h"
#include "tests/testing/random_spec.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A default that changes here changes every job whose file does not name it.
constexpr char kDefaults[] = R"(name: job
model:
  vocab_size: 0
  hidden_size: 128
  num_hidden_layers: 8
  num_attention_heads: 4
  num_key_value_heads: 4
  intermediate_size: 384
  tie_embeddings: false
  rms_norm_eps: 1.0e-06
  rope_theta: 10000
  init_std: 0.02
  residual:
    kind: mhc
    streams: 4
    mapping: sinkhorn
    sinkhorn_iterations: 20
    alpha_init: 0.01
    phi_init_std: 0
    bias_on: 1
    bias_off: -1
    bias_res_off_diagonal: -4
    norm_eps: 1.0e-06
    expand: copy
    contract: mean
    learn_pre: true
    learn_post: true
    learn_res: true
data:
  train: [{path: t, weight: 1}]
  validation: ""
  validation_split: 0
  tokenizer: bytes
  seed: 42
training:
  steps: 200
  sequence_length: 128
  micro_batch_size: 2
  global_batch_size: 32
  clip_grad: 1
  seed: 42
  precision: auto
  deterministic: auto
  validation_interval: 50
  validation_batches: 4
optimizer:
  name: adamw
  lr: 0.001
  beta1: 0.9
  beta2: 0.95
  eps: 1.0e-15
  weight_decay: 0.1
lr_schedule:
  kind: cosine
  warmup_steps: 20
  min_lr: 1.0e-04
  decay_steps: 0
  step_at: [0.8, 0.9]
  step_factor: [0.316, 0.1]
parallelism:
  pipeline_parallel_degree: 2
  data_parallel_degree: 1
  schedule: dualpipev
  recompute: auto
checkpoint:
  directory: ""
  interval: 50
  keep_last: 3
stability:
  max_gain: 10
  max_skipped_steps: 20
  max_restarts: 10
device: auto
)";

int64_t NumLines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(ResolvedYaml, IsEveryFieldInItsSection) {
  JobSpec spec;
  spec.data.train = {{"t", 1.0}};
  EXPECT_EQ(JobSpecToYaml(spec), kDefaults);
  EXPECT_EQ(FirstDifference(Load(kDefaults), spec), "");
}

TEST(ResolvedYaml, AnyValuesComeBackAsTheyWere) {
  RandomSpec random(1);
  for (int i = 0; i < 300; ++i) {
    const JobSpec spec = random.Next();
    const std::string yaml = JobSpecToYaml(spec);
    EXPECT_EQ(FirstDifference(Load(yaml), spec), "") << yaml;
    EXPECT_EQ(NumLines(yaml), NumLines(kDefaults)) << "a line break of a value: " << yaml;
  }
}

// One field after another as overrides leads to the same spec as the whole text.
TEST(ResolvedYaml, OverridesOfEveryFieldMakeTheSameSpec) {
  RandomSpec random(2);
  for (int i = 0; i < 60; ++i) {
    const JobSpec spec = random.Next();
    std::vector<std::string> overrides;
    for (const Field& field : Fields()) {
      overrides.push_back(absl::StrCat(field.path, "=", FieldValue(field, spec)));
    }
    std::vector<Problem> problems;
    EXPECT_EQ(FirstDifference(LoadJobSpec("{}", overrides, &problems), spec), "");
    EXPECT_THAT(problems, IsEmpty()) << ProblemsToStatus(problems);
  }
}

struct Writing {
  std::string text;
  const char* written;
};

// Without quotes only where YAML 1.1, as PyYAML reads it, sees a text too.
TEST(ResolvedYaml, TextsAreQuotedWhereAReaderWouldTakeThemForSomethingElse) {
  const Writing cases[] = {
      {"data/corpus-train", "data/corpus-train"},
      {"/a/b_c.bin", "/a/b_c.bin"},
      {"t", "t"},
      {"e5", "e5"},
      {"nothing", "nothing"},
      {"", R"("")"},
      {"5", R"("5")"},
      {"1e5", R"("1e5")"},
      {"-a", R"("-a")"},
      {".inf", R"(".inf")"},
      {"_a", R"("_a")"},
      {"2026-11-26", R"("2026-11-26")"},
      {"a b", R"("a b")"},
      {"a:b", R"("a:b")"},
      {"a#b", R"("a#b")"},
      {"a,b", R"("a,b")"},
      {"{a}", R"("{a}")"},
      {"~", R"("~")"},
      {"a'b", R"("a'b")"},
      {"a\"b", R"("a\"b")"},
      {"a\\b", R"("a\\b")"},
      {"a\nb", R"("a\x0ab")"},
      {"a\tb", R"("a\x09b")"},
      {"a\x7f", R"("a\x7f")"},
      {"\x1b[0m", R"("\x1b[0m")"},
      {"\xc3\xa9", "\"\xc3\xa9\""},
  };
  for (const Writing& c : cases) {
    JobSpec spec;
    spec.data.validation = c.text;
    EXPECT_EQ(FieldValue(*FindField("data.validation"), spec), c.written);
    EXPECT_EQ(Load(JobSpecToYaml(spec)).data.validation, c.text);
  }
  for (const std::string word : {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}) {
    std::string upper = word, title = word;
    std::transform(word.begin(), word.end(), upper.begin(), [](char c) { return c - 'a' + 'A'; });
    title[0] = upper[0];
    for (const std::string& text : {word, upper, title}) {
      JobSpec spec;
      spec.data.tokenizer = text;
      EXPECT_EQ(FieldValue(*FindField("data.tokenizer"), spec), absl::StrCat("\"", text, "\""));
    }
  }
}

TEST(ResolvedYaml, ListsAreWrittenInOneLine) {
  JobSpec spec;
  spec.data.train = {};
  spec.lr_schedule.step_at = {};
  spec.lr_schedule.step_factor = {1.0 / 3, 1e-7, -0.0};
  EXPECT_EQ(FieldValue(*FindField("data.train"), spec), "[]");
  EXPECT_EQ(FieldValue(*FindField("lr_schedule.step_at"), spec), "[]");
  EXPECT_EQ(FieldValue(*FindField("lr_schedule.step_factor"), spec),
            "[0.3333333333333333, 1.0e-07, -0]");
  spec.data.train = {{"a", 1}, {"b c", 0.5}, {"on", 1e-9}};
  EXPECT_EQ(
      FieldValue(*FindField("data.train"), spec),
      "[{path: a, weight: 1}, {path: \"b c\", weight: 0.5}, {path: \"on\", weight: 1.0e-09}]");
}

TEST(ResolvedYaml, RecomputeIsWrittenAsTheWordThatItIs) {
  const std::pair<int, const char*> cases[] = {{-1, "auto"}, {0, "none"}, {1, "1"}, {4094, "4094"}};
  for (const auto& [value, word] : cases) {
    JobSpec spec;
    spec.parallelism.recompute = value;
    EXPECT_EQ(FieldValue(*FindField("parallelism.recompute"), spec), word);
    EXPECT_THAT(JobSpecToYaml(spec), HasSubstr(absl::StrCat("\n  recompute: ", word, "\n")));
  }
}

}  // namespace
}  // namespace birkhoff
