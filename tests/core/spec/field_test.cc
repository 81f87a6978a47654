// Every key of the job spec, written down once more: where it lands, what it allows, and what is
// said of a value beyond.
#include "core/spec/field.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/spec/load.h"
#include "core/spec/validate.h"
#include "tests/core/spec/read_spec.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kSmallest[] = "data: {train: t}\n";

JobSpec With(const std::string& path, const std::string& value) {
  return Load(kSmallest, {absl::StrCat(path, "=", value)});
}

// All that is said of a job with this value, by reader and rules.
std::vector<std::string> SaidOf(const std::string& path, const std::string& value) {
  JobSpec spec;
  return Lines(ReadJobSpec(kSmallest, {absl::StrCat(path, "=", value)}, &spec));
}

std::string Refusal(const std::string& path, const std::string& value, const std::string& allowed) {
  return absl::StrCat(path, ": ", value, " is not allowed; need ", allowed);
}

// The key's line of the resolved YAML, without its blanks.
std::string Written(const std::string& path, const JobSpec& spec) {
  return absl::StrCat(path.substr(path.rfind('.') + 1), ": ", FieldValue(*FindField(path), spec));
}

// A value that is not the default of any neighbour, and the member that it must be found in.
struct Landing {
  const char* path;
  const char* value;
  bool (*there)(const JobSpec&);
};
#define LANDS(member, text, value)                                            \
  Landing {                                                                   \
#member, text, [](const JobSpec& spec) { return spec.member == (value); } \
  }

const Landing kLandings[] = {
    LANDS(name, "n", "n"),
    LANDS(model.vocab_size, "901", 901),
    LANDS(model.hidden_size, "902", 902),
    LANDS(model.num_hidden_layers, "903", 903),
    LANDS(model.num_attention_heads, "904", 904),
    LANDS(model.num_key_value_heads, "905", 905),
    LANDS(model.intermediate_size, "906", 906),
    LANDS(model.tie_embeddings, "true", true),
    LANDS(model.rms_norm_eps, "0.907", 0.907),
    LANDS(model.rope_theta, "908", 908),
    LANDS(model.init_std, "0.909", 0.909),
    LANDS(model.residual.kind, "residual", ResidualKind::kResidual),
    LANDS(model.residual.kind, "hc", ResidualKind::kHc),
    LANDS(model.residual.kind, "mhc", ResidualKind::kMhc),
    LANDS(model.residual.streams, "7", 7),
    LANDS(model.residual.mapping, "sinkhorn", MappingKind::kSinkhorn),
    LANDS(model.residual.mapping, "permutations", MappingKind::kPermutations),
    LANDS(model.residual.mapping, "identity", MappingKind::kIdentity),
    LANDS(model.residual.mapping, "unconstrained", MappingKind::kUnconstrained),
    LANDS(model.residual.mapping, "deepseek", MappingKind::kDeepSeek),
    LANDS(model.residual.mapping, "retention", MappingKind::kRetention),
    LANDS(model.residual.mapping, "gated", MappingKind::kGatedResidual),
    LANDS(model.residual.mapping, "static", MappingKind::kStatic),
    LANDS(model.residual.sinkhorn_iterations, "910", 910),
    LANDS(model.residual.alpha_init, "0.911", 0.911),
    LANDS(model.residual.phi_init_std, "0.912", 0.912),
    LANDS(model.residual.bias_on, "0.913", 0.913),
    LANDS(model.residual.bias_off, "0.914", 0.914),
    LANDS(model.residual.bias_res_off_diagonal, "0.915", 0.915),
    LANDS(model.residual.norm_eps, "0.916", 0.916),
    LANDS(model.residual.expand, "copy", ExpandKind::kCopy),
    LANDS(model.residual.expand, "one-hot", ExpandKind::kOneHot),
    LANDS(model.residual.contract, "mean", ContractKind::kMean),
    LANDS(model.residual.contract, "sum", ContractKind::kSum),
    LANDS(model.residual.learn_pre, "false", false),
    LANDS(model.residual.learn_post, "false", false),
    LANDS(model.residual.learn_res, "false", false),
    LANDS(data.train.at(0).path, "u", "u"),
    LANDS(data.validation, "v", "v"),
    LANDS(data.validation_split, "0.417", 0.417),
    LANDS(data.tokenizer, "m.model", "m.model"),
    LANDS(data.seed, "918", 918u),
    LANDS(training.steps, "919", 919),
    LANDS(training.sequence_length, "920", 920),
    LANDS(training.micro_batch_size, "921", 921),
    LANDS(training.global_batch_size, "922", 922),
    LANDS(training.clip_grad, "0.923", 0.923),
    LANDS(training.seed, "924", 924u),
    LANDS(training.precision, "auto", PrecisionKind::kAuto),
    LANDS(training.precision, "fp32", PrecisionKind::kFp32),
    LANDS(training.precision, "bf16", PrecisionKind::kBf16),
    LANDS(training.deterministic, "auto", Toggle::kAuto),
    LANDS(training.deterministic, "true", Toggle::kTrue),
    LANDS(training.deterministic, "false", Toggle::kFalse),
    LANDS(training.validation_interval, "925", 925),
    LANDS(training.validation_batches, "926", 926),
    LANDS(optimizer.name, "sgd", "sgd"),
    LANDS(optimizer.lr, "0.927", 0.927),
    LANDS(optimizer.beta1, "0.928", 0.928),
    LANDS(optimizer.beta2, "0.929", 0.929),
    LANDS(optimizer.eps, "0.93", 0.93),
    LANDS(optimizer.weight_decay, "0.931", 0.931),
    LANDS(lr_schedule.kind, "constant", LrScheduleKind::kConstant),
    LANDS(lr_schedule.kind, "linear", LrScheduleKind::kLinear),
    LANDS(lr_schedule.kind, "cosine", LrScheduleKind::kCosine),
    LANDS(lr_schedule.kind, "wsd", LrScheduleKind::kWsd),
    LANDS(lr_schedule.kind, "step", LrScheduleKind::kStep),
    LANDS(lr_schedule.warmup_steps, "932", 932),
    LANDS(lr_schedule.min_lr, "0.933", 0.933),
    LANDS(lr_schedule.decay_steps, "934", 934),
    LANDS(lr_schedule.step_at, "[0.935]", std::vector<double>{0.935}),
    LANDS(lr_schedule.step_factor, "[0.936]", std::vector<double>{0.936}),
    LANDS(parallelism.pipeline_parallel_degree, "937", 937),
    LANDS(parallelism.data_parallel_degree, "938", 938),
    LANDS(parallelism.schedule, "1f1b", ScheduleKind::k1F1B),
    LANDS(parallelism.schedule, "dualpipev", ScheduleKind::kDualPipeV),
    LANDS(parallelism.schedule, "dualpipe", ScheduleKind::kDualPipe),
    LANDS(parallelism.recompute, "auto", ParallelismSpec::kRecomputeAuto),
    LANDS(parallelism.recompute, "none", ParallelismSpec::kRecomputeNone),
    LANDS(parallelism.recompute, "939", 939),
    LANDS(checkpoint.directory, "d", "d"),
    LANDS(checkpoint.interval, "940", 940),
    LANDS(checkpoint.keep_last, "941", 941),
    LANDS(stability.max_gain, "0.942", 0.942),
    LANDS(stability.max_skipped_steps, "943", 943),
    LANDS(stability.max_restarts, "944", 944),
    LANDS(device, "auto", DeviceKind::kAuto),
    LANDS(device, "cpu", DeviceKind::kCpu),
    LANDS(device, "cuda", DeviceKind::kCuda),
};
#undef LANDS

TEST(FieldTest, EveryKeyLandsInItsMemberAndInNoOther) {
  std::set<std::string> seen;
  for (const Landing& landing : kLandings) {
    const std::string path =
        absl::StartsWith(landing.path, "data.train") ? "data.train" : landing.path;
    seen.insert(path);
    const JobSpec spec = With(path, landing.value);
    EXPECT_TRUE(landing.there(spec)) << path << "=" << landing.value;
    JobSpec before = With("data.train", "t");
    for (const Field& other : Fields()) {
      if (other.path == path) continue;
      EXPECT_EQ(FieldValue(other, spec), FieldValue(other, before)) << path << " moved it";
    }
  }
  for (const Field& field : Fields()) EXPECT_TRUE(seen.contains(field.path)) << field.path;
}

// The default, the values at the ends and those just beyond; "" where nothing lies beyond.
struct Range {
  const char* path;
  const char* initial;
  const char* below;
  const char* smallest;
  const char* largest;
  const char* above;
  const char* allowed;
};

constexpr char kOn0[] = "a whole number from 0 on", kOn1[] = "a whole number from 1 on";
constexpr char kTo1024[] = "a whole number from 1 to 1024";
constexpr char kTo20[] = "a whole number from 1 to 1048576";
constexpr char kTo24[] = "a whole number from 1 to 16777216";
constexpr char kWithin100[] = "a finite number from -100 to 100";
constexpr char kTo10[] = "a finite number from 0 to 10";
constexpr char kTo1000[] = "a finite number from 0 to 1000";
constexpr char kAbove0To1[] = "a finite number above 0 and up to 1";
constexpr char kBeta[] = "a finite number from 0 to 0.999999";
constexpr char kSeed[] = "a whole number from 0 to 2^64 - 1";
constexpr char kHugeLong[] = "9223372036854775807", kBeyondLong[] = "9223372036854775808";
constexpr char kHugeReal[] = "1.7976931348623157e+308", kBeyondReal[] = "1e309";
constexpr char kTinyReal[] = "5.0e-324";

const Range kRanges[] = {
    {"model.vocab_size", "0", "-1", "0", "16777216", "16777217",
     "a whole number from 0 to 16777216"},
    {"model.hidden_size", "128", "0", "1", "65536", "65537", "a whole number from 1 to 65536"},
    {"model.num_hidden_layers", "8", "0", "1", "2047", "2048", "a whole number from 1 to 2047"},
    {"model.num_attention_heads", "4", "0", "1", "1024", "1025", kTo1024},
    {"model.num_key_value_heads", "4", "0", "1", "1024", "1025", kTo1024},
    {"model.intermediate_size", "384", "0", "1", "1048576", "1048577", kTo20},
    {"model.rms_norm_eps", "1.0e-06", "0", kTinyReal, "1", "1.0000000000000002", kAbove0To1},
    {"model.rope_theta", "10000", "0.9999999999999999", "1", "1.0e+12", "1000000000000.0001",
     "a finite number from 1 to 1.0e+12"},
    {"model.init_std", "0.02", "-5.0e-324", "0", "10", "10.000000000000002", kTo10},
    {"model.residual.streams", "4", "0", "1", "8", "9", "a whole number from 1 to 8"},
    {"model.residual.sinkhorn_iterations", "20", "0", "1", "1000", "1001",
     "a whole number from 1 to 1000"},
    {"model.residual.alpha_init", "0.01", "-100.00000000000001", "-100", "100",
     "100.00000000000001", kWithin100},
    {"model.residual.phi_init_std", "0", "-5.0e-324", "0", "10", "10.000000000000002", kTo10},
    {"model.residual.bias_on", "1", "-100.00000000000001", "-100", "100", "100.00000000000001",
     kWithin100},
    {"model.residual.bias_off", "-1", "-100.00000000000001", "-100", "100", "100.00000000000001",
     kWithin100},
    {"model.residual.bias_res_off_diagonal", "-4", "-100.00000000000001", "-100", "100",
     "100.00000000000001", kWithin100},
    {"model.residual.norm_eps", "1.0e-06", "0", kTinyReal, "1", "1.0000000000000002", kAbove0To1},
    {"data.validation_split", "0", "-5.0e-324", "0", "0.5", "0.5000000000000001",
     "a finite number from 0 to 0.5"},
    {"data.seed", "42", "-1", "0", "18446744073709551615", "18446744073709551616", kSeed},
    {"training.steps", "200", "0", "1", kHugeLong, kBeyondLong, kOn1},
    {"training.sequence_length", "128", "0", "1", "1048576", "1048577", kTo20},
    {"training.micro_batch_size", "2", "0", "1", "65536", "65537",
     "a whole number from 1 to 65536"},
    {"training.global_batch_size", "32", "0", "1", "16777216", "16777217", kTo24},
    {"training.clip_grad", "1", "-5.0e-324", "0", kHugeReal, kBeyondReal,
     "a finite number from 0 on"},
    {"training.seed", "42", "-1", "0", "18446744073709551615", "18446744073709551616", kSeed},
    {"training.validation_interval", "50", "-1", "0", kHugeLong, kBeyondLong, kOn0},
    {"training.validation_batches", "4", "0", "1", "1048576", "1048577", kTo20},
    {"optimizer.lr", "0.001", "0", kTinyReal, "1000", "1000.0000000000001",
     "a finite number above 0 and up to 1000"},
    {"optimizer.beta1", "0.9", "-5.0e-324", "0", "0.999999", "0.9999990000000001", kBeta},
    {"optimizer.beta2", "0.95", "-5.0e-324", "0", "0.999999", "0.9999990000000001", kBeta},
    {"optimizer.eps", "1.0e-15", "0", kTinyReal, "1", "1.0000000000000002", kAbove0To1},
    {"optimizer.weight_decay", "0.1", "-5.0e-324", "0", "1000", "1000.0000000000001", kTo1000},
    {"lr_schedule.warmup_steps", "20", "-1", "0", kHugeLong, kBeyondLong, kOn0},
    {"lr_schedule.min_lr", "1.0e-04", "-5.0e-324", "0", "1000", "1000.0000000000001", kTo1000},
    {"lr_schedule.decay_steps", "0", "-1", "0", kHugeLong, kBeyondLong, kOn0},
    {"parallelism.pipeline_parallel_degree", "2", "0", "1", "1024", "1025", kTo1024},
    {"parallelism.data_parallel_degree", "1", "0", "1", "1024", "1025", kTo1024},
    {"parallelism.recompute", "auto", "0", "1", "2147483647", "2147483648",
     "auto, none, or a whole number from 1"},
    {"checkpoint.interval", "50", "-1", "0", kHugeLong, kBeyondLong, kOn0},
    {"checkpoint.keep_last", "3", "0", "1", "1048576", "1048577", kTo20},
    {"stability.max_gain", "10", "0", kTinyReal, kHugeReal, kBeyondReal, "a finite number above 0"},
    {"stability.max_skipped_steps", "20", "0", "1", "1048576", "1048577", kTo20},
    {"stability.max_restarts", "10", "-1", "0", "1048576", "1048577",
     "a whole number from 0 to 1048576"},
};

TEST(FieldTest, NumbersAreTakenUpToTheirEndsAndRefusedBeyond) {
  for (const Range& range : kRanges) {
    for (const std::string value : {range.initial, range.smallest, range.largest}) {
      EXPECT_THAT(SaidOf(range.path, value), Not(Contains(EndsWith(range.allowed))))
          << range.path << "=" << value;
      EXPECT_THAT(JobSpecToYaml(With(range.path, value)),
                  HasSubstr(Written(range.path, With(range.path, value)) + "\n"));
      EXPECT_EQ(FieldValue(*FindField(range.path), With(range.path, value)), value) << range.path;
    }
    for (const std::string value : {range.below, range.above}) {
      EXPECT_THAT(SaidOf(range.path, value), Contains(Refusal(range.path, value, range.allowed)));
    }
    EXPECT_THAT(ExplainField(range.path),
                HasSubstr(absl::StrCat(".\n  Allowed: ", range.allowed,
                                       ".  Default: ", range.initial, "\n")));
  }
}

// Words of ours, the first the default, and what else reads like one.
struct Words {
  const char* path;
  const char* allowed;  // by "|", in the order of AllowedValues
  const char* initial;
  const char* refused;
};

const Words kWords[] = {
    {"model.tie_embeddings", "true|false", "false", "True|FALSE|yes|on|1|0|tru"},
    {"model.residual.kind", "residual|hc|mhc", "mhc", "MHC|mhc2|m|none|2"},
    {"model.residual.mapping",
     "sinkhorn|permutations|identity|unconstrained|deepseek|retention|gated|static", "sinkhorn",
     "Sinkhorn|sinkhorn-knopp|gated-residual|0"},
    {"model.residual.expand", "copy|one-hot", "copy", "one_hot|onehot|mean"},
    {"model.residual.contract", "mean|sum", "mean", "copy|average|max"},
    {"model.residual.learn_pre", "true|false", "true", "no|off"},
    {"model.residual.learn_post", "true|false", "true", "no|off"},
    {"model.residual.learn_res", "true|false", "true", "no|off"},
    {"training.precision", "auto|fp32|bf16", "auto", "fp16|tf32|float32|bfloat16|Auto"},
    {"training.deterministic", "auto|true|false", "auto", "yes|1|none"},
    {"lr_schedule.kind", "constant|linear|cosine|wsd|step", "cosine", "polynomial|steps|WSD"},
    {"parallelism.schedule", "1f1b|dualpipev|dualpipe", "dualpipev", "1F1B|gpipe|zb-v|DualPipe"},
    {"device", "auto|cpu|cuda", "auto", "gpu|cuda:0|tpu|CUDA"},
};

TEST(FieldTest, WordsAreTakenAsTheyAreSpelled) {
  for (const Words& words : kWords) {
    const std::vector<std::string> allowed = absl::StrSplit(words.allowed, '|');
    const bool is_switch = words.allowed == std::string("true|false");
    const std::string need =
        is_switch ? "true or false" : absl::StrCat("one of ", absl::StrJoin(allowed, ", "));
    for (const std::string& word : allowed) {
      EXPECT_EQ(FieldValue(*FindField(words.path), With(words.path, word)), word) << words.path;
    }
    const std::vector<std::string> refused = absl::StrSplit(words.refused, '|');
    for (const std::string& word : refused) {
      EXPECT_THAT(SaidOf(words.path, word), Contains(Refusal(words.path, word, need)));
    }
    EXPECT_THAT(
        ExplainField(words.path),
        HasSubstr(absl::StrCat(".\n  Allowed: ", need, ".  Default: ", words.initial, "\n")));
  }
}

struct Texts {
  const char* path;
  const char* initial;
  const char* allowed;
};

const Texts kTexts[] = {
    {"name", "job", "lower-case letters, digits and inner hyphens, at most 63"},
    {"data.train", "[]", "a path, or a list of paths or of {path: PATH, weight: NUMBER}"},
    {"data.validation", "\"\"", "a path"},
    {"data.tokenizer", "bytes",
     "bytes, a SentencePiece .model file, or none: tokens made elsewhere"},
    {"optimizer.name", "adamw", "adamw"},
    {"lr_schedule.step_at", "[0.8, 0.9]", "a list of numbers, [0.8, 0.9]"},
    {"lr_schedule.step_factor", "[0.316, 0.1]", "a list of numbers, [0.8, 0.9]"},
    {"checkpoint.directory", "\"\"", "a path"},
};

TEST(FieldTest, TextsAndListsRefuseAMapping) {
  for (const Texts& text : kTexts) {
    EXPECT_THAT(SaidOf(text.path, "{a: b}"),
                ElementsAre(Refusal(text.path, "a mapping", text.allowed)));
    EXPECT_THAT(ExplainField(text.path), HasSubstr(absl::StrCat(".\n  Allowed: ", text.allowed,
                                                                ".  Default: ", text.initial)));
  }
}

// A key that is added to the spec needs its line above.
TEST(FieldTest, TheTablesOfThisTestHaveEveryKeyOnce) {
  std::vector<std::string> tested, fields;
  for (const Range& range : kRanges) tested.emplace_back(range.path);
  for (const Words& words : kWords) tested.emplace_back(words.path);
  for (const Texts& text : kTexts) tested.emplace_back(text.path);
  for (const Field& field : Fields()) fields.push_back(field.path);
  EXPECT_THAT(tested, ::testing::UnorderedElementsAreArray(fields));
}

TEST(FieldTest, EveryKeyRefusesNothingAndWhatIsNoScalar) {
  for (const Field& field : Fields()) {
    const bool sources = std::holds_alternative<SourcesField>(field.kind);
    const bool list = sources || std::holds_alternative<RealsField>(field.kind);
    EXPECT_THAT(SaidOf(field.path, "null"),
                ElementsAre(Refusal(field.path, "nothing (null)", AllowedValues(field))));
    if (list) continue;
    EXPECT_THAT(SaidOf(field.path, "[1]"),
                ElementsAre(Refusal(field.path, "a list", AllowedValues(field))));
  }
}

TEST(FieldTest, QuotesMakeATextOfANumberOrASwitchButNotOfAWord) {
  for (const Field& field : Fields()) {
    const std::string value = FieldValue(field, JobSpec());
    const std::string quoted = absl::StrCat("'", value, "'");
    if (std::holds_alternative<ChoiceField>(field.kind)) {
      EXPECT_EQ(FieldValue(field, With(field.path, quoted)), value) << field.path;
    } else if (!std::holds_alternative<TextField>(field.kind) &&
               !std::holds_alternative<SourcesField>(field.kind)) {
      EXPECT_THAT(SaidOf(field.path, quoted),
                  Contains(HasSubstr(absl::StrCat(field.path, ": ", value, " is not allowed"))));
    }
  }
}

TEST(FieldTest, FindsFieldsAndSectionsByTheirFullNameOnly) {
  for (const char* path : {"model", "model.residual", "data", "training", "optimizer",
                           "lr_schedule", "parallelism", "checkpoint", "stability", ""}) {
    EXPECT_TRUE(IsSection(path)) << path;
    EXPECT_EQ(FindField(path), nullptr) << path;
  }
  for (const char* path : {"model.", "mode", "model.res", "model.residual.", "model.residual.kin",
                           "models", ".", "residual", "device.", "name.x"}) {
    EXPECT_FALSE(IsSection(path)) << path;
    EXPECT_EQ(FindField(path), nullptr) << path;
    EXPECT_EQ(ExplainField(path), "") << path;
  }
  for (const Field& field : Fields()) {
    EXPECT_EQ(FindField(field.path), &field);
    EXPECT_FALSE(IsSection(field.path)) << field.path;
  }
}

TEST(FieldTest, ReservesNamesThatAreNotBuiltYet) {
  for (const char* path : {"model.attention", "model.attention.kind", "model.moe",
                           "model.moe.experts", "parallelism.expert_parallel_degree"}) {
    EXPECT_TRUE(IsReserved(path)) << path;
    EXPECT_THAT(SaidOf(path, "1"),
                ElementsAre(absl::StrCat(path,
                                         ": 1 is not allowed; need no such field (reserved, "
                                         "not built yet)")));
  }
  for (const char* path : {"model", "model.moes", "model.attentions", "model.mo", "moe",
                           "parallelism", "parallelism.expert_parallel_degrees"}) {
    EXPECT_FALSE(IsReserved(path)) << path;
  }
  for (const Field& field : Fields()) EXPECT_FALSE(IsReserved(field.path)) << field.path;
}

TEST(FieldTest, ExplainsASectionAsItsFieldsInOrder) {
  for (const char* section : {"", "model", "model.residual", "data", "training", "optimizer",
                              "lr_schedule", "parallelism", "checkpoint", "stability"}) {
    std::string fields;
    const std::string inside = *section == '\0' ? "" : absl::StrCat(section, ".");
    for (const Field& field : Fields()) {
      if (absl::StartsWith(field.path, inside)) absl::StrAppend(&fields, ExplainField(field.path));
    }
    EXPECT_EQ(ExplainField(section), fields) << section;
  }
}

TEST(FieldTest, MeaningsAreSentencesWithoutTheirStop) {
  for (const Field& field : Fields()) {
    EXPECT_THAT(field.meaning, AllOf(Not(IsEmpty()), Not(EndsWith(".")), Not(EndsWith(" "))))
        << field.path;
    EXPECT_FALSE(field.meaning[0] == ' ') << field.path;
  }
}

}  // namespace
}  // namespace birkhoff
