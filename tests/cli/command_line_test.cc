// Help, suggestions and completion: all of them from the table of verbs and their own options.
#include "cli/command_line.h"
#include "cli/hand_over.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/verbs.h"
#include "core/base/nearest.h"
#include "core/base/version.h"
#include "core/spec/field.h"
#include "tests/cli/verb.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

// The candidates alone, without their meaning.
std::vector<std::string> Complete(const std::vector<std::string>& words) {
  std::vector<std::string> whole = {kCompleteWord};
  whole.insert(whole.end(), words.begin(), words.end());
  const VerbResult result = RunVerb(whole);
  EXPECT_EQ(result.code, 0) << result.err;
  std::vector<std::string> candidates;
  for (const absl::string_view line : absl::StrSplit(result.out, '\n', absl::SkipEmpty())) {
    candidates.emplace_back(line.substr(0, line.find('\t')));
  }
  return candidates;
}

std::vector<std::string> AllVerbs() {
  std::vector<std::string> names;
  for (const Verb& verb : Verbs()) names.emplace_back(verb.name);
  return names;
}

TEST(HelpTest, IsShownWhereNothingIsAskedFor) {
  const VerbResult alone = RunVerb({});
  EXPECT_EQ(alone.code, 0);
  EXPECT_EQ(alone.out, RunVerb({"--help"}).out);
  EXPECT_EQ(alone.out, RunVerb({"help"}).out);
  for (const std::string& verb : AllVerbs()) EXPECT_THAT(alone.out, HasSubstr("\n  " + verb + " "));
}

TEST(HelpTest, OfEveryVerbHasItsSummaryAnExampleAndNoLongLine) {
  for (const Verb& verb : Verbs()) {
    if (FindOtherProgram(verb.name) != nullptr) continue;
    const VerbResult help = RunVerb({"help", verb.name});
    EXPECT_EQ(help.code, 0) << help.err;
    EXPECT_EQ(help.out, RunVerb({verb.name, "--help"}).out);
    EXPECT_THAT(help.out, HasSubstr(verb.summary));
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("\nExample: ", verb.example, "\n")));
    for (const absl::string_view line : absl::StrSplit(help.out, '\n')) {
      EXPECT_LE(line.size(), 100u) << line;
    }
  }
}

TEST(HelpTest, HasDefaults) {
  EXPECT_THAT(RunVerb({"--help"}).out, HasSubstr("--server HOST:PORT=127.0.0.1:7443"));
  EXPECT_THAT(RunVerb({"help", "submit"}).out, HasSubstr("--priority INT=0"));
  EXPECT_THAT(RunVerb({"help", "run"}).out, HasSubstr("  --set FIELD=VALUE ...  "));
}

// They are what people copy.
TEST(HelpTest, ExamplesParse) {
  for (const Verb& verb : Verbs()) {
    std::vector<std::string> words =
        absl::StrSplit(std::string(verb.example), ' ', absl::SkipEmpty());
    words.erase(std::ranges::find(words, ">"), words.end());
    ASSERT_GE(words.size(), 2u);
    EXPECT_EQ(words[0], "birkhoff");
    EXPECT_EQ(words[1], verb.name);
    std::vector<const char*> argv;
    for (const std::string& word : words) argv.push_back(word.c_str());
    std::ostringstream out, err;
    Invocation invocation;
    invocation.console = {&out, &err, false, ""};
    CLI::App app("", "birkhoff");
    BuildCommandLine(app, invocation);
    EXPECT_EQ(ParseCommandLine(app, static_cast<int>(argv.size()), argv.data(), invocation.console),
              std::nullopt)
        << verb.example << ": " << err.str();
    EXPECT_TRUE(invocation.chosen) << verb.example;
  }
}

TEST(HelpTest, VersionIsAFlagToo) {
  const VerbResult version = RunVerb({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out, absl::StrCat("birkhoff ", kVersion, "\n"));
}

TEST(SlipTest, TheNearestVerbAndFlagAreNamed) {
  EXPECT_THAT(RunVerb({"lits"}).err, HasSubstr("lits is no verb of birkhoff; did you mean list?"));
  EXPECT_THAT(RunVerb({"run", "job", "--fres"}).err, HasSubstr("--fres; did you mean --fresh?"));
  EXPECT_THAT(RunVerb({"list", "--servr=a:1"}).err,
              HasSubstr("--servr=a:1; did you mean --server?"));
  EXPECT_THAT(RunVerb({"frobnicate"}).err, HasSubstr("frobnicate is no verb of birkhoff\n"));
}

TEST(NearestTest, CountsLetters) {
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(Nearest("plam", {"run", "plan", "play"}), "plan") << "the first of the closest";
  EXPECT_EQ(Nearest("x", {"plan"}), "");
}

TEST(CompletionTest, OffersVerbsFlagsChoicesAndFields) {
  EXPECT_EQ(Complete({""}), AllVerbs());
  EXPECT_THAT(Complete({"w"}), ElementsAre("watch", "workers"));
  EXPECT_THAT(Complete({"help", "va"}), ElementsAre("validate"));
  EXPECT_THAT(Complete({"run", "job", "--f"}), ElementsAre("--fresh"));
  EXPECT_THAT(Complete({"run", "--"}), IsSupersetOf({"--set", "--out", "--server", "--help"}));
  EXPECT_THAT(Complete({"list", "-o", ""}), ElementsAre("json", "yaml", "wide"));
  EXPECT_THAT(Complete({"completion", ""}), ElementsAre("bash", "zsh", "fish"));
  EXPECT_THAT(Complete({"explain", "training.st"}), ElementsAre("training.steps"));
  EXPECT_THAT(Complete({"run", "job", "--change", "optimizer.l"}), ElementsAre("optimizer.lr"));
  EXPECT_THAT(Complete({"run", "--set", ""}), SizeIs(Fields().size()));
  EXPECT_THAT(Complete({"run", "--set", "model.residual.k"}), ElementsAre("model.residual.kind="));
}

TEST(CompletionTest, OffersValuesOfFields) {
  EXPECT_THAT(Complete({"run", "--set", "device=c"}), ElementsAre("device=cpu", "device=cuda"));
  // As bash cuts it.
  EXPECT_THAT(Complete({"run", "--set", "device", "="}), ElementsAre("auto", "cpu", "cuda"));
  EXPECT_THAT(Complete({"run", "--set", "device", "=", "cu"}), ElementsAre("cuda"));
  EXPECT_THAT(Complete({"run", "--set", "training.deterministic=t"}),
              ElementsAre("training.deterministic=true"));
}

TEST(CompletionTest, LeavesPathsToTheShell) {
  EXPECT_THAT(Complete({"run", ""}), IsEmpty());
  EXPECT_THAT(Complete({"run", "--out", "r"}), IsEmpty());
  EXPECT_THAT(Complete({"nonsense", ""}), AllVerbs());
}

TEST(CompletionTest, ScriptsAskTheProgramThatWasTyped) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const VerbResult script = RunVerb({"completion", shell});
    EXPECT_EQ(script.code, 0);
    EXPECT_THAT(script.out, HasSubstr(absl::StrCat(" ", kCompleteWord, " ")));
    EXPECT_THAT(script.out, HasSubstr(shell));
  }
  EXPECT_EQ(RunVerb({"completion", "tcsh"}).code, 64);
}

}  // namespace
}  // namespace birkhoff
