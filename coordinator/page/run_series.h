// What a run has measured, as columns by the keys of metrics.jsonl (docs/metrics.md): a key that is
// new there is a column here, and a picture, without a change.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/page/step_trace.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Values of one key, one per row; what is missing or null is NaN.
using Column = std::vector<double>;
// Of a key with one value per sub-layer: by row, then by sub-layer; rows without it are empty.
using DepthColumn = std::vector<std::vector<double>>;

// The token-mean composite matrices of one step (matrices.json), row-major; empty: none.
struct MeanMatrices {
  int64_t step = 0;
  int64_t streams = 0;
  std::vector<std::vector<double>> forward_by_sublayer;
  std::vector<std::vector<double>> backward_by_sublayer;
};

struct RunSeries {
  std::string name;       // of the run, for people; unique in a report
  std::string directory;  // where it was read
  std::string label;      // of what tells it from others; runs of one label differ by seed alone
  JobSpec spec;           // resolved
  Column steps;           // ascending
  std::map<std::string, Column> columns;
  std::map<std::string, DepthColumn> depth_columns;
  MeanMatrices matrices;
  StepTrace trace;

  // NaN where there is none.
  double Last(const std::string& key) const;
};

// Adds a row of metrics.jsonl; false, and nothing is added, where the line is none or its step is
// not above the last one's.
bool AddRow(std::string_view line, RunSeries* run);
// Adds every whole row of `text`; what is half written is left out.
void AddRows(std::string_view text, RunSeries* run);
// matrices.json; none where the text is none.
MeanMatrices ParseMatrices(std::string_view json);

// Whether runs that differ in this field are of two kinds: it is neither a name nor a seed, and
// changes more than speed.  The residual kind stands in every label and counts as none.
bool TellsRunsApart(const std::string& path);

// Sets the labels: the residual kind, and each field whose value is not that of most runs.  Not
// among them are the `unnamed` fields and those that tell no runs apart.
void LabelRuns(std::vector<RunSeries>* runs, const std::set<std::string>& unnamed = {});

}  // namespace birkhoff
