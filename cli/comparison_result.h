// What a comparison has found: compare.json, and the figures that only it has.  docs/formats.md has
// the keys.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cli/comparison.h"
#include "cli/comparison_run.h"
#include "coordinator/page/figure.h"
#include "coordinator/page/run_series.h"

namespace birkhoff {

// Of one comparison: `runs`, `variants` and `series` are of the same length and order.
struct ComparisonResult {
  std::string name;
  std::vector<Sweep> sweeps;
  std::vector<Variant> variants;
  std::vector<ComparedRun> runs;
  std::vector<RunSeries> series;  // labelled
};

// As LabelRuns does, but a residual is called as it was asked for: wider, whatever its width came
// to, hc-no-post.
void LabelVariants(const ComparisonResult& result, std::set<std::string> unnamed,
                   std::vector<RunSeries>* series);

// Holds nothing of this machine or this time: the same comparison gives the same bytes, however
// often it was stopped or killed in between.
Json ComparisonToJson(const ComparisonResult& result);

// Mean and spread over seeds of each kind, and, for each sweep, losses and gains over its values;
// where it changes the work, over FLOPs too (figure 6 in form).
std::vector<Json> ComparisonFigures(const ComparisonResult& result);

}  // namespace birkhoff
