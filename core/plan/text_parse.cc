// Reading plans: every line is a word, an index where the thing has one, and key=value fields.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/plan/ops.h"
#include "core/plan/schedule.h"
#include "core/plan/tables.h"
#include "core/plan/text.h"
#include "core/plan/text_names.h"

namespace birkhoff {
namespace {

constexpr const char* kStreamNames[] = {"compute", "compute-high", "channel", "collective", "copy"};
// By enumerator, less its first number.
constexpr const char* kPrecisionNames[] = {"fp32", "bf16", "fp64"};
constexpr const char* kTypeNames[] = {"fp32", "fp64", "bf16", "int32"};
constexpr const char* kBitNames[] = {"0", "1"};
constexpr const char* kProcessorNames[] = {"cpu", "cuda"};
constexpr const char* kMemoryPlaceNames[] = {"device", "host"};

absl::Status Wrong(absl::string_view what, absl::string_view value) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": '", value, "' is not understood"));
}

// The fields of one line.  Each must be taken once; Finish names what is left.
class Fields {
 public:
  explicit Fields(const std::vector<absl::string_view>& words, size_t first) {
    for (size_t i = first; i < words.size(); ++i) {
      const size_t equals = words[i].find('=');
      if (equals == absl::string_view::npos) {
        failure_ = Wrong("field", words[i]);
        return;
      }
      fields_.push_back({words[i].substr(0, equals), words[i].substr(equals + 1)});
    }
  }

  bool Has(absl::string_view key) const { return Find(key) != nullptr; }

  absl::string_view Text(absl::string_view key) {
    Field* field = Find(key);
    if (field == nullptr) {
      Fail(absl::InvalidArgumentError(absl::StrCat("field ", key, " is missing")));
      return "";
    }
    field->taken = true;
    return field->value;
  }

  template <typename Number>
  Number Integer(absl::string_view key) {
    return ParseInteger<Number>(key, Text(key));
  }
  template <typename Number>
  Number IntegerOr(absl::string_view key, Number otherwise) {
    return Has(key) ? Integer<Number>(key) : otherwise;
  }

  double Real(absl::string_view key) {
    double value = 0.0;
    const absl::string_view text = Text(key);
    if (!absl::SimpleAtod(text, &value)) Fail(Wrong(key, text));
    return value;
  }

  // "b3,b7" with prefix "b"; absent: empty.
  template <typename Number = int>
  std::vector<Number> List(absl::string_view key, absl::string_view prefix = "",
                           char separator = ',') {
    std::vector<Number> values;
    if (!Has(key)) return values;
    for (absl::string_view item : absl::StrSplit(Text(key), separator)) {
      if (item.substr(0, prefix.size()) != prefix) {
        Fail(Wrong(key, item));
        return values;
      }
      values.push_back(ParseInteger<Number>(key, item.substr(prefix.size())));
    }
    return values;
  }

  UnitRange Units(absl::string_view key) {
    const absl::string_view text = Text(key);
    const size_t colon = text.find(':');
    if (colon == absl::string_view::npos) {
      Fail(Wrong(key, text));
      return {};
    }
    return {ParseInteger<int>(key, text.substr(0, colon)),
            ParseInteger<int>(key, text.substr(colon + 1))};
  }

  template <size_t kCount>
  int Name(absl::string_view key, const char* const (&names)[kCount]) {
    return ParseName(key, Text(key), names);
  }

  // "x:bf16:65536,p:fp32:8192", with their offsets; absent: empty.
  std::vector<MessagePart> Parts(absl::string_view key) {
    std::vector<MessagePart> parts;
    if (!Has(key)) return parts;
    for (absl::string_view item : absl::StrSplit(Text(key), ',')) {
      const std::vector<absl::string_view> words = absl::StrSplit(item, ':');
      if (words.size() != 3) {
        Fail(Wrong(key, item));
        return parts;
      }
      parts.push_back({std::string(words[0]),
                       static_cast<DType>(1 + ParseName(key, words[1], kTypeNames)), 0,
                       ParseInteger<int64_t>(key, words[2])});
    }
    PlaceParts(&parts);
    return parts;
  }

  void Fail(absl::Status status) {
    if (failure_.ok()) failure_ = std::move(status);
  }

  absl::Status Finish() const {
    RETURN_IF_ERROR(failure_);
    for (const Field& field : fields_) {
      if (!field.taken) return Wrong("field", field.key);
    }
    return absl::OkStatus();
  }

 private:
  struct Field {
    absl::string_view key, value;
    bool taken = false;
  };
  Field* Find(absl::string_view key) {
    for (Field& field : fields_) {
      if (field.key == key) return &field;
    }
    return nullptr;
  }
  const Field* Find(absl::string_view key) const { return const_cast<Fields*>(this)->Find(key); }

  template <size_t kCount>
  int ParseName(absl::string_view key, absl::string_view text, const char* const (&names)[kCount]) {
    for (size_t i = 0; i < kCount; ++i) {
      if (text == names[i]) return static_cast<int>(i);
    }
    Fail(Wrong(key, text));
    return 0;
  }

  template <typename Number>
  Number ParseInteger(absl::string_view key, absl::string_view text) {
    Number value = 0;
    if (!absl::SimpleAtoi(text, &value)) Fail(Wrong(key, text));
    return value;
  }

  std::vector<Field> fields_;
  absl::Status failure_;
};

const std::vector<const char*>& HomeNames() {
  static const auto* const names = [] {
    auto* all = new std::vector<const char*>;
    for (int home = 0; home < kNumHomes; ++home) all->push_back(HomeName(static_cast<Home>(home)));
    return all;
  }();
  return *names;
}

Op OpOfName(absl::string_view name, Fields& fields) {
  const OpInfo* found = FindOp(std::string_view(name.data(), name.size()));
  if (found != nullptr) return found->op;
  fields.Fail(Wrong("instruction", name));
  return Op::kLoad;
}

class PlanParser {
 public:
  absl::Status Line(absl::string_view line) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.empty()) return absl::OkStatus();
    const absl::string_view kind = words[0];
    if (kind == "plan") return Header(words);
    if (!has_header_) return Wrong("first line", kind);
    if (kind == "stage") return Stage(words);
    if (kind == "channel") return Channel(words);
    if (kind == "parameter") return Parameter(words);
    if (kind == "bucket") return Bucket(words);
    if (kind == "rank") return Rank(words);
    if (plan_.ranks.empty()) return Wrong("line", kind);
    if (kind == "memory") return Memory(words);
    if (kind == "buffer") return Buffer(words);
    if (kind == "train") return StartProgram(words, &plan_.ranks.back().train);
    if (kind == "evaluate") return StartProgram(words, &plan_.ranks.back().evaluate);
    return Instruction(words);
  }
  absl::StatusOr<Plan> Take() {
    if (!has_header_) return absl::InvalidArgumentError("plan text is empty");
    return std::move(plan_);
  }

 private:
  absl::Status Header(const std::vector<absl::string_view>& words) {
    Fields fields(words, 1);
    if (has_header_) return absl::InvalidArgumentError("a second plan line");
    if (fields.Integer<int>("version") != 1) {
      return absl::InvalidArgumentError("version: need 1");
    }
    plan_.model_hash = std::string(fields.Text("model"));
    plan_.precision = static_cast<Precision>(1 + fields.Name("precision", kPrecisionNames));
    plan_.processor = static_cast<Processor>(fields.Name("processor", kProcessorNames));
    plan_.deterministic = fields.Name("deterministic", kBitNames) != 0;
    plan_.schedule = static_cast<ScheduleKind>(fields.Name("schedule", kScheduleNames));
    plan_.num_ranks = fields.Integer<int>("ranks");
    plan_.num_replicas = fields.Integer<int>("replicas");
    plan_.num_microbatches = fields.Integer<int>("microbatches");
    plan_.num_evaluation_microbatches = fields.Integer<int>("evaluation-microbatches");
    plan_.tokens_per_microbatch = fields.Integer<int64_t>("tokens");
    plan_.recompute_block = fields.Integer<int>("recompute");
    plan_.predicted_step_ns = fields.Integer<int64_t>("step-ns");
    plan_.predicted_idle_share = fields.Real("idle");
    has_header_ = true;
    return fields.Finish();
  }

  // Things are listed in order: the index must be the next.
  static absl::Status Next(const std::vector<absl::string_view>& words, size_t at, size_t next) {
    int index = -1;
    if (words.size() <= at || !absl::SimpleAtoi(words[at], &index) ||
        index != static_cast<int64_t>(next)) {
      return absl::InvalidArgumentError(absl::StrCat("index: need ", next));
    }
    return absl::OkStatus();
  }

  absl::Status Stage(const std::vector<absl::string_view>& words) {
    RETURN_IF_ERROR(Next(words, 1, plan_.stages.size()));
    Fields fields(words, 2);
    plan_.stages.push_back({fields.Units("units"), fields.List("ranks")});
    return fields.Finish();
  }

  absl::Status Channel(const std::vector<absl::string_view>& words) {
    RETURN_IF_ERROR(Next(words, 1, plan_.channels.size()));
    Fields fields(words, 2);
    plan_.channels.push_back({fields.Integer<int>("source"), fields.Integer<int>("destination"),
                              static_cast<ChannelKind>(fields.Name("kind", kChannelKindNames)),
                              fields.Integer<int64_t>("bytes"), fields.Parts("parts")});
    return fields.Finish();
  }

  absl::Status Parameter(const std::vector<absl::string_view>& words) {
    RETURN_IF_ERROR(Next(words, 1, plan_.parameters.size()));
    Fields fields(words, 2);
    PlannedParameter parameter;
    parameter.spec.name = std::string(fields.Text("name"));
    parameter.spec.shape = fields.List<int64_t>("shape", "", 'x');
    parameter.spec.decay = fields.Name("decay", kBitNames) != 0;
    parameter.spec.initializer =
        static_cast<Initializer>(fields.Name("initializer", kInitializerNames));
    parameter.spec.scale = fields.Real("scale");
    parameter.stages = fields.List("stages");
    parameter.ranks = fields.List("ranks");
    parameter.bucket = fields.Integer<int>("bucket");
    parameter.kind = static_cast<ParameterKind>(fields.Name("kind", kParameterKindNames));
    parameter.spec.product = fields.Name("product", kBitNames) != 0;
    parameter.copy = static_cast<DType>(1 + fields.Name("copy", kTypeNames));
    plan_.parameters.push_back(std::move(parameter));
    return fields.Finish();
  }

  absl::Status Bucket(const std::vector<absl::string_view>& words) {
    RETURN_IF_ERROR(Next(words, 1, plan_.buckets.size()));
    Fields fields(words, 2);
    plan_.buckets.push_back({fields.List("parameters"), fields.List("ranks")});
    return fields.Finish();
  }

  absl::Status Rank(const std::vector<absl::string_view>& words) {
    RETURN_IF_ERROR(Next(words, 1, plan_.ranks.size()));
    Fields fields(words, 2);
    RankPlan rank;
    rank.stages = fields.List("stages");
    plan_.ranks.push_back(std::move(rank));
    program_ = nullptr;
    return fields.Finish();
  }

  absl::Status Buffer(const std::vector<absl::string_view>& words) {
    RankPlan& rank = plan_.ranks.back();
    RETURN_IF_ERROR(Next(words, 1, rank.buffers.size()));
    Fields fields(words, 2);
    const absl::string_view name = fields.Text("home");
    const auto& names = HomeNames();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return Wrong("home", name);
    rank.buffers.push_back({static_cast<Home>(found - names.begin()), fields.Integer<int>("stage"),
                            fields.Integer<int64_t>("bytes")});
    return fields.Finish();
  }

  absl::Status Memory(const std::vector<absl::string_view>& words) {
    RankPlan& rank = plan_.ranks.back();
    RETURN_IF_ERROR(Next(words, 1, rank.memory.size()));
    Fields fields(words, 2);
    rank.memory.push_back({absl::StrReplaceAll(fields.Text("name"), {{"_", " "}}),
                           static_cast<MemoryPlace>(1 + fields.Name("place", kMemoryPlaceNames)),
                           fields.Integer<int64_t>("bytes")});
    return fields.Finish();
  }

  absl::Status StartProgram(const std::vector<absl::string_view>& words,
                            std::vector<birkhoff::Instruction>* program) {
    if (words.size() > 1) return Wrong("field", words[1]);
    program_ = program;
    return absl::OkStatus();
  }

  absl::Status Instruction(const std::vector<absl::string_view>& words) {
    if (program_ == nullptr) return Wrong("line", words[0]);
    RETURN_IF_ERROR(Next(words, 0, program_->size()));
    if (words.size() < 2) return Wrong("line", words[0]);
    Fields fields(words, 2);
    birkhoff::Instruction instruction;
    instruction.op = OpOfName(words[1], fields);
    instruction.stage = fields.IntegerOr("stage", -1);
    if (fields.Has("units")) instruction.segment.units = fields.Units("units");
    if (fields.Has("phase")) {
      instruction.segment.phase = static_cast<Phase>(fields.Name("phase", kPhaseNames));
    }
    instruction.microbatch = fields.IntegerOr("microbatch", -1);
    instruction.channel = fields.IntegerOr("channel", -1);
    instruction.bucket = fields.IntegerOr("bucket", -1);
    instruction.stream = static_cast<StreamKind>(fields.Name("stream", kStreamNames));
    instruction.waits = fields.List("waits");
    instruction.reads = fields.List("reads", "b");
    instruction.fills = fields.List("fills", "b");
    instruction.estimated_ns = fields.IntegerOr<int64_t>("ns", 0);
    program_->push_back(std::move(instruction));
    return fields.Finish();
  }

  Plan plan_;
  bool has_header_ = false;
  std::vector<birkhoff::Instruction>* program_ = nullptr;
};

}  // namespace

absl::StatusOr<Plan> PlanFromText(std::string_view text) {
  PlanParser parser;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    if (absl::Status status = parser.Line(line); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("plan text line ", number, ": ", status.message(), " in '", line, "'"));
    }
  }
  return parser.Take();
}

}  // namespace birkhoff
