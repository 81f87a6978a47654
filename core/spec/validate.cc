// The rules.  Ranges of single fields come from the table of fields; here stand the rules that join
// fields, each naming the values that would do.
#include "core/spec/validate.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/printable.h"
#include "core/spec/field.h"
#include "core/spec/load.h"
#include "core/spec/model.h"
#include "core/spec/plan_size.h"

namespace birkhoff {
namespace {

constexpr size_t kMaxNameLength = 63;
constexpr int64_t kMaxMicrobatchTokens = int64_t{1} << 24;

using Problems = std::vector<Problem>;

// Whether none of these fields has been refused: rules that join fields judge only sound ones.
bool Sound(const Problems& problems, std::initializer_list<std::string_view> fields) {
  return std::none_of(problems.begin(), problems.end(), [&](const Problem& problem) {
    return std::find(fields.begin(), fields.end(), problem.field) != fields.end();
  });
}

// Ranges of single fields.
void CheckRanges(const JobSpec& spec, Problems* problems) {
  JobSpec copy = spec;
  for (const Field& field : Fields()) {
    bool good = true;
    if (const auto* kind = std::get_if<IntField>(&field.kind)) {
      good = kind->at(copy) >= kind->min && kind->at(copy) <= kind->max;
    } else if (const auto* longs = std::get_if<LongField>(&field.kind)) {
      good = longs->at(copy) >= longs->min && longs->at(copy) <= longs->max;
    } else if (const auto* block = std::get_if<RecomputeField>(&field.kind)) {
      good = block->at(copy) >= ParallelismSpec::kRecomputeAuto;
    } else if (const auto* real = std::get_if<RealField>(&field.kind)) {
      const double value = real->at(copy);
      good = std::isfinite(value) && value >= real->min && value <= real->max &&
             !(real->open && value == real->min);
    }
    if (!good) {
      problems->push_back({field.path, FieldValue(field, spec), AllowedValues(field), ""});
    }
  }
}

void CheckName(const JobSpec& spec, Problems* problems) {
  const auto edge = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const std::string& name = spec.name;
  const bool good =
      !name.empty() && name.size() <= kMaxNameLength && edge(name.front()) && edge(name.back()) &&
      std::all_of(name.begin(), name.end(), [&](char c) { return edge(c) || c == '-'; });
  if (good) return;
  const Field& field = *FindField("name");
  problems->push_back({"name", FieldValue(field, spec), AllowedValues(field), ""});
}

void CheckTexts(const JobSpec& spec, Problems* problems) {
  JobSpec copy = spec;
  for (const Field& field : Fields()) {
    const auto* text = std::get_if<TextField>(&field.kind);
    if (text != nullptr && field.path != "name") CheckText(field.path, text->at(copy), problems);
  }
  for (size_t i = 0; i < std::min(spec.data.train.size(), kMaxListItems); ++i) {
    CheckText(absl::StrCat("data.train[", i, "].path"), spec.data.train[i].path, problems);
  }
}

// Of lists that are too long nothing else is looked at.
bool ListsAreShort(const JobSpec& spec, Problems* problems) {
  const size_t before = problems->size();
  const auto check = [&](const char* field, size_t items) {
    if (items <= kMaxListItems) return;
    problems->push_back(
        {field, absl::StrCat(items, " items"), absl::StrCat("at most ", kMaxListItems), ""});
  };
  check("data.train", spec.data.train.size());
  check("lr_schedule.step_at", spec.lr_schedule.step_at.size());
  check("lr_schedule.step_factor", spec.lr_schedule.step_factor.size());
  return problems->size() == before;
}

// Valid values of `value` nearby: the multiple of `unit` below (where there is one) and above.
std::string NearestMultiples(int64_t value, int64_t unit) {
  const int64_t below = value / unit * unit;
  if (below == 0) return absl::StrCat("nearest: ", unit);
  return absl::StrCat("nearest: ", below, " or ", below + unit);
}

void CheckHeads(const ModelSpec& model, Problems* problems) {
  if (!Sound(*problems, {"model.hidden_size", "model.num_attention_heads"})) return;
  const int heads = model.num_attention_heads;
  if (model.hidden_size % heads != 0) {
    problems->push_back({"model.hidden_size", absl::StrCat(model.hidden_size),
                         absl::StrCat("a multiple of model.num_attention_heads, ", heads),
                         NearestMultiples(model.hidden_size, heads)});
  } else if (HeadDim(model) % 2 != 0) {
    problems->push_back(
        {"model.hidden_size", absl::StrCat(model.hidden_size),
         absl::StrCat("an even head size for RoPE, not ", HeadDim(model), " for ", heads, " heads"),
         NearestMultiples(model.hidden_size, 2 * heads)});
  }
  if (Sound(*problems, {"model.num_key_value_heads"}) && heads % model.num_key_value_heads != 0) {
    problems->push_back({"model.num_key_value_heads", absl::StrCat(model.num_key_value_heads),
                         absl::StrCat("a divisor of model.num_attention_heads, ", heads), ""});
  }
}

// What stays still must be a value that the kind's own formulas reach.
void CheckLearned(const ResidualSpec& residual, Problems* problems) {
  if (residual.kind != ResidualKind::kMhc) return;
  if (!residual.learn_res) {
    problems->push_back({"model.residual.learn_res", "false", "true with model.residual.kind mhc",
                         "--set model.residual.mapping=identity keeps H_res at the identity"});
  }
  if (!residual.learn_pre && residual.streams == 1) {
    problems->push_back({"model.residual.learn_pre", "false",
                         "true with one stream and model.residual.kind mhc",
                         "no sigmoid reaches 1; use kind hc, or more streams"});
  }
}

void CheckResidual(const ResidualSpec& residual, Problems* problems) {
  if (residual.kind != ResidualKind::kMhc) return;
  const MappingTraits& mapping = TraitsOf(residual.mapping);
  const auto at_most = [&](const char* field, int value, int most) {
    if (most == 0 || value <= most || !Sound(*problems, {field})) return;
    problems->push_back({field, absl::StrCat(value),
                         absl::StrCat("1 to ", most, " with model.residual.mapping ", mapping.name),
                         "use sinkhorn"});
  };
  at_most("model.residual.streams", residual.streams, mapping.most_streams);
  at_most("model.residual.sinkhorn_iterations", residual.sinkhorn_iterations,
          mapping.most_iterations);
  CheckLearned(residual, problems);
}

void CheckData(const JobSpec& spec, Problems* problems) {
  const DataSpec& data = spec.data;
  if (data.train.empty()) {
    problems->push_back({"data.train", "nothing", "at least one token file",
                         "bash deploy/corpus.sh makes data/corpus-train"});
  }
  for (size_t i = 0; i < data.train.size(); ++i) {
    const std::string path = absl::StrCat("data.train[", i, "]");
    if (data.train[i].path.empty()) {
      problems->push_back({path + ".path", "an empty text", "the path of a token file", ""});
    }
    const double weight = data.train[i].weight;
    if (!(std::isfinite(weight) && weight > 0.0)) {
      problems->push_back(
          {path + ".weight", ShortestNumber(weight), "a finite number above 0", ""});
    }
  }
  if (!data.validation.empty() && data.validation_split > 0.0) {
    problems->push_back({"data.validation_split", ShortestNumber(data.validation_split),
                         "0 while data.validation names a file", "give one of the two"});
  }
  if (data.tokenizer.empty()) {
    problems->push_back(
        {"data.tokenizer", "an empty text", "bytes, none, or a SentencePiece .model", ""});
  }
  const int vocabulary = spec.model.vocab_size;
  if (data.tokenizer == kNoTokenizer && vocabulary == 0) {
    problems->push_back({"model.vocab_size", "0",
                         "the number of tokens of the data, because data.tokenizer is none",
                         "GPT-2's token files have 50257"});
  }
  if (data.tokenizer == "bytes" && vocabulary > 0 && vocabulary < kBytesVocabulary) {
    problems->push_back({"model.vocab_size", absl::StrCat(vocabulary),
                         absl::StrCat(kBytesVocabulary, " or more with data.tokenizer bytes"),
                         "0 takes the tokenizer's size"});
  }
}

void CheckBatch(const JobSpec& spec, Problems* problems) {
  const TrainingSpec& training = spec.training;
  if (training.precision == PrecisionKind::kBf16 && spec.device == DeviceKind::kCpu) {
    problems->push_back(
        {"training.precision", "bf16", "auto or fp32 with device cpu", "or set device to cuda"});
  }
  if (!Sound(*problems, {"training.micro_batch_size", "training.sequence_length",
                         "training.global_batch_size", "parallelism.data_parallel_degree"})) {
    return;
  }
  const int64_t unit = int64_t{training.micro_batch_size} * spec.parallelism.data_parallel_degree;
  if (training.global_batch_size % unit != 0) {
    problems->push_back(
        {"training.global_batch_size", absl::StrCat(training.global_batch_size),
         absl::StrCat(
             "a multiple of training.micro_batch_size x parallelism.data_parallel_degree, ",
             training.micro_batch_size, " x ", spec.parallelism.data_parallel_degree, " = ", unit),
         NearestMultiples(training.global_batch_size, unit)});
  }
  const int64_t tokens = int64_t{training.micro_batch_size} * training.sequence_length;
  if (tokens > kMaxMicrobatchTokens) {
    problems->push_back(
        {"training.micro_batch_size", absl::StrCat(training.micro_batch_size),
         absl::StrCat("at most ", kMaxMicrobatchTokens, " tokens per micro-batch, not ", tokens),
         "make training.micro_batch_size or training.sequence_length smaller"});
  }
}

void CheckOptimizer(const JobSpec& spec, Problems* problems) {
  const LrScheduleSpec& schedule = spec.lr_schedule;
  const int64_t steps = spec.training.steps;
  if (spec.optimizer.name != "adamw") {
    problems->push_back({"optimizer.name", spec.optimizer.name, "adamw", ""});
  }
  const bool decays =
      schedule.kind != LrScheduleKind::kConstant && schedule.kind != LrScheduleKind::kStep;
  if (decays && Sound(*problems, {"optimizer.lr", "lr_schedule.min_lr"}) &&
      schedule.min_lr > spec.optimizer.lr) {
    problems->push_back({"lr_schedule.min_lr", ShortestNumber(schedule.min_lr),
                         absl::StrCat("at most optimizer.lr, ", ShortestNumber(spec.optimizer.lr)),
                         ""});
  }
  if (!Sound(*problems,
             {"training.steps", "lr_schedule.warmup_steps", "lr_schedule.decay_steps"})) {
    return;
  }
  if (schedule.kind == LrScheduleKind::kWsd && schedule.warmup_steps <= steps &&
      schedule.decay_steps > steps - schedule.warmup_steps) {
    problems->push_back({"lr_schedule.decay_steps", absl::StrCat(schedule.decay_steps),
                         absl::StrCat("at most training.steps - lr_schedule.warmup_steps, ",
                                      steps - schedule.warmup_steps),
                         ""});
  }
}

void CheckLrSteps(const JobSpec& spec, Problems* problems) {
  const std::vector<double>& at = spec.lr_schedule.step_at;
  const std::vector<double>& factor = spec.lr_schedule.step_factor;
  const auto shown = [&](const char* path) { return FieldValue(*FindField(path), spec); };
  const auto inside = [](double share) { return share > 0.0 && share < 1.0; };
  if (!std::all_of(at.begin(), at.end(), inside) ||
      std::adjacent_find(at.begin(), at.end(), std::greater_equal<>()) != at.end()) {
    problems->push_back({"lr_schedule.step_at", shown("lr_schedule.step_at"),
                         "ascending shares between 0 and 1", ""});
  }
  if (factor.size() != at.size()) {
    problems->push_back({"lr_schedule.step_factor", shown("lr_schedule.step_factor"),
                         absl::StrCat("one factor per share of lr_schedule.step_at, ", at.size()),
                         ""});
  }
  const auto usable = [](double value) { return std::isfinite(value) && value >= 0.0; };
  if (!std::all_of(factor.begin(), factor.end(), usable)) {
    problems->push_back({"lr_schedule.step_factor", shown("lr_schedule.step_factor"),
                         "finite factors of at least 0", ""});
  }
}

// Stages that the schedule cuts the model into.
int64_t NumStagesOf(const ParallelismSpec& parallelism) {
  const int ranks = parallelism.pipeline_parallel_degree;
  return parallelism.schedule == ScheduleKind::kDualPipeV ? int64_t{2} * ranks : ranks;
}

// The smallest global batch that gives each replica `microbatches`.
std::string BatchRemedy(const JobSpec& spec, int64_t microbatches) {
  return absl::StrCat(
      "set training.global_batch_size to ",
      microbatches * spec.training.micro_batch_size * spec.parallelism.data_parallel_degree);
}

void CheckMicrobatches(const JobSpec& spec, Problems* problems) {
  const ScheduleKind schedule = spec.parallelism.schedule;
  if (schedule == ScheduleKind::k1F1B ||
      !Sound(*problems, {"parallelism.pipeline_parallel_degree"})) {
    return;
  }
  const bool mirrored = schedule == ScheduleKind::kDualPipe;
  const char* name = ScheduleName(schedule);
  const int ranks = spec.parallelism.pipeline_parallel_degree;
  if (mirrored && ranks % 2 != 0) {
    problems->push_back({"parallelism.pipeline_parallel_degree", absl::StrCat(ranks),
                         "an even number with parallelism.schedule dualpipe",
                         ranks == 1 ? "set it to 2, or the schedule to dualpipev"
                                    : absl::StrCat("set it to ", ranks - 1, " or ", ranks + 1,
                                                   ", or the schedule to dualpipev")});
    return;
  }
  if (!Sound(*problems, {"training.micro_batch_size", "training.global_batch_size",
                         "parallelism.data_parallel_degree"})) {
    return;
  }
  const int microbatches = MicrobatchesPerStep(spec);
  if (microbatches < 2 * ranks) {
    problems->push_back(
        {"training.global_batch_size", absl::StrCat(spec.training.global_batch_size),
         absl::StrCat("at least ", 2 * ranks, " micro-batches per replica (2 x ", ranks,
                      " ranks) with parallelism.schedule ", name, ", not ", microbatches),
         BatchRemedy(spec, 2 * ranks)});
  } else if (mirrored && microbatches % 2 != 0) {
    problems->push_back(
        {"training.global_batch_size", absl::StrCat(spec.training.global_batch_size),
         absl::StrCat("an even number of micro-batches per replica with parallelism.schedule "
                      "dualpipe, not ",
                      microbatches),
         BatchRemedy(spec, microbatches + 1)});
  }
}

void CheckParallelism(const JobSpec& spec, Problems* problems) {
  if (!Sound(*problems, {"parallelism.pipeline_parallel_degree", "model.num_hidden_layers"}))
    return;
  const int64_t stages = NumStagesOf(spec.parallelism);
  const int units = NumUnits(spec.model);
  if (stages > units) {
    problems->push_back(
        {"parallelism.pipeline_parallel_degree",
         absl::StrCat(spec.parallelism.pipeline_parallel_degree),
         absl::StrCat("at most one stage per unit: ", stages, " stages, but ", units,
                      " units (embedding, ", NumSubLayers(spec.model), " sub-layers, head)"),
         "use fewer workers or more model.num_hidden_layers"});
  }
  if (spec.parallelism.recompute > NumSubLayers(spec.model)) {
    problems->push_back(
        {"parallelism.recompute", absl::StrCat(spec.parallelism.recompute),
         absl::StrCat("at most the model's ", NumSubLayers(spec.model), " sub-layers"),
         "auto chooses"});
  }
}

// Whether something is said of the field already, of what holds it or of a part of it: what could
// not be read holds its default, which deserves no second complaint.
bool IsNamed(const Problems& problems, std::string_view field) {
  const auto holds = [](std::string_view whole, std::string_view part) {
    return part.starts_with(whole) &&
           (part.size() == whole.size() || part[whole.size()] == '.' || part[whole.size()] == '[');
  };
  return std::any_of(problems.begin(), problems.end(), [&](const Problem& before) {
    return holds(before.field, field) || holds(field, before.field) ||
           before.field.starts_with("job spec");
  });
}

}  // namespace

void CheckText(const std::string& field, const std::string& text, std::vector<Problem>* problems) {
  const bool control = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (text.size() > kMaxTextBytes) {
    problems->push_back({field, absl::StrCat("a text of ", text.size(), " bytes"),
                         absl::StrCat("at most ", kMaxTextBytes), ""});
  } else if (control) {
    problems->push_back({field, Printable(text), "a text without control characters", ""});
  }
}

Problems CheckSpecBytes(size_t bytes) {
  if (bytes <= kMaxSpecBytes) return {};
  return {{"job spec", absl::StrCat(bytes, " bytes"),
           absl::StrCat("at most ", kMaxSpecBytes, " bytes"), ""}};
}

Problems ValidateJobSpec(const JobSpec& spec) {
  Problems problems;
  if (!ListsAreShort(spec, &problems)) return problems;
  CheckTexts(spec, &problems);
  CheckRanges(spec, &problems);
  CheckName(spec, &problems);
  CheckData(spec, &problems);
  CheckHeads(spec.model, &problems);
  CheckResidual(spec.model.residual, &problems);
  CheckBatch(spec, &problems);
  CheckOptimizer(spec, &problems);
  CheckLrSteps(spec, &problems);
  CheckParallelism(spec, &problems);
  CheckMicrobatches(spec, &problems);
  if (problems.empty()) problems = CheckPlanSize(spec);
  return problems;
}

std::vector<std::string> SpecNotices(const JobSpec& spec) {
  const int64_t warmup = spec.lr_schedule.warmup_steps, steps = spec.training.steps;
  if (warmup <= steps) return {};
  // --set training.steps=20 is what everybody tries first.
  const double share = static_cast<double>(steps) / static_cast<double>(warmup);
  return {absl::StrCat("lr_schedule.warmup_steps, ", warmup, ", is above training.steps, ", steps,
                       ": the learning rate ends at ", std::llround(100.0 * share),
                       " % of optimizer.lr")};
}

Problems ReadJobSpec(std::string_view yaml, const std::vector<std::string>& overrides,
                     JobSpec* spec) {
  size_t bytes = yaml.size();
  for (const std::string& override : overrides) bytes += override.size();
  Problems problems = CheckSpecBytes(bytes);
  if (overrides.size() > kMaxOverrides) {
    problems.push_back({"overrides", absl::StrCat(overrides.size(), " items"),
                        absl::StrCat("at most ", kMaxOverrides), "write them into the job file"});
  }
  if (!problems.empty()) return problems;
  *spec = LoadJobSpec(yaml, overrides, &problems);
  for (const Problem& problem : ValidateJobSpec(*spec)) {
    if (!IsNamed(problems, problem.field)) problems.push_back(problem);
  }
  return problems;
}

bool ResolveVocabulary(JobSpec* spec) {
  if (spec->model.vocab_size == 0 && spec->data.tokenizer == "bytes") {
    spec->model.vocab_size = kBytesVocabulary;
  }
  return spec->model.vocab_size != 0;
}

}  // namespace birkhoff
