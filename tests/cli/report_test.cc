// birkhoff report and birkhoff export metrics on output directories made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/tensorboard_file.h"
#include "core/base/disk.h"
#include "core/spec/load.h"
#include "tests/cli/verb.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

class ReportTest : public ::testing::Test {
 protected:
  // An output directory of a run with these rows.
  std::string AddRun(const std::string& name, const std::string& kind, const std::string& rows) {
    const std::string path = directory_ / name;
    EXPECT_TRUE(disk_.CreateDirectories(path).ok());
    std::vector<Problem> problems;
    const JobSpec spec = LoadJobSpec("{data: {train: t}, model: {vocab_size: 257}}",
                                     {"model.residual.kind=" + kind, "name=" + name}, &problems);
    EXPECT_TRUE(problems.empty());
    Write(path + "/job.yaml", JobSpecToYaml(spec));
    if (!rows.empty()) Write(path + "/metrics.jsonl", rows);
    return path;
  }
  void Write(const std::string& path, const std::string& text) {
    EXPECT_TRUE(ReplaceFile(disk_, path, text).ok());
  }
  std::string Read(const std::string& path) {
    const absl::StatusOr<std::string> text = disk_.Read(path);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  TemporaryDirectory directory_;
  PosixDisk disk_;
};

constexpr char kRows[] =
    "{\"step\":1,\"loss\":5.25,\"step_seconds\":0.5,\"gain_forward_by_sublayer\":[1,2]}\n"
    "{\"step\":2,\"loss\":null,\"step_seconds\":0.25,\"gain_forward_by_sublayer\":[1,4]}\n";

TEST_F(ReportTest, OfOneRunStandsInItsDirectory) {
  const std::string run = AddRun("a", "hc", kRows);
  const VerbResult result = RunVerb({"report", run});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr(run + "/report.html"));
  EXPECT_THAT(Read(run + "/report.html"), AllOf(HasSubstr("<title>a</title>"), HasSubstr("5.25")));
}

TEST_F(ReportTest, AsJsonItIsWhatThePageDraws) {
  const std::string a = AddRun("a", "hc", kRows), b = AddRun("b", "mhc", "");
  const VerbResult result = RunVerb({"report", a, b, "-o", "json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out);
  EXPECT_EQ(report["labels"], nlohmann::json({"hc", "mhc"}));
  EXPECT_EQ(report["runs"][1]["directory"], b);
  EXPECT_EQ(report["figures"][1]["id"], "loss");
}

TEST_F(ReportTest, ShowsTheStepThatWasTraced) {
  const std::string run = AddRun("a", "hc", kRows);
  Write(run + "/trace.json",
        R"({"otherData":{"step":2},"traceEvents":[{"name":"agree","cat":"agree","ph":"X","pid":0,)"
        R"("tid":3,"ts":0,"dur":5000,"args":{}}]})");
  EXPECT_THAT(RunVerb({"report", run, "-o", "json"}).out, HasSubstr("Step 2 as it ran, 5 ms"));
}

TEST_F(ReportTest, DirectoriesOfOneNameAreToldApart) {
  EXPECT_TRUE(disk_.CreateDirectories(directory_ / "x").ok());
  const std::string a = AddRun("a", "hc", kRows), b = AddRun("x/../x/a", "hc", kRows);
  const auto report = nlohmann::json::parse(RunVerb({"report", a, b, "-o", "json"}).out);
  EXPECT_EQ(report["runs"][0]["name"], "a");
  EXPECT_EQ(report["runs"][1]["name"], "a-2");
}

TEST_F(ReportTest, WhatIsNoRunIsNamed) {
  const VerbResult empty = RunVerb({"report", directory_.path()});
  EXPECT_EQ(empty.code, 64);
  EXPECT_THAT(empty.err, HasSubstr("has no job.yaml; need an output directory of a run"));
  const VerbResult job = RunVerb({"report", "nobody", "--server", "127.0.0.1:1"});
  EXPECT_NE(job.code, 0);
  EXPECT_THAT(job.err, HasSubstr("nobody: is neither a directory nor a job"));
  const std::string damaged = AddRun("damaged", "hc", kRows);
  Write(damaged + "/job.yaml", "{data: {train: t}, modle: {}}");
  EXPECT_THAT(RunVerb({"report", damaged}).err, HasSubstr("job.yaml: is damaged: modle"));
}

TEST_F(ReportTest, CsvHasEveryNumberInFull) {
  const std::string run = AddRun("a", "hc", kRows);
  const VerbResult result = RunVerb({"export", "metrics", run, "--to", "csv"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "run,step,loss,step_seconds,gain_forward_by_sublayer/00,gain_forward_by_sublayer/01\n"
            "a,1,5.25,0.5,1,2\n"
            "a,2,,0.25,1,4\n");
}

TEST_F(ReportTest, TensorboardGetsAFolderOfEventsPerRun) {
  const std::string a = AddRun("a", "hc", kRows), b = AddRun("b", "mhc", kRows);
  const std::string logs = directory_ / "logs";
  ASSERT_EQ(RunVerb({"export", "metrics", a, b, "--to", "tensorboard", "--out", logs}).code, 0);
  EXPECT_EQ(Read(logs + "/a/events.out.tfevents.0.birkhoff"),
            Read(logs + "/b/events.out.tfevents.0.birkhoff"));
  EXPECT_THAT(Read(logs + "/a/events.out.tfevents.0.birkhoff"),
              AllOf(HasSubstr("brain.Event:2"), HasSubstr("gain_forward_by_sublayer/01")));
}

// RFC 3720 appendix B.4.
TEST(TensorboardFile, ChecksumsAreCastagnolis) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
}

// As TensorFlow's own writer frames it: length 7, the masked checksum of the length, the bytes.
TEST(TensorboardFile, ARecordIsFramedAndAnEventIsItsFields) {
  TensorboardFile file;
  const size_t version = file.bytes().size();
  file.Add(300, 1.5, {{"loss", 2.5f}});
  const std::string record = file.bytes().substr(version);
  const std::string event(
      "\x09\0\0\0\0\0\0\xf8\x3f"                       // 1: wall time, a double
      "\x10\xac\x02"                                   // 2: step, a varint
      "\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\x20\x40",  // 5: summary { value { tag, simple_value } }
      9 + 3 + 15);
  EXPECT_EQ(record.substr(0, 8), std::string("\x1b\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, event.size()), event);
  EXPECT_EQ(record.size(), 12 + event.size() + 4);
}

}  // namespace
}  // namespace birkhoff
