// What a job file is as a text: bytes, lines, tabs, anchors, keys, and where a slip is said to be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/spec/field.h"
#include "core/spec/load.h"
#include "core/spec/validate.h"
#include "tests/core/spec/read_spec.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string AllOf(const std::string& yaml) { return absl::StrJoin(ProblemsOf(yaml), "\n"); }

struct Bytes {
  const char* what;
  std::string text;     // of data.validation, in double quotes
  const char* refused;  // the byte, or "" where the text is taken
};

// RFC 3629: each range's first and last characters, and what stands just outside.
TEST(LoadTextTest, TakesUtf8AndNamesTheFirstByteThatIsNone) {
  const Bytes cases[] = {
      {"a blank", " ", ""},
      {"the last of ASCII", "~", ""},
      {"U+0080", "\xc2\x80", ""},
      {"U+07FF", "\xdf\xbf", ""},
      {"U+0800", "\xe0\xa0\x80", ""},
      {"U+D7FF", "\xed\x9f\xbf", ""},
      {"U+E000", "\xee\x80\x80", ""},
      {"U+FFFF", "\xef\xbf\xbf", ""},
      {"U+10000", "\xf0\x90\x80\x80", ""},
      {"U+10FFFF", "\xf4\x8f\xbf\xbf", ""},
      {"four bytes and more behind", "\xf0\x9f\x98\x80 end", ""},
      {"a continuation alone", "\x80", "80"},
      {"the last continuation alone", "\xbf", "bf"},
      {"overlong, two bytes, the first lead", "\xc0\x80", "c0"},
      {"overlong, two bytes, the last lead", "\xc1\xbf", "c1"},
      {"overlong, three bytes", "\xe0\x9f\xbf", "e0"},
      {"overlong, four bytes", "\xf0\x8f\xbf\xbf", "f0"},
      {"the first surrogate", "\xed\xa0\x80", "ed"},
      {"the last surrogate", "\xed\xbf\xbf", "ed"},
      {"U+110000", "\xf4\x90\x80\x80", "f4"},
      {"a lead beyond", "\xf5\x80\x80\x80", "f5"},
      {"a byte of no text", "\xfe", "fe"},
      {"two bytes, cut", "\xc3", "c3"},
      {"three bytes, cut", "\xe2\x82", "e2"},
      {"four bytes, cut", "\xf0\x9f\x98", "f0"},
      {"a lead before a lead", "\xc3\xc3\xa9", "c3"},
      {"a third byte that continues nothing", "\xe2\x82 ", "e2"},
      {"a fourth byte that continues nothing", "\xf0\x9f\x98 ", "f0"},
      {"Latin-1", "caf\xe9", "e9"},
      {"the bell", "\x07", "7"},
      {"escape", "\x1b[31m", "1b"},
      {"the last control character", "\x1f", "1f"},
      {"a vertical tab", "\v", "b"},
  };
  for (const Bytes& c : cases) {
    const std::string before = "data: {train: t, validation: \"";
    std::vector<Problem> problems;
    const JobSpec spec = LoadJobSpec(absl::StrCat(before, c.text, "\"}\n"), {}, &problems);
    if (*c.refused == '\0') {
      EXPECT_THAT(problems, IsEmpty()) << c.what << ": " << ProblemsToStatus(problems);
      EXPECT_EQ(spec.data.validation, c.text) << c.what;
      continue;
    }
    const size_t inside = c.text.find(static_cast<char>(std::stoi(c.refused, nullptr, 16)));
    ASSERT_THAT(problems, SizeIs(1)) << c.what;
    EXPECT_EQ(ProblemToString(problems[0]),
              absl::StrCat("job spec: byte 0x", c.refused, " at offset ", before.size() + inside,
                           " is not allowed; need UTF-8 text without control characters"))
        << c.what;
    EXPECT_EQ(spec.data.train.size(), 0u) << "nothing of it is taken";
  }
}

TEST(LoadTextTest, LinesMayEndAsOnWindowsAndBeginWithAMark) {
  const std::string yaml = "name: a\nmodel:\n  residual:\n    streams: 2\ndata:\n  train:\n  - t\n";
  std::vector<Problem> problems;
  const std::string want = JobSpecToYaml(LoadJobSpec(yaml, {}, &problems));
  for (const std::string& text :
       {absl::StrReplaceAll(yaml, {{"\n", "\r\n"}}), absl::StrCat("\xef\xbb\xbf", yaml),
        absl::StrCat("# a comment\n\n", yaml, "# another"), yaml.substr(0, yaml.size() - 1),
        absl::StrCat("---\n", yaml), absl::StrCat(yaml, "...\n"),
        absl::StrReplaceAll(yaml, {{"streams: 2", "streams:    2   # n"}})}) {
    EXPECT_EQ(JobSpecToYaml(LoadJobSpec(text, {}, &problems)), want) << text;
    EXPECT_THAT(problems, IsEmpty()) << text << ProblemsToStatus(problems);
  }
}

struct Slip {
  const char* text;
  const char* place;  // what the only problem begins with
};

TEST(LoadTextTest, ASlipIsSaidToBeWhereItIs) {
  const Slip slips[] = {
      {"\tname: a\n", "job spec line 1, column 1: a tab"},
      {" \tname: a\n", "job spec line 1, column 2: a tab"},
      {"name: a\n\tmodel: {}\n", "job spec line 2, column 1: a tab"},
      {"name: a\r\n  \tmodel: {}\r\n", "job spec line 2, column 3: a tab"},
      {"model:\n    hidden_size: 64\n\tstreams: 2\n", "job spec line 3, column 1: a tab"},
      {"a: b: c\n", "job spec line 1, column 5: the text ("},
      {"name: a\nmodel: b: c\n", "job spec line 2, column 9: the text ("},
      {"name: 'a\n", "job spec line 2, column 2: the text (illegal EOF in scalar)"},
      {"name: 'a", "job spec line 1, column 9: the text (illegal EOF in scalar)"},
      {"name: 'a\n  ", "job spec line 2, column 2: the text (illegal EOF in scalar)"},
      {"name: \"a\n\r\n\n", "job spec line 4, column 2: the text (illegal EOF in scalar)"},
      {"checkpoint:\n  directory: 'out\n  interval: 5\n",
       "job spec line 4, column 2: the text (illegal EOF in scalar)"},
      {"name: \"a\\q\"\n", "job spec line 1, column 11: the text ("},
      {"name: [a\n", "job spec line 2, column 1: the text ("},
      {"name: a]\nmodel: }\n", "job spec line 2, column 8: the text ("},
      {"name: @a\n", "job spec line 1, column 7: the text ("},
      {"name: `a`\n", "job spec line 1, column 7: the text ("},
      {"name: %a\n", "job spec line 1, column 7: the text ("},
      {"name: *a\n", "job spec line 1, column 7: the text ("},
      {"name: a\n model: b\n", "job spec line 2, column 7: the text ("},
  };
  for (const Slip& slip : slips) {
    EXPECT_THAT(ProblemsOf(slip.text), ElementsAre(StartsWith(slip.place))) << slip.text;
  }
}

TEST(LoadTextTest, ATabThatIndentsNothingIsNoSlip) {
  for (const std::string text : {"name:\ta\n", "name: a\t# a comment\n", "name: \"a\tb\"\n",
                                 "# \t\nname: a\n", "name: a\t\n"}) {
    EXPECT_THAT(ProblemsOf(text), IsEmpty()) << text;
  }
}

TEST(LoadTextTest, AnchorsStandForWhatTheyName) {
  std::vector<Problem> problems;
  const JobSpec spec = LoadJobSpec(
      "data: {train: [&one {path: a, weight: 2}, *one, &path b], validation: *path}\n"
      "model: {hidden_size: &width 64, intermediate_size: *width}\n",
      {}, &problems);
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_THAT(spec.data.train, SizeIs(3));
  EXPECT_EQ(spec.data.train[1].path, "a");
  EXPECT_EQ(spec.data.train[1].weight, 2.0);
  EXPECT_EQ(spec.data.validation, "b");
  EXPECT_EQ(spec.model.intermediate_size, 64);
}

struct Document {
  const char* what;
  std::string text;
  std::vector<std::string> says;
};

TEST(LoadTextTest, KeysAreNamesEachOnce) {
  const Document cases[] = {
      {"a key that comes three times",
       "name: a\nname: b\nname: c\n",
       {"name: a second value is not allowed; need each key once (remove one of the two)",
        "name: a second value is not allowed; need each key once (remove one of the two)"}},
      {"twice inside of a section, once quoted",
       "model: {residual: {streams: 2, 'streams': 3}}\n",
       {"model.residual.streams: a second value is not allowed; need each key once (remove one of "
        "the two)"}},
      {"an unknown key twice",
       "x: 1\nx: 2\n",
       {"x: 1 is not allowed; need a field of the job spec (birkhoff explain lists them)",
        "x: a second value is not allowed; need each key once (remove one of the two)"}},
      {"an empty key", "'': 1\n", {"job spec: an empty key is not allowed; need names as keys"}},
      {"an empty key of a section",
       "model: {'': 1}\n",
       {"model: an empty key is not allowed; need names as keys"}},
      {"a list as a key",
       "model: {[a]: 1}\n",
       {"model: the key a list is not allowed; need names as keys"}},
      {"dots, as in --set",
       "data.train: t\n",
       {"data.train: t is not allowed; need sections that hold their fields (data: {train: PATH}, "
        "not data.train: PATH; dots are for --set)"}},
      {"dots inside of a section",
       "model: {residual.kind: hc}\n",
       {"model.residual.kind: hc is not allowed; need sections that hold their fields (data: "
        "{train: PATH}, not data.train: PATH; dots are for --set)"}},
      {"a merge key",
       "base: &b {hidden_size: 64}\nmodel: {<<: *b}\n",
       {"base: a mapping is not allowed; need a field of the job spec (did you mean name?)",
        "model.<<: a mapping is not allowed; need a field of the job spec (birkhoff explain lists "
        "them)"}},
      {"letters of another case",
       "Name: a\nMODEL: {}\n",
       {"Name: a is not allowed; need a field of the job spec (did you mean name?)",
        "MODEL: a mapping is not allowed; need a field of the job spec (birkhoff explain lists "
        "them)"}},
      {"a key with a line break, which forges none of ours",
       "\"a\\nname: b\": 1\n",
       {"a\\nname: b: 1 is not allowed; need a field of the job spec (birkhoff explain lists "
        "them)"}},
      {"a section that is a list",
       "model: [hidden_size]\n",
       {"model: a list is not allowed; need a mapping of fields (birkhoff explain model lists "
        "them)"}},
      {"a section that is empty",
       "model:\n",
       {"model: nothing (null) is not allowed; need a mapping of fields (birkhoff explain model "
        "lists them)"}},
      {"a section within one that is a word",
       "model: {residual: mhc}\n",
       {"model.residual: mhc is not allowed; need a mapping of fields (birkhoff explain "
        "model.residual lists them)"}},
      {"a field that is a section",
       "device: {kind: cpu}\n",
       {"device: a mapping is not allowed; need one of auto, cpu, cuda"}},
      {"a section with nothing in it", "model: {}\n", {}},
      {"a document with nothing in it", "{}\n", {}},
  };
  for (const Document& c : cases) EXPECT_EQ(ProblemsOf(c.text), c.says) << c.what;
}

// 60 letters of a key are shown, and no more than a character is lost by it.
TEST(LoadTextTest, LongKeysAreShortenedAndStayThemselves) {
  const std::string a(80, 'a');
  EXPECT_THAT(ProblemsOf(absl::StrCat(a, ": 1\n")),
              ElementsAre(absl::StrCat(std::string(60, 'a'),
                                       "...: 1 is not allowed; need a field of the job spec "
                                       "(birkhoff explain lists them)")));
  EXPECT_THAT(AllOf(absl::StrCat(a, "b: 1\n", a, "c: 2\n")), Not(HasSubstr("a second value")));
  // Two bytes each: the cut falls between them, not within one.
  std::string e;
  for (int i = 0; i < 40; ++i) e += "\xc3\xa9";
  EXPECT_THAT(AllOf(absl::StrCat("x", e, ": 1\n")), Not(HasSubstr("\\x")));
  EXPECT_THAT(AllOf(absl::StrCat("training: {steps: x", e, "}\n")), Not(HasSubstr("\\x")));
}

TEST(LoadTextTest, SourcesAreAPathAListOrMappings) {
  const Document cases[] = {
      {"a number is a path too", "data: {train: 5}\n", {}},
      {"quoted", "data: {train: 'a b'}\n", {}},
      {"a list of all forms", "data: {train: [a, 5, {path: b}, {weight: 2, path: c}]}\n", {}},
      {"an empty list", "data: {train: []}\n", {}},
      {"null",
       "data: {train: }\n",
       {"data.train: nothing (null) is not allowed; need a path, or a list of paths or of {path: "
        "PATH, weight: NUMBER}"}},
      {"null in a list",
       "data: {train: [~]}\n",
       {"data.train[0]: nothing (null) is not allowed; need a path or {path: PATH, weight: "
        "NUMBER}"}},
      {"a path twice",
       "data: {train: [{path: a, path: b}]}\n",
       {"data.train[0].path: a second value is not allowed; need each key once (remove one of the "
        "two)"}},
      {"a weight that is none",
       "data: {train: [a, {path: b, weight: heavy}]}\n",
       {"data.train[1].weight: heavy is not allowed; need a finite number above 0"}},
      {"a quoted weight",
       "data: {train: [{path: b, weight: '1'}]}\n",
       {"data.train[0].weight: 1 is not allowed; need a finite number above 0"}},
      {"a path that is a list",
       "data: {train: [{path: [b]}]}\n",
       {"data.train[0].path: a list is not allowed; need a path"}},
      {"an unknown key",
       "data: {train: [{path: b, wieght: 2}]}\n",
       {"data.train[0].wieght: 2 is not allowed; need path or weight"}},
      {"an empty mapping",
       "data: {train: [{}]}\n",
       {"data.train[0]: an entry without path is not allowed; need path"}},
  };
  for (const Document& c : cases) EXPECT_EQ(ProblemsOf(c.text), c.says) << c.what;
}

std::string ListOf(size_t items, const std::string& item) {
  return absl::StrCat("[", absl::StrJoin(std::vector<std::string>(items, item), ", "), "]");
}

TEST(LoadTextTest, ListsAndTextsHaveTheirLargestSize) {
  const auto data = [](size_t items) {
    return absl::StrCat("data: {train: ", ListOf(items, "t"), "}\n");
  };
  EXPECT_THAT(ProblemsOf(data(4096)), IsEmpty());
  EXPECT_THAT(ProblemsOf(data(4097)),
              ElementsAre("data.train: 4097 items is not allowed; need at most 4096"));
  const auto shares = [](size_t items) {
    return absl::StrCat("lr_schedule: {step_at: ", ListOf(items, "0.5"), "}\n");
  };
  EXPECT_THAT(ProblemsOf(shares(4096)), IsEmpty());
  EXPECT_THAT(ProblemsOf(shares(4097)),
              ElementsAre("lr_schedule.step_at: 4097 items is not allowed; need at most 4096"));
  const std::string comment = absl::StrCat("name: a\n#", std::string((1 << 20) - 9, 'x'));
  EXPECT_THAT(ProblemsOf(comment), IsEmpty());
  EXPECT_THAT(ProblemsOf(comment + "x"),
              ElementsAre("job spec: 1048577 bytes is not allowed; need at most 1048576 bytes"));
}

TEST(LoadTextTest, WhatIsRefusedKeepsItsDefault) {
  std::vector<Problem> problems;
  const JobSpec spec = LoadJobSpec(
      "name: [a]\nmodel: {hidden_size: wide, vocab_size: 300}\ndata: {train: {a: b}, seed: -1}\n"
      "optimizer: {lr: fast}\nparallelism: {recompute: 0, schedule: gpipe}\n",
      {}, &problems);
  JobSpec want;
  want.model.vocab_size = 300;
  EXPECT_THAT(problems, SizeIs(7));
  EXPECT_EQ(JobSpecToYaml(spec), JobSpecToYaml(want));
}

}  // namespace
}  // namespace birkhoff
