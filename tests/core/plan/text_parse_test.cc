// Reading plans, field by field: what may be left out, what may not, and what is no value of a field.
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/plan/ops.h"
#include "core/plan/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A plan with a line of every kind and an instruction with every field.
std::string FullText() {
  Plan plan = CompileOrDie(SmallSpec({.microbatches = 1}));
  Instruction& full = plan.ranks[1].train.back();
  full.stage = 1;
  full.microbatch = 0;
  full.segment = {{3, 6}, Phase::kExperts};
  full.channel = 1;
  full.bucket = 0;
  full.waits = {1, 2};
  full.reads = {3};
  full.fills = {4, 5};
  full.estimated_ns = 7;
  return PlanToText(plan);
}

using Lines = std::vector<std::string>;
Lines LinesOf(const std::string& text) { return absl::StrSplit(text, '\n'); }

std::string MessageOf(const Lines& lines) {
  const auto plan = PlanFromText(absl::StrJoin(lines, "\n"));
  return plan.ok() ? "" : std::string(plan.status().message());
}

bool IsIndexed(const std::string& word) {
  return word == "stage" || word == "channel" || word == "parameter" || word == "bucket" ||
         word == "rank" || word == "memory" || word == "buffer";
}

// By the grammar of docs/plan.md: lists may be empty, and an instruction leaves out what is -1, empty
// or 0.
bool MayBeLeftOut(const Lines& words, const std::string& key) {
  const std::string& kind = words[0];
  if (kind == "plan") return false;
  if (!IsIndexed(kind)) return key != "stream";
  return key == "ranks" || key == "stages" || key == "parts" || key == "parameters" ||
         key == "shape";
}

TEST(PlanFromText, NamesEveryFieldThatIsMissing) {
  const Lines lines = LinesOf(FullText());
  int missing = 0, left_out = 0;
  for (size_t l = 0; l < lines.size(); ++l) {
    const Lines words = absl::StrSplit(lines[l], ' ');
    for (size_t w = 1; w < words.size(); ++w) {
      const std::string key = words[w].substr(0, words[w].find('='));
      if (key == words[w]) continue;
      Lines fewer = words, edited = lines;
      fewer.erase(fewer.begin() + static_cast<int>(w));
      edited[l] = absl::StrJoin(fewer, " ");
      const std::string message = MessageOf(edited);
      if (MayBeLeftOut(words, key)) {
        ++left_out;
        EXPECT_EQ(message, "") << lines[l];
      } else {
        ++missing;
        EXPECT_THAT(message,
                    AllOf(StartsWith(absl::StrCat("plan text line ", l + 1, ": ")), HasSubstr(key)))
            << lines[l];
      }
    }
  }
  EXPECT_GT(missing, 300);
  EXPECT_GT(left_out, 100);
}

TEST(PlanFromText, TakesNoFieldTwice) {
  const Lines lines = LinesOf(FullText());
  for (size_t l = 0; l < lines.size(); ++l) {
    const Lines words = absl::StrSplit(lines[l], ' ');
    for (const std::string& word : words) {
      if (!absl::StrContains(word, '=')) continue;
      Lines edited = lines;
      edited[l] = absl::StrCat(lines[l], " ", word);
      EXPECT_THAT(MessageOf(edited), HasSubstr("is not understood")) << edited[l];
    }
  }
}

// Every line that is a heading or a thing takes no words that it does not know.
TEST(PlanFromText, TakesNoWordThatItDoesNotKnow) {
  const Lines lines = LinesOf(FullText());
  for (size_t l = 0; l < lines.size(); ++l) {
    if (lines[l].empty()) continue;
    for (const char* word : {"loud", "colour=red", "="}) {
      Lines edited = lines;
      edited[l] = absl::StrCat(lines[l], " ", word);
      EXPECT_THAT(MessageOf(edited), HasSubstr("is not understood")) << edited[l];
    }
  }
}

TEST(PlanFromText, TakesThingsInTheirOrderOnly) {
  const Lines lines = LinesOf(FullText());
  for (size_t l = 0; l < lines.size(); ++l) {
    Lines words = absl::StrSplit(lines[l], ' ');
    const size_t at = IsIndexed(words[0]) ? 1 : 0;
    int index = 0;
    if (words.size() <= at || !absl::SimpleAtoi(words[at], &index)) continue;
    for (const std::string& other : {absl::StrCat(index + 1), absl::StrCat(index - 1),
                                     std::string("x"), std::string("4294967296")}) {
      if (at == 0 && other == "x") continue;  // then it is another kind of line
      Lines edited = lines;
      words[at] = other;
      edited[l] = absl::StrJoin(words, " ");
      EXPECT_THAT(MessageOf(edited), HasSubstr(absl::StrCat("index: need ", index))) << edited[l];
    }
  }
}

TEST(PlanFromText, TakesNumbersThatFitOnly) {
  const std::string text = FullText();
  const struct {
    const char* find;
    const char* replace;
    const char* message;
  } cases[] = {
      {" ranks=2 replicas", " ranks=2147483648 replicas", "ranks: '2147483648' is not understood"},
      {" tokens=4", " tokens=9223372036854775808", "tokens: '9223372036854775808'"},
      {" tokens=4", " tokens=", "tokens: '' is not understood"},
      {" tokens=4", " tokens=4.0", "tokens: '4.0' is not understood"},
      {" tokens=4", " tokens=0x4", "tokens: '0x4' is not understood"},
      {" idle=0", " idle=none", "idle: 'none"},
      {" deterministic=1", " deterministic=2", "deterministic: '2' is not understood"},
      {" deterministic=1", " deterministic=true", "deterministic: 'true' is not understood"},
      {" decay=1", " decay=-1", "decay: '-1' is not understood"},
      {" product=1", " product=10", "product: '10' is not understood"},
      {"units=0:3", "units=0:3:4", "units: '3:4' is not understood"},
      {"units=0:3", "units=:3", "units: '' is not understood"},
      {"shape=16x8", "shape=16x", "shape: '' is not understood"},
      {"shape=16x8", "shape=16,8", "shape: '16,8' is not understood"},
      {"waits=1,2", "waits=1,,2", "waits: '' is not understood"},
      {"waits=1,2", "waits=1;2", "waits: '1;2' is not understood"},
      {"reads=b3", "reads=b", "reads: '' is not understood"},
      {"fills=b4,b5", "fills=b4,5", "fills: '5' is not understood"},
      {"phase=experts", "phase=whole-hog", "phase: 'whole-hog' is not understood"},
      {"initializer=normal", "initializer=zero", "initializer: 'zero' is not understood"},
      {"copy=fp32", "copy=fp16", "copy: 'fp16' is not understood"},
      {"kind=gradient product", "kind=moment product", "kind: 'moment' is not understood"},
      {"schedule=1f1b", "schedule=gpipe", "schedule: 'gpipe' is not understood"},
      {"parts=x:fp32:256", "parts=x:fp32:256:0", "parts: 'x:fp32:256:0' is not understood"},
      {"parts=x:fp32:256", "parts=x:fp32:many", "parts: 'many' is not understood"},
  };
  for (const auto& c : cases) {
    std::string edited = text;
    const size_t at = edited.find(c.find);
    ASSERT_NE(at, std::string::npos) << c.find;
    edited.replace(at, std::string(c.find).size(), c.replace);
    EXPECT_THAT(MessageOf(LinesOf(edited)), HasSubstr(c.message)) << c.replace;
  }
}

TEST(PlanFromText, TakesLinesWhereTheyBelong) {
  const Lines lines = LinesOf(FullText());
  const auto with = [&lines](size_t at, const std::string& line) {
    Lines edited = lines;
    edited.insert(edited.begin() + static_cast<int>(at), line);
    return MessageOf(edited);
  };
  EXPECT_THAT(with(0, "rank 0"), HasSubstr("line 1: first line: 'rank' is not understood"));
  EXPECT_THAT(with(1, lines[0]), HasSubstr("line 2: a second plan line"));
  EXPECT_THAT(with(1, "memory 0 name=a place=host bytes=1"), HasSubstr("line: 'memory'"));
  EXPECT_THAT(with(1, "buffer 0 home=batch stage=0 bytes=1"), HasSubstr("line: 'buffer'"));
  EXPECT_THAT(with(1, "train"), HasSubstr("line: 'train'"));
  EXPECT_THAT(with(1, "0 load stream=copy"), HasSubstr("line: '0'"));
  // Behind a rank's own line and before its programs there is no program yet.
  size_t rank = 0;
  while (!absl::StartsWith(lines[rank], "rank 1")) ++rank;
  EXPECT_THAT(with(rank + 1, "0 load stream=copy"), HasSubstr("line: '0' is not understood"));
  EXPECT_THAT(with(rank + 1, "colour red"), HasSubstr("line: 'colour' is not understood"));
  EXPECT_THAT(with(lines.size() - 1, "99"), HasSubstr("index: need"));
  // Empty lines and more than one space say nothing.
  EXPECT_EQ(with(rank, ""), "");
  EXPECT_EQ(with(rank, "   "), "");
  EXPECT_EQ(PlanToText(*PlanFromText(absl::StrJoin(lines, "\n\n"))), absl::StrJoin(lines, "\n"));
}

TEST(PlanFromText, NeedsAPlan) {
  EXPECT_EQ(PlanFromText("").status().message(), "plan text is empty");
  EXPECT_EQ(PlanFromText("\n \n").status().message(), "plan text is empty");
}

// ---- Every word of every table.

Plan RoundTrip(const Plan& plan) {
  const auto parsed = PlanFromText(PlanToText(plan));
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : Plan{};
}

Plan PlanOf(const Instruction& instruction) {
  Plan plan;
  plan.model_hash = "0";
  plan.ranks.resize(1);
  plan.ranks[0].train = {instruction};
  return plan;
}

TEST(PlanText, RoundTripsEveryWord) {
  for (const OpInfo& info : AllOps()) {
    for (int stream = 0; stream < 5; ++stream) {
      for (int phase = 0; phase < 5; ++phase) {
        Instruction instruction;
        instruction.op = info.op;
        instruction.stream = static_cast<StreamKind>(stream);
        instruction.segment.phase = static_cast<Phase>(phase);
        EXPECT_EQ(RoundTrip(PlanOf(instruction)).ranks[0].train[0], instruction);
      }
    }
  }
  Plan plan = PlanOf({});
  for (int home = 0; home < kNumHomes; ++home) {
    plan.ranks[0].buffers.push_back({static_cast<Home>(home), home - 1, home});
  }
  plan.ranks[0].memory = {{"one name of four words", MemoryPlace::kDevice, 1},
                          {"name", MemoryPlace::kHost, 2}};
  for (int kind = 0; kind < 4; ++kind) {
    PlannedParameter parameter;
    parameter.spec = {.name = absl::StrCat("p", kind),
                      .shape = {kind + 1, int64_t{1} << 40},
                      .decay = kind % 2 == 0,
                      .initializer = static_cast<Initializer>(kind),
                      .scale = 0.1 * kind,
                      .product = kind % 2 == 1};
    parameter.kind = static_cast<ParameterKind>(kind % 2);
    parameter.copy = static_cast<DType>(1 + kind);
    parameter.bucket = kind - 1;
    plan.parameters.push_back(parameter);
  }
  plan.channels = {{0, 1, ChannelKind::kGradient, 5, {}},
                   {1,
                    0,
                    ChannelKind::kActivation,
                    5,
                    {{"x", DType::kInt32, 0, 65}, {"y", DType::kFloat64, 128, 1}}}};
  const Plan read = RoundTrip(plan);
  EXPECT_EQ(read.ranks[0].buffers, plan.ranks[0].buffers);
  EXPECT_EQ(read.ranks[0].memory, plan.ranks[0].memory);
  EXPECT_EQ(read.channels, plan.channels);
  ASSERT_EQ(read.parameters.size(), 4u);
  for (int kind = 0; kind < 4; ++kind) {
    const PlannedParameter &a = read.parameters[kind], &b = plan.parameters[kind];
    EXPECT_EQ(a.spec.name, b.spec.name);
    EXPECT_EQ(a.spec.shape, b.spec.shape);
    EXPECT_EQ(a.spec.decay, b.spec.decay);
    EXPECT_EQ(a.spec.initializer, b.spec.initializer);
    EXPECT_EQ(a.spec.scale, b.spec.scale) << "to the bit";
    EXPECT_EQ(a.spec.product, b.spec.product);
    EXPECT_EQ(a.kind, b.kind);
    EXPECT_EQ(a.copy, b.copy);
    EXPECT_EQ(a.bucket, b.bucket);
  }
}

TEST(PlanText, RoundTripsTheHeader) {
  for (const ScheduleKind schedule :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp64}) {
      for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
        Plan plan;
        plan.model_hash = "abc";
        plan.precision = precision;
        plan.processor = processor;
        plan.deterministic = processor == Processor::kCpu;
        plan.schedule = schedule;
        plan.num_ranks = 2;
        plan.num_replicas = 3;
        plan.num_microbatches = 5;
        plan.num_evaluation_microbatches = 7;
        plan.tokens_per_microbatch = std::numeric_limits<int64_t>::max();
        plan.recompute_block = 11;
        plan.predicted_step_ns = std::numeric_limits<int64_t>::min();
        plan.predicted_idle_share = 1.0 / 3.0;
        const Plan read = RoundTrip(plan);
        EXPECT_EQ(PlanToText(read), PlanToText(plan));
        EXPECT_EQ(read.precision, precision);
        EXPECT_EQ(read.processor, processor);
        EXPECT_EQ(read.schedule, schedule);
        EXPECT_EQ(read.deterministic, plan.deterministic);
        EXPECT_EQ(read.tokens_per_microbatch, plan.tokens_per_microbatch);
        EXPECT_EQ(read.predicted_idle_share, plan.predicted_idle_share);
      }
    }
  }
}

TEST(InstructionToText, WritesAWordForNumbersThatAreNone) {
  Instruction instruction;
  instruction.op = static_cast<Op>(77);
  instruction.stream = static_cast<StreamKind>(9);
  instruction.segment.phase = static_cast<Phase>(-1);
  EXPECT_EQ(InstructionToText(instruction), "unknown phase=unknown stream=unknown");
}

// The checker refuses it, and the refusal shows it.
TEST(InstructionToText, WritesANegativeTime) {
  Instruction instruction;
  instruction.estimated_ns = -5;
  EXPECT_EQ(InstructionToText(instruction), "load stream=compute ns=-5");
}

// ---- What people read in a trace.

TEST(InstructionWords, SayWhatWhereAndWhich) {
  Instruction instruction;
  instruction.op = Op::kAgree;
  EXPECT_EQ(InstructionWords(instruction), "agree");
  instruction.op = Op::kReduceGradient;
  instruction.bucket = 0;
  EXPECT_EQ(InstructionWords(instruction), "reduce-gradient bucket 0");
  instruction = {};
  instruction.op = Op::kBackwardInput;
  instruction.stage = 0;
  instruction.microbatch = 3;
  EXPECT_EQ(InstructionWords(instruction), "backward-input stage 0 micro-batch 3");
}

TEST(QueueWords, NameTheStreamOrTheEndsOfTheChannel) {
  Plan plan;
  plan.channels = {{0, 1, ChannelKind::kActivation, 0, {}}, {3, 2, ChannelKind::kGradient, 0, {}}};
  Instruction instruction;
  const char* const names[] = {"compute", "compute-high", "channel", "collective", "copy"};
  int last = -1;
  for (const int stream : {0, 1, 3, 4}) {
    instruction.stream = static_cast<StreamKind>(stream);
    EXPECT_EQ(QueueWords(plan, instruction), names[stream]);
    EXPECT_GT(QueueNumber(instruction), last) << "in the order of their numbers";
    last = QueueNumber(instruction);
  }
  instruction.stream = StreamKind::kChannel;
  instruction.channel = 0;
  EXPECT_EQ(QueueWords(plan, instruction), "activations 0 to 1");
  EXPECT_GT(QueueNumber(instruction), last) << "channels come behind";
  last = QueueNumber(instruction);
  instruction.channel = 1;
  EXPECT_EQ(QueueWords(plan, instruction), "gradients 3 to 2");
  EXPECT_EQ(QueueNumber(instruction), last + 1);
}

}  // namespace
}  // namespace birkhoff
