// Each run becomes a few numbers, each group of seeds their mean and spread.
#include "cli/comparison_result.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/page/run_figures.h"
#include "core/spec/field.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

Column Finite(const RunSeries& run, const char* key) {
  Column values;
  const auto column = run.columns.find(key);
  if (column == run.columns.end()) return values;
  std::ranges::copy_if(column->second, std::back_inserter(values),
                       [](double value) { return std::isfinite(value); });
  return values;
}

double Largest(const RunSeries& run, const char* key) {
  const Column values = Finite(run, key);
  return values.empty() ? NAN : *std::ranges::max_element(values);
}

double LastFinite(const RunSeries& run, const char* key) {
  const Column values = Finite(run, key);
  return values.empty() ? NAN : values.back();
}

// Over the last tenth of the steps; NaN where one of them is: such a run has no loss.
double FinalLoss(const RunSeries& run) {
  const auto column = run.columns.find("loss");
  if (column == run.columns.end()) return NAN;
  const size_t count = std::max<size_t>(1, column->second.size() / 10);
  double sum = 0.0;
  for (size_t i = column->second.size() - count; i < column->second.size(); ++i) {
    sum += column->second[i];
  }
  return sum / static_cast<double>(count);
}

struct Measure {
  const char* key;
  const char* title;
  bool log;
  double (*of)(const RunSeries&);
};
constexpr Measure kMeasures[] = {
    {"final_loss", "Training loss, mean of the last tenth", false, FinalLoss},
    {"validation_loss", "Validation loss, last", false,
     [](const RunSeries& run) { return LastFinite(run, "validation_loss"); }},
    {"largest_grad_norm", "Largest gradient norm", true,
     [](const RunSeries& run) { return Largest(run, "grad_norm"); }},
    {"largest_gain_forward", "Largest composite gain, forward", true,
     [](const RunSeries& run) { return Largest(run, "gain_forward"); }},
    {"largest_gain_backward", "Largest composite gain, backward", true,
     [](const RunSeries& run) { return Largest(run, "gain_backward"); }},
};

double TrainFlops(const RunSeries& run) {
  return TrainFlopsPerToken(run.spec.model, run.spec.training.sequence_length) *
         LastFinite(run, "total_tokens");
}

Json RunToJson(const Variant& variant, const ComparedRun& run, const RunSeries& series) {
  Json json = {{"name", run.name},
               {"residual", variant.residual},
               {"label", series.label},
               {"overrides", variant.overrides},
               {"state", JobStateName(run.state)},
               {"parameters", NumParameters(series.spec.model)},
               {"train_flops", TrainFlops(series)},
               {"steps", series.steps.empty() ? 0 : static_cast<int64_t>(series.steps.back())},
               {"skipped_steps", LastFinite(series, "skipped_total")}};
  for (const Measure& measure : kMeasures) json[measure.key] = measure.of(series);
  return json;
}

Json SpreadToJson(const std::vector<double>& values) {
  std::vector<std::vector<double>> by_run;
  for (const double value : values) by_run.push_back({value});
  const Line line = SpreadLine("", by_run, false);
  const bool several = !line.low.empty();
  return {{"mean", line.y[0]},
          {"smallest", several ? line.low[0] : line.y[0]},
          {"largest", several ? line.high[0] : line.y[0]}};
}

Json GroupToJson(const RunGroup& group) {
  Json json = {{"label", group.label}, {"runs", Json::array()}};
  for (const RunSeries* run : group.runs) json["runs"].push_back(run->name);
  for (const Measure& measure : kMeasures) {
    std::vector<double> values;
    for (const RunSeries* run : group.runs) values.push_back(measure.of(*run));
    json[measure.key] = SpreadToJson(values);
  }
  return json;
}

std::string Spelled(const std::vector<double>& values) {
  const Json spread = SpreadToJson(values);
  if (!std::isfinite(spread["mean"].get<double>())) return "–";
  const auto number = [&spread](const char* key) {
    return absl::StrFormat("%.5g", spread[key].get<double>());
  };
  if (values.size() == 1) return number("mean");
  return absl::StrCat(number("mean"), " (", number("smallest"), " to ", number("largest"), ")");
}

Json GroupTable(const ComparisonResult& result) {
  std::vector<std::string> columns = {"what", "runs", "parameters"};
  for (const Measure& measure : kMeasures) columns.push_back(measure.title);
  std::vector<Json> rows;
  for (const RunGroup& group : GroupRuns(ListOf(result.series))) {
    Json row = {group.label, group.runs.size(), NumParameters(group.runs[0]->spec.model)};
    for (const Measure& measure : kMeasures) {
      std::vector<double> values;
      for (const RunSeries* run : group.runs) values.push_back(measure.of(*run));
      row.push_back(Spelled(values));
    }
    rows.push_back(std::move(row));
  }
  return TableFigure(
      {"groups", "Kinds compared",
       "Mean over seeds, smallest and largest in brackets.  wider: the plain residual "
       "with as much more width as gives it mHC's parameters."},
      columns, rows);
}

// ---- Over the values of a sweep.

using XOf = std::function<std::optional<double>(const RunSeries&)>;

XOf ValueOfField(const std::string& path) {
  return [path](const RunSeries& run) -> std::optional<double> {
    const Field* field = FindField(path);
    double value = 0.0;
    if (field == nullptr || !absl::SimpleAtod(FieldValue(*field, run.spec), &value)) return {};
    return value;
  };
}

// One line per family of runs that differ in the sweep alone.
void AddSweepFigure(const Measure& measure, const std::string& id, const std::string& x_label,
                    const XOf& x_of, const std::vector<RunSeries>& series,
                    std::vector<Json>* figures) {
  std::set<double> xs;
  for (const RunSeries& run : series) {
    if (const auto x = x_of(run)) xs.insert(*x);
  }
  if (xs.size() < 2) return;
  const std::vector<double> x(xs.begin(), xs.end());
  std::vector<Line> lines;
  for (const RunGroup& family : GroupRuns(ListOf(series))) {
    std::map<uint64_t, std::vector<double>> by_seed;
    for (const RunSeries* run : family.runs) {
      const auto at = x_of(*run);
      if (!at) continue;
      auto& values = by_seed[run->spec.training.seed];
      values.resize(x.size(), NAN);
      values[std::ranges::find(x, *at) - x.begin()] = measure.of(*run);
    }
    std::vector<std::vector<double>> rows;
    for (auto& [seed, values] : by_seed) rows.push_back(std::move(values));
    lines.push_back(SpreadLine(family.label, rows, measure.log));
  }
  figures->push_back(LineFigure({id, absl::StrCat(measure.title, " over ", x_label),
                                 "Mean over seeds, with a band from the smallest to the largest."},
                                {x_label, x.front() > 0 && x.back() / x.front() > 10},
                                {"", measure.log}, x, std::move(lines)));
}

void AddSweep(const Sweep& sweep, const ComparisonResult& result, std::vector<Json>* figures) {
  std::vector<RunSeries> series = result.series;
  LabelVariants(result, {sweep.path}, &series);
  std::set<double> flops;
  for (const RunSeries& run : series) flops.insert(TrainFlops(run));
  for (const Measure& measure : kMeasures) {
    const std::string id = absl::StrCat("sweep-", sweep.path, "-", measure.key);
    AddSweepFigure(measure, id, sweep.path, ValueOfField(sweep.path), series, figures);
    if (measure.log || flops.size() < 2) continue;
    AddSweepFigure(
        measure, id + "-flops", "training FLOPs",
        [](const RunSeries& run) { return std::optional(TrainFlops(run)); }, series, figures);
  }
}

}  // namespace

void LabelVariants(const ComparisonResult& result, std::set<std::string> unnamed,
                   std::vector<RunSeries>* series) {
  // What makes the control wider, or is not learned, stands in its name; what is swept does not.
  const auto swept = [&result](const std::string& path) {
    return std::ranges::any_of(result.sweeps, [&](const Sweep& s) { return s.path == path; });
  };
  for (const char* path :
       {"model.hidden_size", "model.intermediate_size", "model.residual.mapping",
        "model.residual.learn_pre", "model.residual.learn_post", "model.residual.learn_res"}) {
    if (!swept(path)) unnamed.insert(path);
  }
  LabelRuns(series, unnamed);
  for (size_t i = 0; i < result.variants.size(); ++i) {
    std::string& label = (*series)[i].label;
    label.replace(0, label.find(' '), result.variants[i].residual);
  }
}

Json ComparisonToJson(const ComparisonResult& result) {
  Json json = {{"name", result.name}, {"sweeps", Json::array()}, {"runs", Json::array()}};
  for (const Sweep& sweep : result.sweeps) {
    json["sweeps"].push_back({{"path", sweep.path}, {"values", sweep.values}});
  }
  for (size_t i = 0; i < result.runs.size(); ++i) {
    json["runs"].push_back(RunToJson(result.variants[i], result.runs[i], result.series[i]));
  }
  json["groups"] = Json::array();
  for (const RunGroup& group : GroupRuns(ListOf(result.series)))
    json["groups"].push_back(GroupToJson(group));
  return json;
}

std::vector<Json> ComparisonFigures(const ComparisonResult& result) {
  std::vector<Json> figures = {GroupTable(result)};
  for (const Sweep& sweep : result.sweeps) AddSweep(sweep, result, &figures);
  return figures;
}

}  // namespace birkhoff
