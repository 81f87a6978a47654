// Steps become rows by way of the JSON that metrics.jsonl has: one set of keys for both.
#include "coordinator/job_history.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace birkhoff {

std::string UpdateWords(const JobUpdate& update) {
  std::string words;
  const auto say = [&words](const auto&... parts) {
    absl::StrAppend(&words, words.empty() ? "" : "; ", parts...);
  };
  if (update.state) {
    const std::string& why = update.state->reason.sentence;
    say(JobStateName(update.state->state), why.empty() ? "" : ": ", why);
  }
  if (update.checkpoint) say("checkpoint of step ", update.checkpoint->step);
  if (update.placed) say("placed on ", update.placed->workers.size(), " workers");
  if (update.exited) say("rank ", update.exited->rank, " left: ", update.exited->reason);
  if (update.notice) say(update.notice->sentence);
  if (update.failed_checkpoint) {
    say("checkpoint of step ", update.failed_checkpoint->step, " failed on rank ",
        update.failed_checkpoint->rank, ": ", update.failed_checkpoint->reason);
  }
  return words;
}

JobHistory::JobHistory(const JobView& job) : create_time_(job.create_time) {
  series_.name = std::string(absl::StripPrefix(job.name, "jobs/"));
  series_.label = series_.name;
  series_.directory = job.output_directory;
  series_.spec = job.spec;
}

void JobHistory::Add(const JobUpdate& update) {
  seen_ = update.id;
  if (update.step && AddRow(StepReportToJson(*update.step), &series_)) {
    if (++depth_rows_ >= 2 * kMostDepthRows) FoldDepthRows();
  }
  awaits_trace_ |= update.checkpoint || update.placed || update.state;
  std::string words = UpdateWords(update);
  if (words.empty()) return;
  events_.push_back({update.time, update.attempt, std::move(words)});
  if (events_.size() > kMostEvents) events_.pop_front();
}

void JobHistory::SetTrace(StepTrace trace) {
  series_.trace = std::move(trace);
  awaits_trace_ = false;
}

// Of each two rows that are left the later takes the larger values, and the earlier is emptied.
void JobHistory::FoldDepthRows() {
  for (auto& [key, column] : series_.depth_columns) {
    std::vector<double>* earlier = nullptr;
    for (std::vector<double>& row : column) {
      if (row.empty()) continue;
      if (earlier == nullptr) {
        earlier = &row;
        continue;
      }
      for (size_t l = 0; l < std::min(row.size(), earlier->size()); ++l) {
        if (!(row[l] >= (*earlier)[l])) row[l] = (*earlier)[l];
      }
      std::vector<double>().swap(*earlier);
      earlier = nullptr;
    }
  }
  depth_rows_ /= 2;
}

}  // namespace birkhoff
