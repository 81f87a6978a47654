// The table of what may change, the comparison of two specs by it, and both in words.
#include "core/spec/spec_change.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/printable.h"
#include "core/spec/field.h"
#include "core/spec/lr_schedule.h"

namespace birkhoff {
namespace {

using enum ChangeRule;

constexpr size_t kLongestValue = 160;  // bytes of a value in words

// A field that is forgotten here is refused, and a test says so.
ChangeRule RuleOf(std::string_view path) {
  for (const auto& [field, rule] : ChangeRules()) {
    if (field == path) return rule;
  }
  return kAnotherModel;
}

// The share of the training files that is not trained on.
double HeldOut(const JobSpec& spec) {
  return spec.data.validation.empty() ? spec.data.validation_split : 0.0;
}

bool SameBlend(const DataSpec& before, const DataSpec& now) {
  return std::ranges::equal(before.train, now.train, {}, &WeightedPath::weight,
                            &WeightedPath::weight);
}

ChangeRule RuleBetween(const std::string& path, const JobSpec& before, const JobSpec& now) {
  if (path == "data.train" && !SameBlend(before.data, now.data)) return kAnotherModel;
  if (path == kValidationData || path == "data.validation_split") {
    return HeldOut(before) == HeldOut(now) ? kNoticed : kAnotherModel;
  }
  return RuleOf(path);
}

// Of files that have moved, the first that has: a list of hundreds says nothing.
void ShowMovedFile(const DataSpec& before, const DataSpec& now, FieldChange& change) {
  size_t moved = 0;
  for (size_t i = 0; i < now.train.size(); ++i) {
    if (before.train[i].path == now.train[i].path) continue;
    if (++moved > 1) continue;
    change.before = Shortened(before.train[i].path, kLongestValue);
    change.now = Shortened(now.train[i].path, kLongestValue);
  }
  if (moved > 1) absl::StrAppend(&change.now, " (and ", moved - 1, " more)");
}

std::vector<std::string> PathsOf(const std::vector<FieldChange>& changes, ChangeRule rule) {
  std::vector<std::string> paths;
  for (const FieldChange& change : changes) {
    if (change.rule == rule) paths.push_back(change.path);
  }
  return paths;
}

absl::Status Refusal(const std::vector<FieldChange>& refused) {
  const std::vector<std::string> never = PathsOf(refused, kAnotherModel);
  const std::vector<std::string> unasked = PathsOf(refused, kWhenAsked);
  std::string text =
      absl::StrCat("holds a run of another spec: ", ChangesInWords(refused), "; to train it on");
  if (!never.empty()) {
    absl::StrAppend(&text, " give back the old ", absl::StrJoin(never, ", "),
                    ", which would make it another model");
  }
  if (!unasked.empty()) {
    absl::StrAppend(&text, never.empty() ? "" : ", and", " ask for the change with --change ",
                    absl::StrJoin(unasked, " --change "));
  }
  absl::StrAppend(&text, "; else give another --out, or --fresh to forget it");
  if (!never.empty()) absl::StrAppend(&text, ", or start anew from its weights with --init-from");
  return absl::InvalidArgumentError(text);
}

bool MovesTheRate(const FieldChange& change) {
  return change.path == "training.steps" || change.path == "optimizer.lr" ||
         change.path.starts_with("lr_schedule.");
}

// The rate of a step follows from the spec and the step alone: a schedule of more steps is another
// curve, on which training goes on at its step.
std::string RateInWords(const Resumption& resumption) {
  const JobSpec &before = resumption.before, &now = resumption.now;
  const int64_t step = resumption.step, steps = now.training.steps;
  if (step <= 0) return "";
  if (step >= steps) return absl::StrCat("; step ", step, " is done: none is left to train");
  const double was =
      LearningRate(before.lr_schedule, before.optimizer.lr, before.training.steps, step - 1);
  const double is = LearningRate(now.lr_schedule, now.optimizer.lr, steps, step);
  return absl::StrFormat(
      "; the learning rate, %.4g at step %d, is %.4g at step %d of the %s "
      "schedule over %d steps",
      was, step, is, step + 1, FieldValue(*FindField("lr_schedule.kind"), now), steps);
}

}  // namespace

const std::vector<std::pair<std::string_view, ChangeRule>>& ChangeRules() {
  static const std::vector<std::pair<std::string_view, ChangeRule>> rules = {
      {"name", kNoticed},
      {"model.vocab_size", kAnotherModel},
      {"model.hidden_size", kAnotherModel},
      {"model.num_hidden_layers", kAnotherModel},
      {"model.num_attention_heads", kAnotherModel},
      {"model.num_key_value_heads", kAnotherModel},
      {"model.intermediate_size", kAnotherModel},
      {"model.tie_embeddings", kAnotherModel},
      {"model.rms_norm_eps", kAnotherModel},
      {"model.rope_theta", kAnotherModel},
      {"model.init_std", kAnotherModel},
      {"model.residual.kind", kAnotherModel},
      {"model.residual.streams", kAnotherModel},
      {"model.residual.mapping", kAnotherModel},
      {"model.residual.sinkhorn_iterations", kAnotherModel},
      {"model.residual.alpha_init", kAnotherModel},
      {"model.residual.phi_init_std", kAnotherModel},
      {"model.residual.bias_on", kAnotherModel},
      {"model.residual.bias_off", kAnotherModel},
      {"model.residual.bias_res_off_diagonal", kAnotherModel},
      {"model.residual.norm_eps", kAnotherModel},
      {"model.residual.expand", kAnotherModel},
      {"model.residual.contract", kAnotherModel},
      {"model.residual.learn_pre", kAnotherModel},
      {"model.residual.learn_post", kAnotherModel},
      {"model.residual.learn_res", kAnotherModel},
      {"data.train", kNoticed},
      {"data.validation", kNoticed},
      {"data.validation_split", kAnotherModel},
      {"data.tokenizer", kNoticed},  // the tokens are what they are; its file may move
      {"data.seed", kAnotherModel},
      {"training.steps", kNoticed},
      {"training.sequence_length", kAnotherModel},
      {"training.micro_batch_size", kNoticed},  // the samples of a step are the same
      {"training.global_batch_size", kAnotherModel},
      {"training.clip_grad", kWhenAsked},
      {"training.seed", kAnotherModel},
      {"training.precision", kWhenAsked},
      {"training.deterministic", kNoticed},
      {"training.validation_interval", kNoticed},
      {"training.validation_batches", kNoticed},
      {"optimizer.name", kAnotherModel},  // the moments would mean something else
      {"optimizer.lr", kWhenAsked},
      {"optimizer.beta1", kWhenAsked},
      {"optimizer.beta2", kWhenAsked},
      {"optimizer.eps", kWhenAsked},
      {"optimizer.weight_decay", kWhenAsked},
      {"lr_schedule.kind", kWhenAsked},
      {"lr_schedule.warmup_steps", kWhenAsked},
      {"lr_schedule.min_lr", kWhenAsked},
      {"lr_schedule.decay_steps", kWhenAsked},
      {"lr_schedule.step_at", kWhenAsked},
      {"lr_schedule.step_factor", kWhenAsked},
      {"parallelism.pipeline_parallel_degree", kNoticed},
      {"parallelism.data_parallel_degree", kNoticed},
      {"parallelism.schedule", kNoticed},
      {"parallelism.recompute", kNoticed},
      {"checkpoint.directory", kNoticed},
      {"checkpoint.interval", kNoticed},
      {"checkpoint.keep_last", kNoticed},
      {"stability.max_gain", kWhenAsked},
      {"stability.max_skipped_steps", kWhenAsked},
      {"stability.max_restarts", kWhenAsked},
      {"device", kNoticed},
  };
  return rules;
}

std::vector<FieldChange> CompareSpecs(const JobSpec& before, const JobSpec& now) {
  std::vector<FieldChange> changes;
  for (const Field& field : Fields()) {
    const std::string was = FieldValue(field, before), is = FieldValue(field, now);
    if (was == is) continue;
    FieldChange& change = changes.emplace_back();
    change.path = field.path;
    change.before = Shortened(was, kLongestValue);
    change.now = Shortened(is, kLongestValue);
    change.rule = RuleBetween(field.path, before, now);
    if (field.path == "data.train" && change.rule == kNoticed) {
      ShowMovedFile(before.data, now.data, change);
    }
  }
  return changes;
}

std::string ChangesInWords(const std::vector<FieldChange>& changes) {
  return absl::StrJoin(changes, "; ", [](std::string* out, const FieldChange& change) {
    absl::StrAppend(out, change.path, ": ", change.before, " there, ", change.now, " now");
  });
}

bool IsAskedFor(std::string_view field, const std::vector<std::string>& asked) {
  return std::ranges::any_of(asked, [&](const std::string& path) {
    return field == path || (field.starts_with(path) && field[path.size()] == '.');
  });
}

std::vector<Problem> CheckAskedChanges(const std::vector<std::string>& asked,
                                       const std::string& field) {
  std::vector<Problem> problems;
  for (const std::string& path : asked) {
    bool known = false, can_change = path == kValidationData;
    for (const auto& [name, rule] : ChangeRules()) {
      if (!IsAskedFor(name, {path})) continue;
      known = true;
      can_change = can_change || rule != kAnotherModel;
    }
    if (can_change) continue;
    std::string remedy = "another value of it makes another model: start anew, or with init_from";
    if (!known) {
      const std::string nearest = NearestPath(path);
      remedy = nearest.empty() ? "" : absl::StrCat("did you mean ", nearest, "?");
    }
    problems.push_back({field, Printable(Shortened(path, kLongestValue)),
                        "a field that can change, like optimizer.lr, or a section of such, like "
                        "lr_schedule",
                        remedy});
  }
  return problems;
}

absl::StatusOr<std::string> AdmitChanges(const Resumption& resumption) {
  const std::vector<FieldChange> changes = CompareSpecs(resumption.before, resumption.now);
  std::vector<FieldChange> refused;
  for (const FieldChange& change : changes) {
    const bool admitted = change.rule == kNoticed ||
                          (change.rule == kWhenAsked && IsAskedFor(change.path, resumption.asked));
    if (!admitted) refused.push_back(change);
  }
  if (!refused.empty()) return Refusal(refused);
  if (changes.empty()) return "";
  std::string notice = ChangesInWords(changes);
  if (std::ranges::any_of(changes, MovesTheRate)) notice += RateInWords(resumption);
  return notice;
}

}  // namespace birkhoff
