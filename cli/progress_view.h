// What a person sees of a running job: one live line on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "cli/console.h"
#include "core/spec/step_report.h"

namespace birkhoff {

// Makes the live line of a terminal empty.
inline constexpr char kClearLine[] = "\r\x1b[K";

// Not thread-safe.
class ProgressView {
 public:
  // Writes to `out`; `terminal` is whether that is one.
  ProgressView(std::ostream& out, bool terminal, int width, int64_t total_steps);

  void Step(const StepReport& report);
  // A line of its own: state changes, checkpoints, workers that left.
  void Say(const std::string& line);
  void RankLeft(int rank, int attempt, const std::string& reason);
  void CheckpointFailed(int rank, int64_t step, const std::string& reason);
  void Close();  // leaves the live line behind

  const StepReport* last() const { return steps_ > 0 ? &last_ : nullptr; }

 private:
  std::string Line(const StepReport& report) const;
  // As wide as `columns` allow.
  std::string Bar(int64_t step, int64_t columns) const;
  bool IsDue(const StepReport& report) const;

  std::ostream& out_;
  const bool terminal_;
  const int width_;
  const int64_t total_steps_;
  int64_t steps_ = 0;          // seen so far
  bool open_ = false;          // a live line stands at the cursor
  double step_seconds_ = 0.0;  // smoothed, for the ETA
  StepReport last_;
};

// Columns of the terminal on `fd`, or 100.
int TerminalWidth(int fd);

}  // namespace birkhoff
