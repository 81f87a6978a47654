// Columns become figures: which key is drawn how stands in one table, and keys that it does not
// name are drawn under their own names.
#include "coordinator/page/run_figures.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/spec/field.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

struct StepKey {
  const char* key;
  const char* title;
  const char* unit;
  bool log;
  const char* caption;
};
constexpr StepKey kStepKeys[] = {
    {"loss", "Training loss", "nats per token", false, "Of each step's own tokens."},
    {"validation_loss", "Validation loss", "nats per token", false,
     "The same held-out samples each time."},
    {"grad_norm", "Gradient norm", "global norm before clipping", true,
     "Each logical parameter once."},
    {"gain_forward", "Largest composite gain, forward", "gain", true,
     "Over sub-layers l: of H_l ... H_0, per token, mean over tokens.  1 keeps a signal as it is."},
    {"gain_backward", "Largest composite gain, backward", "gain", true,
     "Over sub-layers l: of H_{L-1} ... H_l, per token, mean over tokens."},
    {"tokens_per_second", "Throughput", "tokens per second", false,
     "Wall time of each step, of the machine that ran it; runs side by side share it."},
    {"row_sum_min", "Smallest composite row sum", "sum", false,
     "Of any token and sub-layer, forward: what a largest gain cannot show is attenuation."},
    {"column_sum_min", "Smallest composite column sum", "sum", false,
     "Of any token and sub-layer, backward."},
    {"lr", "Learning rate", "", false, "Of each step."},
    {"mixing_saturation", "Saturation of H_res", "largest softmax weight", false,
     "Of its logits, mean over sub-layers: at 1 they are a frozen permutation."},
    {"off_diagonal_mass", "Off-diagonal mass of H_res", "mass", false,
     "Mean over sub-layers: at 0 streams are not mixed."},
    {"column_residual", "Column residual", "distance from 1", true,
     "Largest of all sub-layers: what a finite number of iterations leaves of the column sums."},
    {"read_saturation", "Saturation of H_pre", "share of gates", false,
     "Within 1 % of an end of their range, mean over sub-layers."},
    {"write_saturation", "Saturation of H_post", "share of gates", false,
     "Within 1 % of an end of their range, mean over sub-layers."},
    {"identity_distance", "Composite from the identity", "distance", false,
     "Of all sub-layers: at 0 streams never met, at 1 they are all averaged."},
    {"uniform_distance", "Composite from the uniform matrix", "distance", false,
     "Of all sub-layers: at 0 whatever is in the streams is averaged."},
    {"stream_similarity", "Similarity of the streams", "cosine", false,
     "After the last sub-layer: at 1 the streams have collapsed into one."},
};

// In the summary, in another figure, or without a picture of its own.
const std::set<std::string>& UndrawnKeys() {
  static const auto* const keys = new std::set<std::string>{"tokens",
                                                            "total_tokens",
                                                            "step_seconds",
                                                            "skipped_total",
                                                            "memory_bytes",
                                                            "mfu",
                                                            "bubble",
                                                            "exposed_transfer",
                                                            "gain_mean_matrix_forward",
                                                            "gain_mean_matrix_backward"};
  return *keys;
}

struct DepthKey {
  const char* key;
  const char* id;
  const char* title;
  const char* caption;
};
constexpr DepthKey kDepthKeys[] = {
    {"gain_single_forward_by_sublayer", "single-forward", "Single-layer gain, forward",
     "Of H_res of each sub-layer alone: its largest absolute row sum."},
    {"gain_single_backward_by_sublayer", "single-backward", "Single-layer gain, backward",
     "Of H_res of each sub-layer alone: its largest absolute column sum."},
    {"gain_forward_by_sublayer", "composite-forward", "Composite gain, forward",
     "Of H_l ... H_0: how much a signal may have grown from the embedding to sub-layer l."},
    {"gain_backward_by_sublayer", "composite-backward", "Composite gain, backward",
     "Of H_{L-1} ... H_l: how much a gradient may have grown from the head to sub-layer l."},
};

// The column's values at the steps of `x`, which ascend; NaN where the run has none.
Column At(const RunSeries& run, const Column& column, const Column& x) {
  Column values(x.size(), kNan);
  size_t row = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    while (row < run.steps.size() && run.steps[row] < x[i]) ++row;
    if (row < run.steps.size() && run.steps[row] == x[i]) values[i] = column[row];
  }
  return values;
}

Column AllSteps(const RunList& runs) {
  Column all;
  for (const RunSeries* run : runs) {
    if (run->steps == all) continue;
    Column both;
    std::ranges::set_union(all, run->steps, std::back_inserter(both));
    all = std::move(both);
  }
  return all;
}

bool HasNumber(const Line& line) {
  return std::ranges::any_of(line.y, [](double value) { return std::isfinite(value); });
}

// Leaves out the x at which no line has a number: a validation is rare.
void DropEmpty(Column* x, std::vector<Line>* lines) {
  std::vector<bool> keep(x->size());
  for (size_t i = 0; i < x->size(); ++i) {
    keep[i] = std::ranges::any_of(*lines, [i](const Line& l) { return std::isfinite(l.y[i]); });
  }
  const auto filter = [&keep](Column* values) {
    size_t kept = 0;
    for (size_t i = 0; i < values->size(); ++i) {
      if (keep[i]) (*values)[kept++] = (*values)[i];
    }
    values->resize(kept);
  };
  filter(x);
  for (Line& line : *lines) {
    for (Column* values : {&line.y, &line.low, &line.high}) {
      if (!values->empty()) filter(values);
    }
  }
}

// Adds the figure unless nothing in it is a number.
void AddLines(const Heading& heading, const Axis& x_axis, const Axis& y_axis, Column x,
              std::vector<Line> lines, FigureList* figures) {
  std::erase_if(lines, [](const Line& line) { return !HasNumber(line); });
  if (lines.empty()) return;
  DropEmpty(&x, &lines);
  figures->Add(LineFigure(heading, x_axis, y_axis, std::move(x), std::move(lines),
                          figures->DetailOf(heading)));
}

// Whether any run has something to draw under this key, found without a look at the rest.
bool IsDrawn(const StepKey& key, const std::vector<RunGroup>& groups) {
  const auto draws = [&key](const RunSeries* run) {
    const auto column = run->columns.find(key.key);
    return column != run->columns.end() && std::ranges::any_of(column->second, [&](double value) {
             return std::isfinite(value) && (!key.log || value > 0.0);
           });
  };
  return std::ranges::any_of(
      groups, [&](const RunGroup& group) { return std::ranges::any_of(group.runs, draws); });
}

void AddStepFigure(const StepKey& key, const std::vector<RunGroup>& groups, const Column& x,
                   FigureList* figures) {
  const Heading heading = {absl::StrReplaceAll(key.key, {{"_", "-"}}), key.title, key.caption};
  const Axis x_axis = {"step"}, y_axis = {key.unit, key.log};
  if (!IsDrawn(key, groups)) return;
  if (!figures->Asks(heading)) return figures->AddStub(LineFigure(heading, x_axis, y_axis, {}, {}));
  std::vector<Line> lines;
  for (const RunGroup& group : groups) {
    std::vector<Column> values;
    for (const RunSeries* run : group.runs) {
      const auto column = run->columns.find(key.key);
      if (column != run->columns.end()) values.push_back(At(*run, column->second, x));
    }
    lines.push_back(SpreadLine(group.label, values, key.log));
  }
  AddLines(heading, x_axis, y_axis, x, std::move(lines), figures);
}

// A mean over `width` neighbours, as many of them as there are.
Column Smoothed(const Column& values, size_t width) {
  if (width == 1) return values;
  // Of all before i: what is finite, and how much that is.
  Column sums(values.size() + 1, 0.0), counts(values.size() + 1, 0.0);
  for (size_t i = 0; i < values.size(); ++i) {
    const bool finite = std::isfinite(values[i]);
    sums[i + 1] = sums[i] + (finite ? values[i] : 0.0);
    counts[i + 1] = counts[i] + (finite ? 1.0 : 0.0);
  }
  Column smooth(values.size(), kNan);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    const size_t begin = i - std::min(i, width / 2),
                 end = std::min(values.size(), i + width / 2 + 1);
    smooth[i] = (sums[end] - sums[begin]) / (counts[end] - counts[begin]);
  }
  return smooth;
}

// Whether nothing but the residual connection, and what tells no runs apart, differs.
bool DifferInResidualAlone(const JobSpec& a, const JobSpec& b) {
  return std::ranges::all_of(Fields(), [&](const Field& field) {
    return field.path.starts_with("model.residual.") || !TellsRunsApart(field.path) ||
           FieldValue(field, a) == FieldValue(field, b);
  });
}

// The plain run of the same seed that a run is compared with: the one that is like it in all else;
// where there is none, that with the fewest parameters.
const RunSeries* BaselineOf(const RunSeries& run, const RunList& runs) {
  const RunSeries* plain = nullptr;
  for (const RunSeries* other : runs) {
    if (other->spec.model.residual.kind != ResidualKind::kResidual) continue;
    if (other->spec.training.seed != run.spec.training.seed) continue;
    if (DifferInResidualAlone(run.spec, other->spec)) return other;
    if (plain == nullptr || NumParameters(other->spec.model) < NumParameters(plain->spec.model)) {
      plain = other;
    }
  }
  return plain;
}

Line GapLine(const RunGroup& group, const RunList& runs, const Column& x, size_t width) {
  std::vector<Column> gaps;
  for (const RunSeries* run : group.runs) {
    const RunSeries* other = BaselineOf(*run, runs);
    if (other == nullptr || other->label == run->label) continue;
    const auto loss = run->columns.find("loss"), base = other->columns.find("loss");
    if (loss == run->columns.end() || base == other->columns.end()) continue;
    Column gap = At(*run, loss->second, x);
    const Column zero = At(*other, base->second, x);
    for (size_t i = 0; i < gap.size(); ++i) gap[i] -= zero[i];
    gaps.push_back(Smoothed(gap, width));
  }
  return SpreadLine(group.label, gaps, false);
}

// Whether any two runs have a gap: both have losses.
bool HasGap(const RunList& runs) {
  return std::ranges::any_of(runs, [&runs](const RunSeries* run) {
    const RunSeries* other = BaselineOf(*run, runs);
    return other != nullptr && other->label != run->label && run->columns.contains("loss") &&
           other->columns.contains("loss");
  });
}

void AddGapFigure(const RunList& runs, const Column& x, FigureList* figures) {
  const size_t width = 1 + x.size() / 25;
  const Heading heading = {
      "loss-gap", "Loss gap to the plain residual",
      absl::StrCat("Training loss minus that of the plain residual with the same seed, at the same "
                   "step: of the same samples.  Smoothed over ",
                   width, width == 1 ? " step" : " steps", "; below 0 is better.")};
  const Axis x_axis = {"step"}, y_axis = {"nats per token"};
  if (!HasGap(runs)) return;
  if (!figures->Asks(heading)) return figures->AddStub(LineFigure(heading, x_axis, y_axis, {}, {}));
  std::vector<Line> lines;
  for (const RunGroup& group : GroupRuns(runs)) lines.push_back(GapLine(group, runs, x, width));
  AddLines(heading, x_axis, y_axis, x, std::move(lines), figures);
}

// Keys that no table names: what a newer worker measures.
std::vector<std::string> OtherKeys(const RunList& runs) {
  std::set<std::string> keys;
  for (const RunSeries* run : runs) {
    for (const auto& [key, column] : run->columns) keys.insert(key);
  }
  for (const StepKey& key : kStepKeys) keys.erase(key.key);
  for (const std::string& key : UndrawnKeys()) keys.erase(key);
  return {keys.begin(), keys.end()};
}

std::vector<std::string> OtherDepthKeys(const RunList& runs) {
  std::set<std::string> keys;
  for (const RunSeries* run : runs) {
    for (const auto& [key, column] : run->depth_columns) keys.insert(key);
  }
  for (const DepthKey& key : kDepthKeys) keys.erase(key.key);
  return {keys.begin(), keys.end()};
}

std::string AsTitle(const std::string& key) {
  std::string title = absl::StrReplaceAll(key, {{"_", " "}});
  if (!title.empty())
    title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
  return title;
}

// ---- Over depth.

const Axis kGainAxis = {"gain", true};

// Which rows of a column a figure over depth shows: the last, or the largest of all.
enum class Rows { kLast, kLargest };

std::vector<double> LastRow(const DepthColumn& column) {
  for (auto row = column.rbegin(); row != column.rend(); ++row) {
    if (!row->empty()) return *row;
  }
  return {};
}

std::vector<double> LargestOfAllRows(const DepthColumn& column) {
  std::vector<double> largest;
  for (const std::vector<double>& row : column) {
    largest.resize(std::max(largest.size(), row.size()), kNan);
    for (size_t l = 0; l < row.size(); ++l) {
      if (!(row[l] <= largest[l])) largest[l] = row[l];
    }
  }
  return largest;
}

std::vector<double> Read(const DepthColumn& column, Rows rows) {
  return rows == Rows::kLast ? LastRow(column) : LargestOfAllRows(column);
}

// Whether there is anything to draw, found without a look at the rest.
bool IsDrawn(const std::string& key, Rows rows, bool log, const std::vector<RunGroup>& groups) {
  const auto draws = [log](const std::vector<double>& row) {
    return std::ranges::any_of(
        row, [log](double value) { return std::isfinite(value) && (!log || value > 0.0); });
  };
  return std::ranges::any_of(groups, [&](const RunGroup& group) {
    return std::ranges::any_of(group.runs, [&](const RunSeries* run) {
      const auto column = run->depth_columns.find(key);
      if (column == run->depth_columns.end()) return false;
      return rows == Rows::kLast ? draws(LastRow(column->second))
                                 : std::ranges::any_of(column->second, draws);
    });
  });
}

void AddDepthFigure(const Heading& heading, const std::string& key, Rows rows, const Axis& y_axis,
                    const std::vector<RunGroup>& groups, FigureList* figures) {
  const Axis x_axis = {"sub-layer"};
  if (!IsDrawn(key, rows, y_axis.log, groups)) return;
  if (!figures->Asks(heading)) return figures->AddStub(LineFigure(heading, x_axis, y_axis, {}, {}));
  std::vector<std::vector<Column>> values_by_group;
  size_t depth = 0;
  for (const RunGroup& group : groups) {
    std::vector<Column>& values = values_by_group.emplace_back();
    for (const RunSeries* run : group.runs) {
      const auto column = run->depth_columns.find(key);
      if (column != run->depth_columns.end()) values.push_back(Read(column->second, rows));
      if (!values.empty()) depth = std::max(depth, values.back().size());
    }
  }
  Column x;
  for (size_t l = 0; l < depth; ++l) x.push_back(static_cast<double>(l));
  std::vector<Line> lines;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (Column& values : values_by_group[g]) values.resize(depth, kNan);
    lines.push_back(SpreadLine(groups[g].label, values_by_group[g], y_axis.log));
  }
  AddLines(heading, x_axis, y_axis, std::move(x), std::move(lines), figures);
}

// Cells [sub-layer][time], the largest of each stretch of steps.
void AddHeat(const DepthKey& key, const RunSeries& run, FigureList* figures) {
  constexpr size_t kColumns = 240;
  const auto found = run.depth_columns.find(key.key);
  if (found == run.depth_columns.end() || LastRow(found->second).size() < 2) return;
  const Heading heading = {
      absl::StrCat("heat-", key.id, "-", run.name),
      absl::StrCat(key.title, " over the run: ", run.label),
      absl::StrCat(key.caption, "  Run ", run.name, "; the largest of each stretch of steps.")};
  if (!figures->Asks(heading)) {
    return figures->AddStub(HeatFigure(heading, "step", {}, "sub-layer", {}));
  }
  const DepthColumn& column = found->second;
  const size_t width = (column.size() + kColumns - 1) / kColumns;
  Column x;
  std::vector<Column> z(LastRow(column).size());
  for (size_t begin = 0; begin < column.size(); begin += width) {
    const size_t end = std::min(column.size(), begin + width);
    const Column largest =
        LargestOfAllRows(DepthColumn(column.begin() + begin, column.begin() + end));
    x.push_back(run.steps[begin]);
    for (size_t l = 0; l < z.size(); ++l) z[l].push_back(l < largest.size() ? largest[l] : kNan);
  }
  figures->Add(HeatFigure(heading, "step", x, "sub-layer", z));
}

}  // namespace

RunList ListOf(const std::vector<RunSeries>& runs) {
  RunList list;
  for (const RunSeries& run : runs) list.push_back(&run);
  return list;
}

std::vector<RunGroup> GroupRuns(const RunList& runs) {
  std::vector<RunGroup> groups;
  for (const RunSeries* run : runs) {
    const auto same = [run](const RunGroup& group) { return group.label == run->label; };
    auto group = std::ranges::find_if(groups, same);
    if (group == groups.end()) group = groups.insert(groups.end(), {run->label, {}});
    group->runs.push_back(run);
  }
  return groups;
}

Line SpreadLine(const std::string& label, const std::vector<std::vector<double>>& values_by_run,
                bool log) {
  Line line = {label};
  if (values_by_run.empty()) return line;
  const size_t length = values_by_run[0].size();
  line.y.assign(length, kNan);
  if (values_by_run.size() > 1) line.low = line.high = line.y;
  for (size_t i = 0; i < length; ++i) {
    double sum = 0.0, count = 0.0, least = kNan, most = kNan;
    for (const std::vector<double>& values : values_by_run) {
      const double value = values[i];
      if (!std::isfinite(value) || (log && value <= 0.0)) continue;
      sum += log ? std::log(value) : value;
      ++count;
      if (!(least <= value)) least = value;
      if (!(most >= value)) most = value;
    }
    if (count == 0.0) continue;
    line.y[i] = log ? std::exp(sum / count) : sum / count;
    if (values_by_run.size() == 1) line.y[i] = most;  // as it was written
    if (line.low.empty()) continue;
    line.low[i] = least;
    line.high[i] = most;
  }
  return line;
}

void AddStepFigures(const RunList& runs, FigureList* figures) {
  const std::vector<RunGroup> groups = GroupRuns(runs);
  const Column x = AllSteps(runs);
  for (const StepKey& key : kStepKeys) {
    AddStepFigure(key, groups, x, figures);
    if (std::string_view(key.key) == "loss") AddGapFigure(runs, x, figures);
  }
  for (const std::string& key : OtherKeys(runs)) {
    const std::string title = AsTitle(key);
    AddStepFigure({key.c_str(), title.c_str(), "", false, "By its name in metrics.jsonl."}, groups,
                  x, figures);
  }
}

void AddDepthFigures(const RunList& runs, FigureList* figures) {
  const std::vector<RunGroup> groups = GroupRuns(runs);
  for (const DepthKey& key : kDepthKeys) {
    AddDepthFigure({key.id, absl::StrCat(key.title, ", last step"), key.caption}, key.key,
                   Rows::kLast, kGainAxis, groups, figures);
  }
  for (const std::string& key : OtherDepthKeys(runs)) {
    AddDepthFigure({key, AsTitle(key) + ", last step", "By its name in metrics.jsonl."}, key,
                   Rows::kLast, {"", false}, groups, figures);
  }
  for (const DepthKey& key : {kDepthKeys[2], kDepthKeys[3]}) {
    AddDepthFigure({absl::StrCat(key.id, "-largest"),
                    absl::StrCat(key.title, ", largest of all steps"), key.caption},
                   key.key, Rows::kLargest, kGainAxis, groups, figures);
  }
  for (const RunGroup& group : groups) {
    if (group.runs[0]->spec.model.residual.kind == ResidualKind::kResidual) continue;
    AddHeat(kDepthKeys[2], *group.runs[0], figures);
    AddHeat(kDepthKeys[3], *group.runs[0], figures);
  }
}

void AddMatrixFigures(const RunList& runs, FigureList* figures) {
  for (const RunGroup& group : GroupRuns(runs)) {
    const RunSeries& run = *group.runs[0];
    const MeanMatrices& mean = run.matrices;
    if (mean.streams < 2 || mean.forward_by_sublayer.empty()) continue;
    const size_t depth = mean.forward_by_sublayer.size(), half = depth / 2;
    const std::string last = absl::StrCat(depth - 1);
    std::vector<SquareMatrix> matrices = {
        {"H_0", mean.forward_by_sublayer[0]},
        {absl::StrCat("H_", half - 1, " ... H_0"), mean.forward_by_sublayer[half - 1]},
        {absl::StrCat("H_", last, " ... H_", half), mean.backward_by_sublayer[half]},
        {absl::StrCat("H_", last, " ... H_0"), mean.forward_by_sublayer[depth - 1]},
        {absl::StrCat("H_", last), mean.backward_by_sublayer[depth - 1]}};
    const Heading heading = {
        absl::StrCat("matrices-", run.name), absl::StrCat("Mean matrices: ", group.label),
        absl::StrCat("Of H_res and its products, mean over the tokens of step ", mean.step,
                     " of run ", run.name,
                     ".  Row i, column j: the weight of old stream j in new stream i.  Row sums "
                     "are the forward gain, column sums the backward gain.")};
    const Json figure = MatrixFigure(heading, matrices);
    figures->Asks(heading) ? figures->Add(figure) : figures->AddStub(figure);
  }
}

void AddSummary(const RunList& runs, FigureList* figures) {
  const Heading heading = {"summary", "Runs",
                           "As they stand; gains and gradient norm are the largest of all steps, "
                           "tokens per second the median, memory that of the first rank."};
  if (!figures->Asks(heading)) return figures->AddStub(TableFigure(heading, {}, {}));
  std::vector<Json> rows;
  const auto largest = [](const RunSeries& run, const char* key) {
    double most = kNan;
    const auto column = run.columns.find(key);
    if (column == run.columns.end()) return most;
    for (const double value : column->second) {
      if (!(value <= most) && std::isfinite(value)) most = value;
    }
    return most;
  };
  for (const RunSeries* each : runs) {
    const RunSeries& run = *each;
    double validation = kNan;
    if (const auto column = run.columns.find("validation_loss"); column != run.columns.end()) {
      for (const double value : column->second) {
        if (std::isfinite(value)) validation = value;
      }
    }
    Column speed;
    if (const auto column = run.columns.find("tokens_per_second"); column != run.columns.end()) {
      std::ranges::copy_if(column->second, std::back_inserter(speed),
                           [](double value) { return std::isfinite(value); });
    }
    const auto median = speed.begin() + static_cast<std::ptrdiff_t>(speed.size() / 2);
    std::ranges::nth_element(speed, median);
    rows.push_back({run.name, run.label, run.spec.training.seed, NumParameters(run.spec.model),
                    run.steps.empty() ? 0.0 : run.steps.back(), run.Last("loss"), validation,
                    largest(run, "grad_norm"), largest(run, "gain_forward"),
                    largest(run, "gain_backward"), speed.empty() ? kNan : *median, run.Last("mfu"),
                    run.Last("memory_bytes"), run.Last("skipped_total")});
  }
  figures->Add(
      TableFigure(heading,
                  {"run", "what", "seed", "parameters", "step", "loss", "validation loss",
                   "largest gradient norm", "largest forward gain", "largest backward gain",
                   "tokens per second", "MFU", "memory in bytes", "skipped steps"},
                  rows));
}

std::vector<Json> RunFigures(const RunList& runs, const FigureRequest& request) {
  FigureList figures(request);
  if (!runs.empty()) AddSummary(runs, &figures);
  for (const auto part :
       {AddStepFigures, AddDepthFigures, AddMatrixFigures, AddTimelineFigures, AddCostFigures}) {
    part(runs, &figures);
  }
  return figures.Take();
}

}  // namespace birkhoff
