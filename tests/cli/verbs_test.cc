// The verbs that need no service, and what those that do say without one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/disk.h"
#include "core/base/version.h"
#include "core/format/token_file.h"
#include "core/plan/text.h"
#include "core/spec/load.h"
#include "tests/cli/verb.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> ConfigFiles() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator("configs")) {
    files.push_back(entry.path().string());
  }
  return files;
}

TEST(ConfigsTest, EveryFileValidatesAndPlans) {
  const std::vector<std::string> files = ConfigFiles();
  ASSERT_GE(files.size(), 3u);
  for (const std::string& file : files) {
    const VerbResult validate = RunVerb({"validate", "--spec-only", file});
    EXPECT_EQ(validate.code, 0) << validate.err;
    EXPECT_THAT(validate.err, StartsWith(file + ": valid ("));
    const VerbResult plan = RunVerb({"plan", file});
    EXPECT_EQ(plan.code, 0) << plan.err;
  }
}

TEST(ConfigsTest, DeepTinyHasAtLeast48SubLayers) {
  const VerbResult plan = RunVerb({"validate", "--spec-only", "configs/deep-tiny.yaml"});
  EXPECT_THAT(plan.err, HasSubstr("48 sub-layers"));
}

TEST(ConfigsTest, EveryResidualKindRunsUnderEveryConfig) {
  for (const std::string& file : ConfigFiles()) {
    for (const std::string kind : {"residual", "hc", "mhc"}) {
      const VerbResult plan =
          RunVerb({"plan", file, "--set", "model.residual.kind=" + kind, "-o", "json"});
      EXPECT_EQ(plan.code, 0) << plan.err;
    }
  }
}

TEST(ValidateTest, YamlOutputIsTheResolvedSpec) {
  const VerbResult outcome = RunVerb(
      {"validate", "--spec-only", "configs/tiny.yaml", "-o", "yaml", "--set", "training.steps=77"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::vector<Problem> problems;
  const JobSpec spec = LoadJobSpec(outcome.out, {}, &problems);
  EXPECT_TRUE(problems.empty());
  EXPECT_EQ(spec.training.steps, 77);
  EXPECT_EQ(spec.model.vocab_size, 257);  // resolved from the tokenizer
  EXPECT_TRUE(std::filesystem::path(spec.data.train[0].path).is_absolute());
}

TEST(ValidateTest, JsonOutputListsEveryProblem) {
  const VerbResult outcome = RunVerb({"validate", "--spec-only", "configs/tiny.yaml", "-o", "json",
                                      "--set", "training.steps=0", "--set", "modle=1"});
  EXPECT_EQ(outcome.code, 64);
  const nlohmann::json answer = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(answer["valid"], false);
  ASSERT_EQ(answer["problems"].size(), 2u);
  EXPECT_EQ(answer["problems"][0]["field"], "modle");
  EXPECT_EQ(answer["problems"][0]["remedy"], "did you mean model?");
  EXPECT_EQ(answer["problems"][1]["field"], "training.steps");
}

TEST(PlanTest, PrintsPartitionMemoryAndGrid) {
  const VerbResult outcome = RunVerb({"plan", "configs/tiny.yaml"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("embedding, sub-layers 0-1"));
  EXPECT_THAT(outcome.out, HasSubstr("memory of each worker"));
  EXPECT_THAT(outcome.out, HasSubstr("\nr0 f0"));
}

// What was measured takes the place of the model, and where nothing was it is said.
TEST(PlanTest, PredictsWithACardFile) {
  const testing::TemporaryDirectory directory;
  const std::string path = directory / "verbs.card";
  const std::vector<std::string> words = {
      "plan",   "configs/tiny.yaml",
      "--card", path,
      "-o",     "json",
      "--set",  "parallelism={pipeline_parallel_degree: 1, schedule: 1f1b}"};
  EXPECT_THAT(RunVerb(words).err, HasSubstr("--card: " + path));
  PosixDisk disk;
  ASSERT_TRUE(ReplaceFile(disk, path, "birkhoff card 1\nshape: another\n").ok());
  EXPECT_THAT(RunVerb(words).err,
              HasSubstr("--card: nothing was measured for mhc sinkhorn n=4 it=20 C=128"));
  // 8 micro-batches of 4 layers: 8 x (1 + 3 x 2 + 4 x 3 + 5) ms.
  ASSERT_TRUE(ReplaceFile(disk, path,
                          "birkhoff card 1\n"
                          "shape: mhc sinkhorn n=4 it=20 C=128 heads=4/4 F=384 V=257, 2 x 128 "
                          "tokens, fp32 on cpu, deterministic\n"
                          "time: first 1000000 0 0 0\ntime: attention 0 2000000 0 0\n"
                          "time: feed-forward 0 0 3000000 0\ntime: head 5000000 0 0 0\n"
                          "step: 0 0\n")
                  .ok());
  const VerbResult outcome = RunVerb(words);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\"predicted_step_seconds\":0.1920"));
}

// No GPU is needed to plan for some.
TEST(PlanTest, PlansForGpus) {
  const VerbResult outcome =
      RunVerb({"plan", "configs/tiny.yaml", "--device", "cuda", "--memory-bytes", "80000000000"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("bf16 on cuda"));
  EXPECT_THAT(outcome.out, HasSubstr("device  weight copies"));
  const VerbResult small =
      RunVerb({"plan", "configs/tiny.yaml", "--device", "cuda", "--memory-bytes", "1000000"});
  EXPECT_EQ(small.code, 64);
  EXPECT_THAT(small.err, HasSubstr("bytes (buffers "));
  const VerbResult other =
      RunVerb({"plan", "configs/tiny.yaml", "--device", "cpu", "--set", "training.precision=bf16"});
  EXPECT_EQ(other.code, 64);
  EXPECT_THAT(other.err, HasSubstr("training.precision: bf16 is not allowed on a cpu"));
}

TEST(PlanTest, TextFormParsesBack) {
  const VerbResult outcome = RunVerb({"plan", "configs/tiny.yaml", "--text"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const absl::StatusOr<Plan> plan = PlanFromText(outcome.out);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(PlanToText(*plan), outcome.out);
}

TEST(PlanTest, RefusesWhatDoesNotFitWithTheRemedy) {
  const VerbResult odd = RunVerb({"plan", "configs/tiny.yaml", "--set",
                                  "parallelism={schedule: dualpipe, pipeline_parallel_degree: 3}"});
  EXPECT_EQ(odd.code, 64);
  EXPECT_THAT(odd.err, HasSubstr("set it to 2 or 4, or the schedule to dualpipev"));
  const VerbResult memory = RunVerb({"plan", "configs/tiny.yaml", "--memory-bytes", "1000"});
  EXPECT_EQ(memory.code, 64);
  EXPECT_THAT(memory.err, HasSubstr("1000"));
}

TEST(ExplainTest, ExplainsFieldsAndSuggests) {
  EXPECT_THAT(RunVerb({"explain", "training.clip_grad"}).out,
              HasSubstr("Largest global gradient norm"));
  const VerbResult outcome = RunVerb({"explain", "training.clipgrad"});
  EXPECT_EQ(outcome.code, 64);
  EXPECT_THAT(outcome.err, HasSubstr("did you mean training.clip_grad?"));
}

TEST(VersionTest, PrintsTheVersion) {
  EXPECT_EQ(RunVerb({"version"}).out, absl::StrCat("birkhoff ", kVersion, "\n"));
  EXPECT_EQ(nlohmann::json::parse(RunVerb({"version", "-o", "json"}).out)["version"], kVersion);
}

TEST(FlagsTest, WrongOnesExitWith64) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"bogus"},
                                             {"run"},
                                             {"validate"},
                                             {"list", "--bogus"},
                                             {"list", "-o", "xml"},
                                             {"run", "a.yaml", "--set"},
                                             {"get"}}) {
    const VerbResult outcome = RunVerb(arguments);
    EXPECT_EQ(outcome.code, 64);
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err, "");
  }
}

TEST(FlagsTest, HelpIsDataAndSucceeds) {
  const VerbResult outcome = RunVerb({"--help"});
  EXPECT_EQ(outcome.code, 0);
  for (const char* verb : {"run", "validate", "plan", "submit", "list", "get", "watch", "cancel",
                           "workers", "data", "explain", "version"}) {
    EXPECT_THAT(outcome.out, HasSubstr(absl::StrCat("\n  ", verb, " ")));
  }
}

TEST(ServiceVerbsTest, WithoutADaemonSayHowToStartOne) {
  for (const std::vector<std::string>& verb : std::vector<std::vector<std::string>>{
           {"list"}, {"submit", "--spec-only", "configs/tiny.yaml"}}) {
    std::vector<std::string> arguments = {"--server", "127.0.0.1:1"};
    arguments.insert(arguments.end(), verb.begin(), verb.end());
    const VerbResult outcome = RunVerb(arguments);
    EXPECT_EQ(outcome.code, 71) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("start one with: birkhoffd"));
  }
}

TEST(DataVerbTest, SaysWhichProgramIsMissing) {
  const VerbResult outcome = RunVerb({"data", "inspect", "x"});
  EXPECT_EQ(outcome.code, 71);
  EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/birkhoff-data: No such file"));
}

class RunVerbTest : public ::testing::Test {
 protected:
  std::vector<std::string> Arguments(const std::vector<std::string>& more) {
    auto writer = *TokenWriter::Create(disk_, {directory_ / "t", TokenFormat::kMegatron, 257});
    EXPECT_TRUE(writer->AddDocument(std::vector<int32_t>(500, 7)).ok() && writer->Finish().ok());
    std::vector<std::string> arguments = {
        "run",   "configs/tiny.yaml", "--set", "data.train=" + directory_ / "t",
        "--set", "data.validation=",  "--out", directory_ / "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
};

TEST_F(RunVerbTest, SaysThatTheWorkerProgramIsMissing) {
  const VerbResult outcome = RunVerb(Arguments({}));
  EXPECT_EQ(outcome.code, 64);
  EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/birkhoff-worker: No such file"));
}

}  // namespace
}  // namespace birkhoff
