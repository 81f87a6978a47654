// What a person sees of a running job: two live lines on a terminal, plain lines elsewhere, and a
// summary when it is over.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/console.h"
#include "cli/loss_curve.h"
#include "cli/time_left.h"
#include "core/protocol/step_report.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Not thread-safe.  Times are wall times of what happened, in order.
class ProgressView {
 public:
  struct Options {
    std::ostream* out = nullptr;
    bool terminal = false;  // whether `out` is one
    bool unicode = false;   // whether it shows more than ASCII
    // Columns of the terminal, asked at every turn: it may be resized.
    std::function<int()> width;
    absl::Time start;  // what the elapsed time counts from
  };
  ProgressView(const Options& options, const JobSpec& spec);

  void Step(const StepReport& report, absl::Time time);
  // Lines of their own: state changes, checkpoints, workers that left.
  void Say(const std::string& line);
  void Committed(int64_t step);
  void RankLeft(int rank, int attempt, const std::string& reason);
  void CheckpointFailed(int rank, int64_t step, const std::string& reason);
  // Between steps: times go on, and a terminal that was resized is drawn again.
  void Tick(absl::Time now);
  // Leaves the live lines behind, and says how it was.
  void Close();

 private:
  std::string PlainLine() const;
  std::string Progress(int columns) const;  // the first live line
  std::string Numbers(int columns) const;   // the second
  std::string Bar(int columns) const;       // empty where there is too little room
  bool IsDue() const;
  absl::Duration LeftNow() const;
  void Draw();
  void Erase(int width);
  void Summarise();

  const Options options_;
  const int64_t total_steps_;
  TimeLeft time_left_;
  LossCurve curve_;
  int64_t steps_ = 0;                  // seen so far
  int64_t checkpoint_ = 0, said_ = 0;  // steps of the last one committed, and of the last one said
  double validation_loss_ = 0.0;       // the last one; 0: none yet
  int64_t tokens_ = 0;                 // of the steps seen
  double seconds_ = 0.0;               // likewise
  StepReport last_;                    // with steps_ > 0
  absl::Time last_time_, now_;         // of the last step; of the last call
  std::vector<size_t> drawn_;          // lengths of the live lines that stand before the cursor
  int drawn_width_ = 0;                // of the terminal then
  int64_t drawn_second_ = -1;          // elapsed
};

// Columns of the terminal on `fd`, or 100.
int TerminalWidth(int fd);

}  // namespace birkhoff
