// The figures of one or several runs, in the form of the paper's (arXiv 2512.24880): curves over
// steps (2 and 5), gains over depth (3 and 7), mean matrices (8), traffic (table 2) and memory of
// recomputation (table 3).
#pragma once

#include <vector>

#include "coordinator/page/figure.h"
#include "coordinator/page/run_series.h"

namespace birkhoff {

// All figures that the runs have the numbers for, in the order of a page.  Runs of one label are
// one line, their mean, with a band from the smallest to the largest; on a logarithmic axis the
// mean is the geometric one.  Needs labels (LabelRuns).
std::vector<Json> RunFigures(const std::vector<RunSeries>& runs);

// The parts of it.
std::vector<Json> StepFigures(const std::vector<RunSeries>& runs);
std::vector<Json> DepthFigures(const std::vector<RunSeries>& runs);
std::vector<Json> MatrixFigures(const std::vector<RunSeries>& runs);
// cost_figures.cc: what follows from the specs alone.
std::vector<Json> CostFigures(const std::vector<RunSeries>& runs);

// The figures over steps that leave the runs' last state in a table, one row for each run.
Json SummaryTable(const std::vector<RunSeries>& runs);

// Runs of one label, in the order of the runs.
struct RunGroup {
  std::string label;
  std::vector<const RunSeries*> runs;
};
std::vector<RunGroup> GroupRuns(const std::vector<RunSeries>& runs);

// The line of a group from each run's values over the x of the figure; `log`: of a logarithmic
// axis.
Line SpreadLine(const std::string& label, const std::vector<std::vector<double>>& values_by_run,
                bool log);

}  // namespace birkhoff
