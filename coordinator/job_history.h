// What the live page shows of a job's past: its steps as columns, and its last events.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "coordinator/job_view.h"
#include "coordinator/page/run_series.h"

namespace birkhoff {

struct HistoryEvent {
  absl::Time time;
  int attempt = 0;
  std::string words;
};

// Not thread-safe.  Bounded: of very long jobs neighbouring rows of sub-layers are folded into the
// larger of each value; steps alone stay whole.
class JobHistory {
 public:
  static constexpr size_t kMostEvents = 200;
  static constexpr size_t kMostDepthRows = 4096;

  explicit JobHistory(const JobView& job);

  // Updates in the order of their ids.
  void Add(const JobUpdate& update);
  int64_t seen() const { return seen_; }  // the last one's id; 0: none

  // Another job of this name is another history.
  absl::Time create_time() const { return create_time_; }
  const RunSeries& series() const { return series_; }
  const std::deque<HistoryEvent>& events() const { return events_; }  // oldest first

  // Whether a new trace may lie in the job's directory, or there is a new plan, since the last
  // SetTrace.
  bool awaits_trace() const { return awaits_trace_; }
  void SetTrace(StepTrace trace);

 private:
  void FoldDepthRows();

  const absl::Time create_time_;
  RunSeries series_;  // label: the job's own name
  std::deque<HistoryEvent> events_;
  int64_t seen_ = 0;       // the last update
  size_t depth_rows_ = 0;  // that are not folded away
  bool awaits_trace_ = true;
};

// One update as a sentence; empty for a step.
std::string UpdateWords(const JobUpdate& update);

}  // namespace birkhoff
