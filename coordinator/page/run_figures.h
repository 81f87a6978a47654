// The figures of one or several runs, in the form of the paper's (arXiv 2512.24880): curves over
// steps (2 and 5), gains over depth (3 and 7), mean matrices (8), traffic (table 2) and memory of
// recomputation (table 3).
#pragma once

#include <vector>

#include "coordinator/page/figure.h"
#include "coordinator/page/run_series.h"

namespace birkhoff {

// Runs that somebody else holds.
using RunList = std::vector<const RunSeries*>;
RunList ListOf(const std::vector<RunSeries>& runs);

// All figures that the runs have the numbers for, in the order of a page; of those that are not
// asked for the headings alone.  Runs of one label are one line, their mean, with a band from the
// smallest to the largest; on a logarithmic axis the mean is the geometric one.  Needs labels
// (LabelRuns).
std::vector<Json> RunFigures(const RunList& runs, const FigureRequest& request = {});

// The parts of it.
void AddSummary(const RunList& runs, FigureList* figures);  // the runs' last state, a row for each
void AddStepFigures(const RunList& runs, FigureList* figures);
void AddDepthFigures(const RunList& runs, FigureList* figures);
void AddMatrixFigures(const RunList& runs, FigureList* figures);
// timeline_figures.cc: the pipeline of the last step that was traced, beside the plan's, of the
// first run of each label.
void AddTimelineFigures(const RunList& runs, FigureList* figures);
// cost_figures.cc: what follows from the specs alone.
void AddCostFigures(const RunList& runs, FigureList* figures);

// Runs of one label, in the order of the runs.
struct RunGroup {
  std::string label;
  RunList runs;
};
std::vector<RunGroup> GroupRuns(const RunList& runs);

// The line of a group from each run's values over the x of the figure; `log`: of a logarithmic
// axis.
Line SpreadLine(const std::string& label, const std::vector<std::vector<double>>& values_by_run,
                bool log);

}  // namespace birkhoff
