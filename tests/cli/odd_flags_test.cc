// Odd command lines that others have had trouble with: what is done is what is meant, or the word,
// the flag and what would do are named.  docs/odd-inputs.md says where they come from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/disk.h"
#include "tests/cli/verb.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryDirectory;

struct OddFlags {
  const char* name;
  std::vector<std::string> words;  // JOB is the path of a sound job file, DIR that of its folder
  int code;
  std::string says;  // on stdout where the code is 0 and it says something there, else on stderr
  friend void PrintTo(const OddFlags& odd, std::ostream* out) { *out << odd.name; }
};

class OddFlagsTest : public ::testing::TestWithParam<OddFlags> {};

TEST_P(OddFlagsTest, DoWhatIsMeantOrAreRefused) {
  const TemporaryDirectory directory;
  PosixDisk disk;
  const auto file = disk.Create(directory / "job.yaml");
  ASSERT_TRUE(file.ok() && (*file)->Append("data: {train: t}\n").ok() && (*file)->Close().ok());
  std::vector<std::string> words = GetParam().words;
  for (std::string& word : words) {
    word = absl::StrReplaceAll(word, {{"JOB", directory / "job.yaml"}, {"DIR", directory.path()}});
  }
  const VerbResult result = RunVerb(words);
  EXPECT_EQ(result.code, GetParam().code) << result.err;
  EXPECT_THAT(absl::StrCat(result.out, result.err), HasSubstr(GetParam().says));
  EXPECT_THAT(result.err, Not(HasSubstr("\x1b"))) << "nothing of the words moves the cursor";
  if (result.code != 0) {
    EXPECT_EQ(result.out, "") << "what failed has no result";
  }
}

// `validate --spec-only JOB --set ...`
OddFlags Set(const char* name, const std::string& assignment, int code, const std::string& says) {
  return {name, {"validate", "--spec-only", "JOB", "--set", assignment}, code, says};
}

const std::vector<OddFlags>& OddCommandLines() {
  static const auto* const kLines = new std::vector<OddFlags>{
      // Words: typed wrongly, empty, too many.
      {"Nothing", {}, 0, "Usage: birkhoff"},
      {"EmptyWord", {""}, 64, "Run with --help"},
      {"EscapeAsAVerb", {"\x1b[31m"}, 64, "\\x1b[31m is no verb"},
      {"EscapeAsAFlag", {"list", "--\x1b[31m"}, 64, "--\\x1b[31m"},
      {"Hyphen", {"-"}, 64, "Run with --help"},
      {"TwoHyphens", {"--"}, 64, "Run with --help"},
      {"VerbInCapitals", {"VALIDATE", "JOB"}, 64, "VALIDATE is no verb of birkhoff\nRun with"},
      {"VerbWithASlip", {"validat", "JOB"}, 64, "did you mean validate?\nRun with --help"},
      {"WordTooMany", {"version", "extra"}, 64, "The following argument was not expected: extra"},
      {"FileTooMany", {"validate", "JOB", "JOB"}, 64, "was not expected: "},
      {"HelpOfAVerb", {"validate", "--help"}, 0, "Usage:"},
      {"HelpAfterNonsense", {"validate", "JOB", "--help"}, 0, "Usage:"},
      {"ShortHelp", {"-h"}, 0, "Usage: birkhoff"},

      // Flags: underscores, one hyphen, values where none belong, twice.
      {"Underscore",
       {"validate", "--spec_only", "JOB"},
       64,
       "not expected: --spec_only; did you mean --spec-only?"},
      {"OneHyphen", {"validate", "-spec-only", "JOB"}, 64, "was not expected: -spec-only"},
      {"FlagWithAWord", {"validate", "--spec-only=maybe", "JOB"}, 64, "--spec-only = maybe"},
      {"FlagWithFalse", {"validate", "--spec-only=false", "JOB"}, 64, "need a token file"},
      {"FlagTwice", {"validate", "--spec-only", "--spec-only", "JOB"}, 0, "valid ("},
      {"FlagOfAnotherVerb", {"validate", "--fresh", "JOB"}, 64, "was not expected: --fresh"},
      {"FlagUnknown", {"validate", "--verbose", "JOB"}, 64, "was not expected: --verbose"},
      {"OutputInCapitals", {"-o", "JSON", "version"}, 64, "JSON not in {json,yaml,wide}"},
      {"OutputEmpty", {"-o", "", "version"}, 64, "not in {json,yaml,wide}"},
      {"OutputTwice", {"-o", "json", "-o", "yaml", "version"}, 64, "At Most 1 required"},
      {"OutputGlued", {"-ojson", "version"}, 0, "{\"version\":"},
      {"OutputWithEquals", {"--output=json", "version"}, 0, "{\"version\":"},
      {"OutputBehindTheVerb", {"version", "-o", "json"}, 0, "{\"version\":"},
      {"OutputWithoutValue", {"version", "-o"}, 64, "Run with --help"},

      // --set: shells, spaces, commas, sections, several.
      Set("SetWithoutValue", "training.steps", 64, "--set training.steps: no assignment"),
      Set("SetToNothing", "training.steps=", 64, "training.steps: an empty text is not allowed"),
      Set("SetTwoEquals", "training.steps==5", 64, "training.steps: =5 is not allowed"),
      Set("SetWithoutPath", "=5", 64, "--set =5: no assignment is not allowed; need path=value"),
      Set("SetWithSpaces", "training.steps = 50", 64, "did you mean training.steps?"),
      Set("SetBlankBehind", "training.steps=50 ", 0, "50 steps"),
      Set("SetTwoDots", "training..steps=5", 64, "did you mean training.steps?"),
      Set("SetDotFirst", ".steps=5", 64, "did you mean training.steps?"),
      Set("SetDotLast", "training.steps.=5", 64, "need a field of the job spec"),
      Set("SetInCapitals", "TRAINING.STEPS=5", 64, "need a field of the job spec"),
      Set("SetSection", "training={steps: 50}", 0, "50 steps"),
      Set("SetSectionToNothing", "training=", 64, "birkhoff explain training lists them"),
      Set("SetOpenList", "data.train=[a", 64, "--set data.train line 1, column 1"),
      Set("SetCommas", "training.steps=50,optimizer.lr=1", 64, "50,optimizer.lr=1 is not allowed"),
      Set("SetColon", "training.steps: 50", 64, "no assignment is not allowed; need path=value"),
      Set("SetSlash", "training/steps=50", 64, "training/steps: 50 is not allowed"),
      Set("SetHydraPlus", "+training.steps=50", 64, "+training.steps: 50 is not allowed"),
      Set("SetKindAlone", "model.residual=mhc", 64, "birkhoff explain model.residual lists them"),
      Set("SetIndex", "data.train[0].path=x", 64, "data.train[0].path: x is not allowed"),
      Set("SetEscape", "training.steps=\x1b[31m", 64, "byte 0x1b at offset 0 is not allowed"),
      Set("SetEscapeInPath", "a\x1b[31m=5", 64, "a\\x1b[31m: 5 is not allowed"),
      Set("SetNewline", "training.steps=50\nname: x", 64, "--set training.steps line "),
      Set("SetDocument", "training.steps=--- 50", 0, "50 steps"),
      Set("SetAnotherFlag", "--spec-only", 64, "--set --spec-only: no assignment"),
      {"SetTwiceTheSame",
       {"validate", "--spec-only", "JOB", "--set", "training.steps=50", "--set",
        "training.steps=60"},
       0,
       "60 steps"},
      {"SetTwoInOne",
       {"validate", "--spec-only", "JOB", "--set", "training.steps=50", "optimizer.lr=0.1"},
       64,
       "was not expected: optimizer.lr=0.1"},

      // Job files: what a path can be.
      {"PathEmpty", {"validate", ""}, 64, "need a job file that can be read"},
      {"PathOfAFolder", {"validate", "DIR"}, 64, "is a directory; need a file"},
      {"PathOfADevice", {"validate", "/dev/zero"}, 64, "/dev/zero: is a device; need a file"},
      {"PathOfNull", {"validate", "/dev/null"}, 64, "/dev/null: is a device; need a file"},
      {"PathWithSlashBehind", {"validate", "JOB/"}, 64, "Not a directory"},
      {"PathBelowAFile", {"validate", "JOB/x"}, 64, "Not a directory"},
      {"PathNameTooLong", {"validate", std::string(300, 'x')}, 64, "File name too long"},
      {"PathTooLong", {"validate", std::string(6000, '/') + "x"}, 64, "need a job file"},
      {"PathWithNewline", {"validate", "no\nbirkhoff: SUCCEEDED"}, 64, "no\\nbirkhoff: SUCCEEDED"},
      {"PathWithEscape", {"validate", "\x1b[31mred"}, 64, "\\x1b[31mred: open: No such file"},
      {"PathInLatin1", {"validate", "caf\xe9"}, 64, "caf\\xe9: open: No such file"},
      {"PathOfHome", {"validate", "~/job.yaml"}, 64, "~/job.yaml: open: No such file"},
      {"PathOfAUrl", {"validate", "https://x/job.yaml"}, 64, "configs/ has examples"},
      {"PathOfAGlob", {"validate", "DIR/*.yaml"}, 64, "No such file or directory"},

      // Numbers and names of the other verbs.
      {"MemoryNegative", {"plan", "JOB", "--memory-bytes", "-1"}, 64, "--memory-bytes: Value -1"},
      {"MemoryBeyond",
       {"plan", "JOB", "--memory-bytes", "99999999999999999999"},
       64,
       "not in range"},
      {"MemoryReal", {"plan", "JOB", "--memory-bytes", "1e9"}, 64, "--memory-bytes = 1e9"},
      {"MemoryWithUnit", {"plan", "JOB", "--memory-bytes", "16GB"}, 64, "--memory-bytes"},
      {"MemoryOfAByte", {"plan", "JOB", "--memory-bytes", "1"}, 64, "would need"},
      {"DeviceUnknown", {"plan", "JOB", "--device", "tpu"}, 64, "tpu not in {cpu,cuda}"},
      {"DeviceWithNumber", {"plan", "JOB", "--device", "cuda:0"}, 64, "not in {cpu,cuda}"},
      {"DeviceEmpty", {"plan", "JOB", "--device", ""}, 64, "not in {cpu,cuda}"},
      {"PriorityIsAWord", {"submit", "JOB", "--priority", "high"}, 64, "--priority = high"},
      {"PriorityBeyond", {"submit", "JOB", "--priority", "99999999999"}, 64, "--priority"},
      {"CancelNobody", {"cancel"}, 64, "job is required"},
      {"CancelTwo", {"cancel", "a", "b"}, 64, "was not expected: b"},
      {"ExplainSection", {"explain", "training"}, 0, "training.steps"},
      {"ExplainDotBehind", {"explain", "training."}, 64, "is no field of the job spec"},
      {"ExplainInCapitals", {"explain", "Training"}, 64, "did you mean training?"},
      {"ExplainReserved", {"explain", "model.moe"}, 64, "is no field of the job spec"},
      {"ExplainEscape", {"explain", "a\x1b[31m"}, 64, "a\\x1b[31m: is no field"},
      {"ExplainNewline", {"explain", "a\nb"}, 64, "is no field of the job spec"},
  };
  return *kLines;
}

INSTANTIATE_TEST_SUITE_P(CommandLines, OddFlagsTest, ::testing::ValuesIn(OddCommandLines()),
                         [](const auto& test) { return std::string(test.param.name); });

// As a shell's <(command), or `helm template | birkhoff validate /dev/stdin`.
TEST(OddJobFileTest, APipeIsReadToItsEnd) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::thread writer([fd = ends[1]] {
    for (const char* piece : {"data: {train: t}\n", "training: {steps: 77}\n"}) {
      EXPECT_GT(::write(fd, piece, std::string(piece).size()), 0);
    }
    ::close(fd);
  });
  const VerbResult result = RunVerb({"validate", "--spec-only", absl::StrCat("/dev/fd/", ends[0])});
  writer.join();
  ::close(ends[0]);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("77 steps"));
}

// `birkhoff run - < job.yaml`, or a job that another program writes.
TEST(OddJobFileTest, AHyphenIsTheStandardInput) {
  const VerbResult result =
      RunVerb({"validate", "--spec-only", "-"}, "data: {train: t}\ntraining: {steps: 77}\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("standard input: valid ("));
  EXPECT_THAT(result.err, HasSubstr("77 steps"));
  const VerbResult nothing = RunVerb({"validate", "-"});
  EXPECT_EQ(nothing.code, 64);
  EXPECT_THAT(nothing.err, HasSubstr("standard input: 1 problem"));
  const VerbResult endless = RunVerb({"validate", "-"}, std::string(2 << 20, 'x'));
  EXPECT_EQ(endless.code, 64);
  EXPECT_THAT(endless.err, HasSubstr("at most 1048576 bytes"));
}

}  // namespace
}  // namespace birkhoff
