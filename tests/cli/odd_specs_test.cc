// Odd job files that others have had trouble with: what is read is what is meant, or it is refused
// with the field, the value and what would do.  docs/odd-inputs.md says where they come from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/disk.h"
#include "tests/cli/verb.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

struct OddSpec {
  const char* name;
  std::string yaml;
  int code;
  std::string says;  // in the resolved spec where it is accepted, else in the message
  friend void PrintTo(const OddSpec& odd, std::ostream* out) { *out << odd.name; }
};

class OddSpecTest : public ::testing::TestWithParam<OddSpec> {};

TEST_P(OddSpecTest, IsReadAsMeantOrRefused) {
  const testing::TemporaryDirectory directory;
  PosixDisk disk;
  const std::string path = directory / "job.yaml";
  const auto file = disk.Create(path);
  ASSERT_TRUE(file.ok() && (*file)->Append(GetParam().yaml).ok() && (*file)->Close().ok());
  const VerbResult result = RunVerb({"validate", "--spec-only", "-o", "yaml", path});
  EXPECT_EQ(result.code, GetParam().code) << result.err;
  EXPECT_THAT(result.code == 0 ? result.out : result.err, HasSubstr(GetParam().says));
  EXPECT_THAT(result.err, Not(HasSubstr("\x1b"))) << "nothing of the file moves the cursor";
}

const std::vector<OddSpec>& OddSpecs() {
  static const auto* const kSpecs = new std::vector<OddSpec>{
      // YAML, as PyYAML, yaml-cpp, LLaMA-Factory, axolotl and Determined have met it.
      OddSpec{"ExponentWithoutPoint",
              "data: {train: t}\noptimizer: {lr: 1e-4}\nlr_schedule: {min_lr: 1e-5}\n", 0,
              "lr: 1.0e-04"},
      OddSpec{"ExponentCapital",
              "data: {train: t}\noptimizer: {lr: 1E-4}\nlr_schedule: {min_lr: 0}\n", 0,
              "lr: 1.0e-04"},
      OddSpec{"ExponentPlus", "data: {train: t}\noptimizer: {lr: +1.0e-3}\n", 0, "lr: 0.001"},
      OddSpec{"ExponentQuoted", "data: {train: t}\noptimizer: {lr: '1e-4'}\n", 64,
              "optimizer.lr: 1e-4 is not allowed; need a finite number above 0 and up to 1000 "
              "(write it without quotes)"},
      OddSpec{"StepsAsReal", "data: {train: t}\ntraining: {steps: 100.0}\n", 64,
              "training.steps: 100.0 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsAsExponent", "data: {train: t}\ntraining: {steps: 1e3}\n", 64,
              "training.steps: 1e3 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsWithUnderscores", "data: {train: t}\ntraining: {steps: 1_000}\n", 64,
              "training.steps: 1_000 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsWithCommas", "data: {train: t}\ntraining: {steps: '1,000'}\n", 64,
              "training.steps: 1,000 is not allowed; need a whole number from 1 on (write it "
              "without quotes)"},
      OddSpec{"StepsHex", "data: {train: t}\ntraining: {steps: 0x10}\n", 64,
              "training.steps: 0x10 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsOctal", "data: {train: t}\ntraining: {steps: 0o17}\n", 64,
              "training.steps: 0o17 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsLeadingZero", "data: {train: t}\ntraining: {steps: 0100}\n", 0, "steps: 100"},
      OddSpec{"StepsPlus", "data: {train: t}\ntraining: {steps: +5}\n", 64,
              "training.steps: +5 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsSexagesimal", "data: {train: t}\ntraining: {steps: 1:30}\n", 64,
              "training.steps: 1:30 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsDate", "data: {train: t}\ntraining: {steps: 2024-01-01}\n", 64,
              "training.steps: 2024-01-01 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsNegative", "data: {train: t}\ntraining: {steps: -1}\n", 64,
              "training.steps: -1 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsMinusZero", "data: {train: t}\ntraining: {steps: -0}\n", 64,
              "training.steps: 0 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsInf", "data: {train: t}\ntraining: {steps: .inf}\n", 64,
              "training.steps: .inf is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsNull", "data: {train: t}\ntraining: {steps: ~}\n", 64,
              "training.steps: nothing (null) is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsEmpty", "data: {train: t}\ntraining:\n  steps:\n", 64,
              "training.steps: nothing (null) is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsNone", "data: {train: t}\ntraining: {steps: None}\n", 64,
              "training.steps: None is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsTrue", "data: {train: t}\ntraining: {steps: true}\n", 64,
              "training.steps: true is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsUnit", "data: {train: t}\ntraining: {steps: 10k}\n", 64,
              "training.steps: 10k is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsList", "data: {train: t}\ntraining: {steps: [1, 2]}\n", 64,
              "training.steps: a list is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsMap", "data: {train: t}\ntraining: {steps: {value: 5}}\n", 64,
              "training.steps: a mapping is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsTagged", "data: {train: t}\ntraining: {steps: !!int '500'}\n", 0, "steps: 500"},
      OddSpec{"StepsPythonTag",
              "data: {train: t}\ntraining: {steps: !!python/object/apply:os.system ['true']}\n", 64,
              "training.steps: a list is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsLarge", "data: {train: t}\ntraining: {steps: 9223372036854775807}\n", 0,
              "steps: 9223372036854775807"},
      OddSpec{"StepsBeyond64Bits", "data: {train: t}\ntraining: {steps: 9223372036854775808}\n", 64,
              "training.steps: 9223372036854775808 is not allowed; need a whole number from 1 on"},
      OddSpec{"StepsFullWidthDigits",
              "data: {train: t}\ntraining: {steps: \357\274\221\357\274\220\357\274\220}\n", 64,
              "training.steps: \357\274\221\357\274\220\357\274\220 is not allowed; need a whole "
              "number from 1 on"},
      OddSpec{"StepsNoBreakSpace", "data: {train: t}\ntraining: {steps: 100\302\240}\n", 64,
              "training.steps: 100\302\240 is not allowed; need a whole number from 1 on"},
      OddSpec{"SeedNegative", "data: {train: t}\ntraining: {seed: -1}\n", 64,
              "training.seed: -1 is not allowed; need a whole number from 0 to 2^64 - 1"},
      OddSpec{"SeedLargest", "data: {train: t}\ntraining: {seed: 18446744073709551615}\n", 0,
              "seed: 18446744073709551615"},
      OddSpec{"SeedBeyond", "data: {train: t}\ntraining: {seed: 18446744073709551616}\n", 64,
              "training.seed: 18446744073709551616 is not allowed; need a whole number from 0 to "
              "2^64 - 1"},
      OddSpec{"NorwayTie", "data: {train: t}\nmodel: {tie_embeddings: no}\n", 64,
              "model.tie_embeddings: no is not allowed; need true or false"},
      OddSpec{"YesTie", "data: {train: t}\nmodel: {tie_embeddings: yes}\n", 64,
              "model.tie_embeddings: yes is not allowed; need true or false"},
      OddSpec{"OnTie", "data: {train: t}\nmodel: {tie_embeddings: on}\n", 64,
              "model.tie_embeddings: on is not allowed; need true or false"},
      OddSpec{"TrueCapital", "data: {train: t}\nmodel: {tie_embeddings: True}\n", 64,
              "model.tie_embeddings: True is not allowed; need true or false"},
      OddSpec{"TieOne", "data: {train: t}\nmodel: {tie_embeddings: 1}\n", 64,
              "model.tie_embeddings: 1 is not allowed; need true or false"},
      OddSpec{"TieQuoted", "data: {train: t}\nmodel: {tie_embeddings: 'true'}\n", 64,
              "model.tie_embeddings: true is not allowed; need true or false (write it without "
              "quotes)"},
      OddSpec{"ByteOrderMark", "\357\273\277data: {train: t}\n", 0, "name: job"},
      OddSpec{"Utf16", "d\000a\000t\000a\000"s, 64,
              "job spec: byte 0x0 at offset 1 is not allowed; need UTF-8 text without control "
              "characters"},
      OddSpec{"CarriageReturns", "data: {train: t}\r\ntraining: {steps: 70}\r\n", 0, "steps: 70"},
      OddSpec{"OldMacLines", "data: {train: t}\rtraining: {steps: 7}\r", 64,
              "job spec line 1, column 17: the text (end of map not found) is not allowed; need "
              "well-formed YAML"},
      OddSpec{"Nul", "data: {train: t\000}\n"s, 64,
              "job spec: byte 0x0 at offset 15 is not allowed; need UTF-8 text without control "
              "characters"},
      OddSpec{"Escape", "data: {train: t}\nname: \"a\\e[31m\"\n", 64,
              "name: \"a\\x1b[31m\" is not allowed; need lower-case letters, digits and inner "
              "hyphens, at most 63"},
      OddSpec{"Latin1", "data: {train: caf\351}\n", 64,
              "job spec: byte 0xe9 at offset 17 is not allowed; need UTF-8 text without control "
              "characters"},
      OddSpec{"OverlongUtf8", "data: {train: \300\257}\n", 64,
              "job spec: byte 0xc0 at offset 14 is not allowed; need UTF-8 text without control "
              "characters"},
      OddSpec{"Surrogate", "data: {train: \355\240\200}\n", 64,
              "job spec: byte 0xed at offset 14 is not allowed; need UTF-8 text without control "
              "characters"},
      OddSpec{"LoneContinuation", "data: {train: \200}\n", 64,
              "job spec: byte 0x80 at offset 14 is not allowed; need UTF-8 text without control "
              "characters"},
      OddSpec{"Emoji", "data: {train: \360\237\230\200}\n", 0, "/\360\237\230\200"},
      OddSpec{
          "TabIndent", "data:\n\ttrain: t\n", 64,
          "job spec line 2, column 1: a tab is not allowed; need spaces before the first word of "
          "a line"},
      OddSpec{"TabAfterColon", "data: {train:\tt}\n", 0, "/t, weight: 1"},
      OddSpec{"TwoDocuments", "data: {train: t}\n---\ndata: {train: t}\n", 64,
              "job spec: more than one document is not allowed; need one YAML document"},
      OddSpec{"DocumentEnd", "---\ndata: {train: t}\n...\n", 0, "name: job"},
      OddSpec{"TrailingGarbage", "data: {train: t}\n...\ngarbage\n", 64,
              "job spec: more than one document is not allowed; need one YAML document"},
      OddSpec{"Directive", "%YAML 1.2\n---\ndata: {train: t}\n", 0, "name: job"},
      OddSpec{"UnknownDirective", "%FOO bar\n---\ndata: {train: t}\n", 0, "name: job"},
      OddSpec{"Anchor", "data: &d {train: t}\n", 0, "/t, weight: 1"},
      OddSpec{"AliasOfScalar",
              "training: {steps: &n 70, validation_interval: *n}\ndata: {train: t}\n", 0,
              "validation_interval: 70"},
      OddSpec{"UnknownAlias", "data: {train: t}\ntraining: {steps: *n}\n", 64,
              "job spec line 2, column 19: the text (the referenced anchor is not defined) is not "
              "allowed; need well-formed YAML"},
      OddSpec{"AliasToItself", "data: &d {train: *d}\n", 64,
              "data.train: a mapping is not allowed; need a path, or a list of paths or of {path: "
              "PATH, weight: NUMBER}"},
      OddSpec{"MergeKey", "x: &x {steps: 5}\ntraining: {<<: *x}\ndata: {train: t}\n", 64,
              "x: a mapping is not allowed; need a field of the job spec (birkhoff explain lists "
              "them)"},
      OddSpec{
          "BillionLaughs",
          "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c "
          "[*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e "
          "[*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ndata: {train: t}\n",
          64,
          "a: a list is not allowed; need a field of the job spec (birkhoff explain lists them)"},
      OddSpec{
          "DeepBrackets", "data: " + Repeat("[", 5000) + "\n", 64,
          "job spec line 2, column 1: the text (bad file) is not allowed; need well-formed YAML"},
      OddSpec{"DeepMaps", "data: " + Repeat("{a: ", 3000), 64,
              "job spec line 1, column 1998: the text (bad file) is not allowed; need well-formed "
              "YAML"},
      OddSpec{"Json", "{\"data\": {\"train\": \"t\"}, \"training\": {\"steps\": 50}}", 0,
              "steps: 50"},
      OddSpec{"JsonComments", "{\"data\": {\"train\": \"t\"}, // no\n}", 64,
              "job spec line 1, column 26: the text (end of map flow not found) is not allowed; "
              "need well-formed YAML"},
      OddSpec{"JsonTrailingComma", "{\"data\": {\"train\": \"t\",},}", 0, "/t, weight: 1"},
      OddSpec{"Toml", "[data]\ntrain = 't'\n", 64,
              "job spec: more than one document is not allowed; need one YAML document"},
      OddSpec{"Ini", "data.train=t\n", 64,
              "job spec: data.train=t is not allowed; need a mapping of fields"},
      OddSpec{"DottedKeys", "data.train: t\n", 64,
              "data.train: t is not allowed; need sections that hold their fields (data: {train: "
              "PATH}, not data.train: PATH; dots are for --set)"},
      OddSpec{"SlashKeys", "data/train: t\n", 64,
              "data/train: t is not allowed; need a field of the job spec (birkhoff explain lists "
              "them)"},
      OddSpec{"CapitalKeys", "Data: {Train: t}\n", 64,
              "Data: a mapping is not allowed; need a field of the job spec (did you mean data?)"},
      OddSpec{"HyphenKeys", "data: {train: t}\ntraining: {micro-batch-size: 2}\n", 64,
              "training.micro-batch-size: 2 is not allowed; need a field of the job spec (did you "
              "mean training.micro_batch_size?)"},
      OddSpec{"CamelKeys", "data: {train: t}\ntraining: {microBatchSize: 2}\n", 64,
              "training.microBatchSize: 2 is not allowed; need a field of the job spec (did you "
              "mean training.micro_batch_size?)"},
      OddSpec{"NumberKey", "data: {train: t}\n7: 8\n", 64,
              "7: 8 is not allowed; need a field of the job spec (birkhoff explain lists them)"},
      OddSpec{"NullKey", "data: {train: t}\n~: 8\n", 64,
              "job spec: the key nothing (null) is not allowed; need names as keys"},
      OddSpec{"ListKey", "data: {train: t}\n? [a, b]\n: 8\n", 64,
              "job spec: the key a list is not allowed; need names as keys"},
      OddSpec{"EmptyKey", "data: {train: t}\n'': 8\n", 64,
              "job spec: an empty key is not allowed; need names as keys"},
      OddSpec{"LongKey", "data: {train: t}\n" + Repeat("k", 3000) + ": 8\n", 64,
              "job spec line 2, column 3001: the text (illegal map value) is not allowed; need "
              "well-formed YAML"},
      OddSpec{
          "KeyWithNewline", "data: {train: t}\n\"a\\nb\": 8\n", 64,
          "a\\nb: 8 is not allowed; need a field of the job spec (birkhoff explain lists them)"},
      OddSpec{
          "KeyWithEscape", "data: {train: t}\n\"a\\eb\": 8\n", 64,
          "a\\x1bb: 8 is not allowed; need a field of the job spec (birkhoff explain lists them)"},
      OddSpec{
          "BlockScalar", "data:\n  train: |\n    t\n    u\n", 64,
          "data.train[0].path: t\\nu\\n is not allowed; need a text without control characters"},
      OddSpec{"FoldedScalar", "data:\n  train: >-\n    t\n", 0, "/t, weight: 1"},
      OddSpec{"UnclosedQuote", "data: {train: 't}\n", 64,
              "job spec line 2, column 2: the text (illegal EOF in scalar) is not allowed; need "
              "well-formed YAML"},
      OddSpec{"UnclosedBrace", "data: {train: t\n", 64,
              "job spec line 2, column 1: the text (end of map flow not found) is not allowed; "
              "need well-formed YAML"},
      OddSpec{"ColonWithoutSpace", "data: {train:t}\n", 64,
              "data.train:t: nothing (null) is not allowed; need a field of the job spec (did you "
              "mean data.train?)"},
      OddSpec{"HashInValue", "data: {train: t#1}\n", 0, "/t#1"},
      OddSpec{"CommentOnly", "# nothing\n", 64,
              "job spec: an empty text is not allowed; need one YAML document"},
      OddSpec{"BlanksOnly", "  \n\n  \n", 64,
              "job spec: an empty text is not allowed; need one YAML document"},
      OddSpec{"NullDocument", "~\n", 64,
              "job spec: nothing (null) is not allowed; need a mapping of fields"},
      OddSpec{"Jinja", "data: {train: {{ path }}}\n", 64,
              "data.train: a mapping is not allowed; need a path, or a list of paths or of {path: "
              "PATH, weight: NUMBER}"},
      OddSpec{"EnvVariable", "data: {train: ${HOME}/t}\n", 64,
              "job spec line 1, column 16: the text (end of map flow not found) is not allowed; "
              "need well-formed YAML"},
      OddSpec{"HelmValue", "data: {train: {{ .Values.data }}}\n", 64,
              "data.train: a mapping is not allowed; need a path, or a list of paths or of {path: "
              "PATH, weight: NUMBER}"},
      OddSpec{"PercentName", "data: {train: t}\nname: '%s%n'\n", 64,
              "name: \"%s%n\" is not allowed; need lower-case letters, digits and inner hyphens, "
              "at most 63"},
      // Names, as Kubeflow's operators have met them.
      OddSpec{"NameCapital", "data: {train: t}\nname: MyJob\n", 64,
              "name: MyJob is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameUnderscore", "data: {train: t}\nname: my_job\n", 64,
              "name: my_job is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameDot", "data: {train: t}\nname: my.job\n", 64,
              "name: my.job is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameSlash", "data: {train: t}\nname: a/b\n", 64,
              "name: a/b is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameDots", "data: {train: t}\nname: ..\n", 64,
              "name: \"..\" is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameSpace", "data: {train: t}\nname: 'a b'\n", 64,
              "name: \"a b\" is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"Name63", "data: {train: t}\nname: " + Repeat("a", 63), 0,
              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
      OddSpec{"Name64", "data: {train: t}\nname: " + Repeat("a", 64), 64,
              "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa is not "
              "allowed; need lower-case letters, digits and inner hyphens, at most 63"},
      OddSpec{"NameEndsInHyphen", "data: {train: t}\nname: job-\n", 64,
              "name: job- is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameEmpty", "data: {train: t}\nname: ''\n", 64,
              "name: \"\" is not allowed; need lower-case letters, digits and inner hyphens, at "
              "most 63"},
      OddSpec{"NameNumber", "data: {train: t}\nname: 123\n", 0, "name: \"123\""},
      OddSpec{"NameNull", "data: {train: t}\nname: ~\n", 64,
              "name: nothing (null) is not allowed; need lower-case letters, digits and inner "
              "hyphens, at most 63"},
      OddSpec{"NameUmlaut", "data: {train: t}\nname: j\303\266b\n", 64,
              "name: \"j\303\266b\" is not allowed; need lower-case letters, digits and inner "
              "hyphens, at most 63"},
      OddSpec{"NameTrue", "data: {train: t}\nname: true\n", 0, "name: \"true\""},
      OddSpec{"NameVariable", "data: {train: t}\nname: $(trainingName)\n", 64,
              "name: \"$(trainingName)\" is not allowed; need lower-case letters, digits and inner "
              "hyphens, at most 63"},
      OddSpec{"NameNewline", "data: {train: t}\nname: \"a\\nb\"\n", 64,
              "name: \"a\\x0ab\" is not allowed; need lower-case letters, digits and inner "
              "hyphens, at most 63"},
      // Shapes, batches, parallelism, rates: met by Megatron-LM, torchtitan and nanotron.
      OddSpec{"HiddenZero", "data: {train: t}\nmodel: {hidden_size: 0}\n", 64,
              "model.hidden_size: 0 is not allowed; need a whole number from 1 to 65536"},
      OddSpec{"HiddenOdd", "data: {train: t}\nmodel: {hidden_size: 127}\n", 64,
              "model.hidden_size: 127 is not allowed; need a multiple of "
              "model.num_attention_heads, 4 (nearest: 124 or 128)"},
      OddSpec{"HeadsMore", "data: {train: t}\nmodel: {num_attention_heads: 256}\n", 64,
              "model.hidden_size: 128 is not allowed; need a multiple of "
              "model.num_attention_heads, 256 (nearest: 256)"},
      OddSpec{"HeadsZero", "data: {train: t}\nmodel: {num_attention_heads: 0}\n", 64,
              "model.num_attention_heads: 0 is not allowed; need a whole number from 1 to 1024"},
      OddSpec{"KvMore", "data: {train: t}\nmodel: {num_key_value_heads: 8}\n", 64,
              "model.num_key_value_heads: 8 is not allowed; need a divisor of "
              "model.num_attention_heads, 4"},
      OddSpec{"OddHead", "data: {train: t}\nmodel: {hidden_size: 12, num_attention_heads: 4}\n", 64,
              "model.hidden_size: 12 is not allowed; need an even head size for RoPE, not 3 for 4 "
              "heads (nearest: 8 or 16)"},
      OddSpec{"LayersZero", "data: {train: t}\nmodel: {num_hidden_layers: 0}\n", 64,
              "model.num_hidden_layers: 0 is not allowed; need a whole number from 1 to 2047"},
      OddSpec{"VocabOne", "data: {train: t}\nmodel: {vocab_size: 1}\n", 64,
              "model.vocab_size: 1 is not allowed; need 257 or more with data.tokenizer bytes (0 "
              "takes the tokenizer's size)"},
      OddSpec{"VocabNegative", "data: {train: t}\nmodel: {vocab_size: -1}\n", 64,
              "model.vocab_size: -1 is not allowed; need a whole number from 0 to 16777216"},
      OddSpec{"VocabNoneTokenizer", "data: {train: t, tokenizer: none}\n", 64,
              "model.vocab_size: 0 is not allowed; need the number of tokens of the data, because "
              "data.tokenizer is none (GPT-2's token files have 50257)"},
      OddSpec{"VocabGpt2Padded", "data: {train: t, tokenizer: none}\nmodel: {vocab_size: 50304}\n",
              0, "vocab_size: 50304"},
      OddSpec{"TokenizerEmpty", "data: {train: t, tokenizer: ''}\n", 64,
              "data.tokenizer: an empty text is not allowed; need bytes, none, or a SentencePiece "
              ".model"},
      OddSpec{"TokenizerNull", "data: {train: t, tokenizer: ~}\n", 64,
              "data.tokenizer: nothing (null) is not allowed; need bytes, a SentencePiece .model "
              "file, or none: tokens made elsewhere"},
      OddSpec{"BatchNotDivisible", "data: {train: t}\ntraining: {micro_batch_size: 3}\n", 64,
              "training.global_batch_size: 32 is not allowed; need a multiple of "
              "training.micro_batch_size x parallelism.data_parallel_degree, 3 x 1 = 3 (nearest: "
              "30 or 33)"},
      OddSpec{"BatchSmallerThanMicro", "data: {train: t}\ntraining: {micro_batch_size: 64}\n", 64,
              "training.global_batch_size: 32 is not allowed; need a multiple of "
              "training.micro_batch_size x parallelism.data_parallel_degree, 64 x 1 = 64 (nearest: "
              "64)"},
      OddSpec{"BatchDataParallel", "data: {train: t}\nparallelism: {data_parallel_degree: 5}\n", 64,
              "training.global_batch_size: 32 is not allowed; need a multiple of "
              "training.micro_batch_size x parallelism.data_parallel_degree, 2 x 5 = 10 (nearest: "
              "30 or 40)"},
      OddSpec{"TooManyStages",
              "data: {train: t}\nparallelism: {pipeline_parallel_degree: 64}\ntraining: "
              "{global_batch_size: 512}\n",
              64,
              "parallelism.pipeline_parallel_degree: 64 is not allowed; need at most one stage per "
              "unit: 128 stages, but 18 units (embedding, 16 sub-layers, head) (use fewer workers "
              "or more model.num_hidden_layers)"},
      OddSpec{"MicrobatchesFew", "data: {train: t}\ntraining: {global_batch_size: 4}\n", 64,
              "training.global_batch_size: 4 is not allowed; need at least 4 micro-batches per "
              "replica (2 x 2 ranks) with parallelism.schedule dualpipev, not 2 (set "
              "training.global_batch_size to 8)"},
      OddSpec{"DegreeZero", "data: {train: t}\nparallelism: {pipeline_parallel_degree: 0}\n", 64,
              "parallelism.pipeline_parallel_degree: 0 is not allowed; need a whole number from 1 "
              "to 1024"},
      OddSpec{
          "RecomputeTrue", "data: {train: t}\nparallelism: {recompute: true}\n", 64,
          "parallelism.recompute: true is not allowed; need auto, none, or a whole number from 1"},
      OddSpec{"RecomputeMore", "data: {train: t}\nparallelism: {recompute: 100}\n", 64,
              "parallelism.recompute: 100 is not allowed; need at most the model's 16 sub-layers "
              "(auto chooses)"},
      OddSpec{
          "RecomputeMinusOne", "data: {train: t}\nparallelism: {recompute: -1}\n", 64,
          "parallelism.recompute: -1 is not allowed; need auto, none, or a whole number from 1"},
      OddSpec{"RecomputeZero", "data: {train: t}\nparallelism: {recompute: 0}\n", 64,
              "parallelism.recompute: 0 is not allowed; need auto, none, or a whole number from 1"},
      OddSpec{
          "RecomputeFull", "data: {train: t}\nparallelism: {recompute: full}\n", 64,
          "parallelism.recompute: full is not allowed; need auto, none, or a whole number from 1"},
      OddSpec{"TensorParallel", "data: {train: t}\nparallelism: {tensor_parallel_degree: 2}\n", 64,
              "parallelism.tensor_parallel_degree: 2 is not allowed; need a field of the job spec "
              "(did you mean parallelism.data_parallel_degree?)"},
      OddSpec{"ScheduleCapital", "data: {train: t}\nparallelism: {schedule: 1F1B}\n", 64,
              "parallelism.schedule: 1F1B is not allowed; need one of 1f1b, dualpipev, dualpipe"},
      OddSpec{"ScheduleInterleaved", "data: {train: t}\nparallelism: {schedule: interleaved}\n", 64,
              "parallelism.schedule: interleaved is not allowed; need one of 1f1b, dualpipev, "
              "dualpipe"},
      OddSpec{"WarmupTooLong", "data: {train: t}\nlr_schedule: {warmup_steps: 500}\n", 0,
              "warmup_steps: 500"},
      OddSpec{"WarmupRatio", "data: {train: t}\nlr_schedule: {warmup_steps: 0.1}\n", 64,
              "lr_schedule.warmup_steps: 0.1 is not allowed; need a whole number from 0 on"},
      OddSpec{"WarmupRatioKey", "data: {train: t}\nlr_schedule: {warmup_ratio: 0.1}\n", 64,
              "lr_schedule.warmup_ratio: 0.1 is not allowed; need a field of the job spec "
              "(birkhoff explain lists them)"},
      OddSpec{"MinLrAbove", "data: {train: t}\nlr_schedule: {min_lr: 1}\n", 64,
              "lr_schedule.min_lr: 1 is not allowed; need at most optimizer.lr, 0.001"},
      OddSpec{"LrZero", "data: {train: t}\noptimizer: {lr: 0}\nlr_schedule: {min_lr: 0}\n", 64,
              "optimizer.lr: 0 is not allowed; need a finite number above 0 and up to 1000"},
      OddSpec{"LrNegative", "data: {train: t}\noptimizer: {lr: -1e-3}\n", 64,
              "optimizer.lr: -0.001 is not allowed; need a finite number above 0 and up to 1000"},
      OddSpec{"LrHuge", "data: {train: t}\noptimizer: {lr: 1e400}\n", 64,
              "optimizer.lr: 1e400 is not allowed; need a finite number above 0 and up to 1000"},
      OddSpec{"LrTiny", "data: {train: t}\noptimizer: {lr: 1e-400}\nlr_schedule: {min_lr: 0}\n", 64,
              "optimizer.lr: 0 is not allowed; need a finite number above 0 and up to 1000"},
      OddSpec{"LrHexFloat", "data: {train: t}\noptimizer: {lr: 0x1p-10}\n", 0, "lr: 0.0009765625"},
      OddSpec{"LrComma", "data: {train: t}\noptimizer: {lr: '0,001'}\n", 64,
              "optimizer.lr: 0,001 is not allowed; need a finite number above 0 and up to 1000 "
              "(write it without quotes)"},
      OddSpec{"LrPercent", "data: {train: t}\noptimizer: {lr: 10%}\n", 64,
              "optimizer.lr: 10% is not allowed; need a finite number above 0 and up to 1000"},
      OddSpec{"LrExpression", "data: {train: t}\noptimizer: {lr: 3 * 1e-4}\n", 64,
              "optimizer.lr: 3 * 1e-4 is not allowed; need a finite number above 0 and up to 1000"},
      OddSpec{"EpsZero", "data: {train: t}\noptimizer: {eps: 0}\n", 64,
              "optimizer.eps: 0 is not allowed; need a finite number above 0 and up to 1"},
      OddSpec{"AdamCapital", "data: {train: t}\noptimizer: {name: AdamW}\n", 64,
              "optimizer.name: AdamW is not allowed; need adamw"},
      OddSpec{"Sgd", "data: {train: t}\noptimizer: {name: sgd}\n", 64,
              "optimizer.name: sgd is not allowed; need adamw"},
      OddSpec{
          "StepAtUnordered", "data: {train: t}\nlr_schedule: {kind: step, step_at: [0.9, 0.8]}\n",
          64,
          "lr_schedule.step_at: [0.9, 0.8] is not allowed; need ascending shares between 0 and 1"},
      OddSpec{"StepAtOne",
              "data: {train: t}\nlr_schedule: {kind: step, step_at: [1.0], step_factor: [0.1]}\n",
              64, "lr_schedule.step_at: [1] is not allowed; need ascending shares between 0 and 1"},
      OddSpec{"StepAtEmpty",
              "data: {train: t}\nlr_schedule: {kind: step, step_at: [], step_factor: []}\n", 0,
              "step_at: []"},
      OddSpec{"StepAtScalar", "data: {train: t}\nlr_schedule: {kind: step, step_at: 0.5}\n", 64,
              "lr_schedule.step_at: 0.5 is not allowed; need a list of numbers, [0.8, 0.9]"},
      OddSpec{"StepFactorNan",
              "data: {train: t}\nlr_schedule: {kind: step, step_factor: [.nan, 1]}\n", 64,
              "lr_schedule.step_factor[0]: .nan is not allowed; need a finite number"},
      OddSpec{
          "StepAtMany",
          "data: {train: t}\nlr_schedule: {kind: step, step_at: [" + Repeat("0.5,", 5000) + "]}\n",
          64, "lr_schedule.step_at: 5000 items is not allowed; need at most 4096"},
      OddSpec{"WsdTooLong", "data: {train: t}\nlr_schedule: {kind: wsd, decay_steps: 1000}\n", 64,
              "lr_schedule.decay_steps: 1000 is not allowed; need at most training.steps - "
              "lr_schedule.warmup_steps, 180"},
      OddSpec{"Bf16OnCpu", "data: {train: t}\ndevice: cpu\ntraining: {precision: bf16}\n", 64,
              "training.precision: bf16 is not allowed; need auto or fp32 with device cpu (or set "
              "device to cuda)"},
      OddSpec{"Fp16", "data: {train: t}\ntraining: {precision: fp16}\n", 64,
              "training.precision: fp16 is not allowed; need one of auto, fp32, bf16"},
      OddSpec{"DeviceIndex", "data: {train: t}\ndevice: cuda:0\n", 64,
              "device: cuda:0 is not allowed; need one of auto, cpu, cuda"},
      OddSpec{"DeviceGpu", "data: {train: t}\ndevice: gpu\n", 64,
              "device: gpu is not allowed; need one of auto, cpu, cuda"},
      OddSpec{"DeterministicOne", "data: {train: t}\ntraining: {deterministic: 1}\n", 64,
              "training.deterministic: 1 is not allowed; need one of auto, true, false"},
      OddSpec{"SinkhornZero", "data: {train: t}\nmodel: {residual: {sinkhorn_iterations: 0}}\n", 64,
              "model.residual.sinkhorn_iterations: 0 is not allowed; need a whole number from 1 to "
              "1000"},
      OddSpec{"PermutationsOfEight",
              "data: {train: t}\nmodel: {residual: {mapping: permutations, streams: 8}}\n", 64,
              "model.residual.streams: 8 is not allowed; need 1 to 4 with model.residual.mapping "
              "permutations (use sinkhorn)"},
      OddSpec{"NormEpsZero", "data: {train: t}\nmodel: {rms_norm_eps: 0}\n", 64,
              "model.rms_norm_eps: 0 is not allowed; need a finite number above 0 and up to 1"},
      OddSpec{"RopeZero", "data: {train: t}\nmodel: {rope_theta: 0}\n", 64,
              "model.rope_theta: 0 is not allowed; need a finite number from 1 to 1.0e+12"},
      OddSpec{"SequenceOne", "data: {train: t}\ntraining: {sequence_length: 1}\n", 0,
              "sequence_length: 1"},
      OddSpec{"SequenceZero", "data: {train: t}\ntraining: {sequence_length: 0}\n", 64,
              "training.sequence_length: 0 is not allowed; need a whole number from 1 to 1048576"},
      OddSpec{"SequenceHuge", "data: {train: t}\ntraining: {sequence_length: 1048577}\n", 64,
              "training.sequence_length: 1048577 is not allowed; need a whole number from 1 to "
              "1048576"},
      // Lists of data.
      OddSpec{"TrainEmptyList", "data: {train: []}\n", 64,
              "data.train: nothing is not allowed; need at least one token file (bash "
              "deploy/corpus.sh makes data/corpus-train)"},
      OddSpec{"TrainEmptyText", "data: {train: ''}\n", 64,
              "data.train[0].path: an empty text is not allowed; need the path of a token file"},
      OddSpec{"TrainNull", "data: {train: ~}\n", 64,
              "data.train: nothing (null) is not allowed; need a path, or a list of paths or of "
              "{path: PATH, weight: NUMBER}"},
      OddSpec{"TrainMap", "data: {train: {path: t}}\n", 64,
              "data.train: a mapping is not allowed; need a path, or a list of paths or of {path: "
              "PATH, weight: NUMBER}"},
      OddSpec{"TrainNested", "data: {train: [[t]]}\n", 64,
              "data.train[0]: a list is not allowed; need a path or {path: PATH, weight: NUMBER}"},
      OddSpec{"TrainWeightZero", "data: {train: [{path: t, weight: 0}]}\n", 64,
              "data.train[0].weight: 0 is not allowed; need a finite number above 0"},
      OddSpec{"TrainWeightInf", "data: {train: [{path: t, weight: .inf}]}\n", 64,
              "data.train[0].weight: .inf is not allowed; need a finite number above 0"},
      OddSpec{"TrainWeightOnly", "data: {train: [{weight: 1}]}\n", 64,
              "data.train[0]: an entry without path is not allowed; need path"},
      OddSpec{"TrainMegatronBlend", "data: {train: [0.3, a, 0.7, b]}\n", 0,
              "/0.3, weight: 1}, {path: "},
      OddSpec{"TrainStringBlend", "data: {train: '0.3 a 0.7 b'}\n", 0, "/0.3 a 0.7 b\""},
      OddSpec{"TrainTwice", "data: {train: [t, t]}\n", 0, "weight: 1}, {path: "},
      OddSpec{"TrainControl", "data: {train: \"a\\tb\"}\n", 64,
              "data.train[0].path: a\\tb is not allowed; need a text without control characters"},
      OddSpec{"TrainLong", "data: {train: " + Repeat("x", 5000) + "}\n", 64,
              "data.train[0].path: a text of 5000 bytes is not allowed; need at most 4096"},
      OddSpec{"TrainMany", "data: {train: [" + Repeat("t,", 5000) + "]}\n", 64,
              "data.train: 5000 items is not allowed; need at most 4096"},
      OddSpec{"ValidationBoth", "data: {train: t, validation: v, validation_split: 0.1}\n", 64,
              "data.validation_split: 0.1 is not allowed; need 0 while data.validation names a "
              "file (give one of the two)"},
      OddSpec{"SplitOne", "data: {train: t, validation_split: 1}\n", 64,
              "data.validation_split: 1 is not allowed; need a finite number from 0 to 0.5"},
      OddSpec{"SplitText", "data: {train: t, validation_split: '90,10'}\n", 64,
              "data.validation_split: 90,10 is not allowed; need a finite number from 0 to 0.5 "
              "(write it without quotes)"},
      OddSpec{"SplitNan", "data: {train: t, validation_split: .nan}\n", 64,
              "data.validation_split: .nan is not allowed; need a finite number from 0 to 0.5"},
      OddSpec{"Streaming", "data: {train: t, streaming: true}\n", 64,
              "data.streaming: true is not allowed; need a field of the job spec (birkhoff explain "
              "lists them)"},
      OddSpec{"HubName", "data: {train: hf://roneneldan/TinyStories}\n", 0,
              "hf:/roneneldan/TinyStories"},
      OddSpec{"HomeTilde", "data: {train: ~/t}\n", 0, "/~/t"},
      // Checkpoints, stability, sections.
      OddSpec{"KeepLastMinus", "data: {train: t}\ncheckpoint: {keep_last: -1}\n", 64,
              "checkpoint.keep_last: -1 is not allowed; need a whole number from 1 to 1048576"},
      OddSpec{"IntervalNegative", "data: {train: t}\ncheckpoint: {interval: -5}\n", 64,
              "checkpoint.interval: -5 is not allowed; need a whole number from 0 on"},
      OddSpec{"IntervalZero", "data: {train: t}\ncheckpoint: {interval: 0}\n", 0, "interval: 0"},
      OddSpec{"CheckpointFalse", "data: {train: t}\ncheckpoint: false\n", 64,
              "checkpoint: false is not allowed; need a mapping of fields (birkhoff explain "
              "checkpoint lists them)"},
      OddSpec{"CheckpointList", "data: {train: t}\ncheckpoint: [1]\n", 64,
              "checkpoint: a list is not allowed; need a mapping of fields (birkhoff explain "
              "checkpoint lists them)"},
      OddSpec{"RestartsNegative", "data: {train: t}\nstability: {max_restarts: -1}\n", 64,
              "stability.max_restarts: -1 is not allowed; need a whole number from 0 to 1048576"},
      OddSpec{"GainNan", "data: {train: t}\nstability: {max_gain: .nan}\n", 64,
              "stability.max_gain: .nan is not allowed; need a finite number above 0"},
      OddSpec{"SectionNull", "data: {train: t}\ntraining:\n", 64,
              "training: nothing (null) is not allowed; need a mapping of fields (birkhoff explain "
              "training lists them)"},
      OddSpec{"SectionScalar", "data: {train: t}\ntraining: 5\n", 64,
              "training: 5 is not allowed; need a mapping of fields (birkhoff explain training "
              "lists them)"},
      OddSpec{
          "SectionTwice", "data: {train: t}\ntraining: {steps: 50}\ntraining: {steps: 60}\n", 64,
          "training: a second value is not allowed; need each key once (remove one of the two)"},
      OddSpec{"AttentionReserved", "data: {train: t}\nmodel: {attention: {kind: gqa}}\n", 64,
              "model.attention: a mapping is not allowed; need no such field (reserved, not built "
              "yet)"},
      OddSpec{"MoeReserved", "data: {train: t}\nmodel: {moe: {num_experts: 8}}\n", 64,
              "model.moe: a mapping is not allowed; need no such field (reserved, not built yet)"},
      OddSpec{"WandbSection", "data: {train: t}\nwandb: {project: x}\n", 64,
              "wandb: a mapping is not allowed; need a field of the job spec (birkhoff explain "
              "lists them)"},
      OddSpec{
          "CheckpointName", "data: {train: t}\ncheckpoint: {name: x}\n", 64,
          "checkpoint.name: x is not allowed; need a field of the job spec (did you mean name?)"},
      OddSpec{"ModelPath", "data: {train: t}\nmodel: gpt2\n", 64,
              "model: gpt2 is not allowed; need a mapping of fields (birkhoff explain model lists "
              "them)"},
      // What the cases before have led to.
      OddSpec{"EmptyKeyNested", "'': {data: {train: t}}\n", 64,
              "job spec: an empty key is not allowed; need names as keys"},
      OddSpec{"DottedAndNested", "data: {train: t}\ntraining.steps: 50\ntraining: {steps: 60}\n",
              64,
              "training.steps: 50 is not allowed; need sections that hold their fields (data: "
              "{train: PATH}, not data.train: PATH; dots are for --set)"},
      OddSpec{"ValueWithEscape", "data: {train: t}\ntraining: {steps: \"a\\e[31m\"}\n", 64,
              "training.steps: a\\x1b[31m is not allowed; need a whole number from 1 on (write it "
              "without quotes)"},
      OddSpec{"ValueTurnsWriting", "data: {train: t}\ntraining: {steps: \"a\342\200\256b\"}\n", 64,
              "training.steps: a\\xe2\\x80\\xaeb is not allowed; need a whole number from 1 on "
              "(write it without quotes)"},
      OddSpec{"KeyInList", "data: {train: t}\ntraining: [steps: 50]\n", 64,
              "training: a list is not allowed; need a mapping of fields (birkhoff explain "
              "training lists them)"},
      OddSpec{
          "DataText", "data: t\n", 64,
          "data: t is not allowed; need a mapping of fields (birkhoff explain data lists them)"},
      OddSpec{"LrBlank", "data: {train: t}\noptimizer: {lr: ''}\n", 64,
              "optimizer.lr: an empty text is not allowed; need a finite number above 0 and up to "
              "1000 (write it without quotes)"},
      OddSpec{"StepsBlankAround", "data: {train: t}\ntraining: {steps: \" 50 \"}\n", 64,
              "training.steps:  50  is not allowed; need a whole number from 1 on (write it "
              "without quotes)"},
      OddSpec{"StepsComment", "data: {train: t}\ntraining: {steps: 50 # fifty\n}\n", 0,
              "steps: 50"},
      OddSpec{
          "MicroBatchHuge",
          "data: {train: t}\ntraining: {micro_batch_size: 4194304, global_batch_size: 16777216}\n",
          64,
          "training.micro_batch_size: 4194304 is not allowed; need a whole number from 1 to 65536"},
      OddSpec{"WorkersMany",
              "data: {train: t}\nparallelism: {pipeline_parallel_degree: 1024, "
              "data_parallel_degree: 1024}\n",
              64,
              "training.global_batch_size: 32 is not allowed; need a multiple of "
              "training.micro_batch_size x parallelism.data_parallel_degree, 2 x 1024 = 2048 "
              "(nearest: 2048)"}};
  return *kSpecs;
}

INSTANTIATE_TEST_SUITE_P(Specs, OddSpecTest, ::testing::ValuesIn(OddSpecs()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace birkhoff
