// The live line is written over in place and cut to the terminal's width; without a terminal about
// fifty lines stand for the whole job.
#include "cli/progress_view.h"

#include <sys/ioctl.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/printable.h"

namespace birkhoff {
namespace {

constexpr int64_t kNarrowestBar = 6, kWidestBar = 24;
constexpr int64_t kPlainLines = 50;  // of a whole job without a terminal
constexpr double kSmoothing = 0.1;   // weight of the newest step in the ETA

}  // namespace

ProgressView::ProgressView(std::ostream& out, bool terminal, int width, int64_t total_steps)
    : out_(out), terminal_(terminal), width_(width), total_steps_(total_steps) {}

std::string ProgressView::Bar(int64_t step, int64_t columns) const {
  const int64_t width = std::clamp(columns - 3, kNarrowestBar, kWidestBar);
  const int64_t done =
      total_steps_ > 0 ? std::clamp(width * step / total_steps_, int64_t{0}, width) : 0;
  return absl::StrCat("[", std::string(static_cast<size_t>(done), '#'),
                      std::string(static_cast<size_t>(width - done), '.'), "] ");
}

std::string ProgressView::Line(const StepReport& report) const {
  const double left = static_cast<double>(total_steps_ - report.step) * step_seconds_;
  std::string line = absl::StrFormat(
      "step %*d/%d  ETA %s  loss %.4f  grad %.3g  gain %.4g / %.4g  %s tok/s",
      static_cast<int>(absl::StrCat(total_steps_).size()), report.step, total_steps_,
      ShortDuration(std::max(0.0, left)), report.loss, report.grad_norm, report.gain.forward,
      report.gain.backward, ShortCount(report.tokens_per_second));
  if (report.validation_loss) {
    absl::StrAppend(&line, absl::StrFormat("  validation loss %.4f", *report.validation_loss));
  }
  if (report.skipped) {
    absl::StrAppend(&line, "  skipped: not finite (", report.skipped_total, " so far)");
  }
  return line;
}

bool ProgressView::IsDue(const StepReport& report) const {
  const int64_t interval = std::max<int64_t>(1, total_steps_ / kPlainLines);
  return steps_ == 1 || report.step % interval == 0 || report.step == total_steps_ ||
         report.validation_loss || report.skipped;
}

void ProgressView::Step(const StepReport& report) {
  ++steps_;
  step_seconds_ = steps_ == 1
                      ? report.step_seconds
                      : (1.0 - kSmoothing) * step_seconds_ + kSmoothing * report.step_seconds;
  last_ = report;
  const std::string line = Line(report);
  if (!terminal_) {
    if (IsDue(report)) out_ << line << "\n" << std::flush;
    return;
  }
  if (report.validation_loss || report.skipped) Say(line);
  // What does not fit is cut, or the terminal would wrap and the line could not be overwritten.
  const size_t columns = static_cast<size_t>(std::max(20, width_ - 1));
  const std::string bar =
      Bar(report.step, static_cast<int64_t>(columns) - static_cast<int64_t>(line.size()));
  out_ << kClearLine << (bar + line).substr(0, columns) << std::flush;
  open_ = true;
}

void ProgressView::Say(const std::string& line) {
  if (open_) out_ << kClearLine;
  open_ = false;
  out_ << Printable(line) << "\n" << std::flush;
}

void ProgressView::RankLeft(int rank, int attempt, const std::string& reason) {
  Say(absl::StrCat("rank ", rank, " of attempt ", attempt, " left: ", reason));
}

void ProgressView::CheckpointFailed(int rank, int64_t step, const std::string& reason) {
  Say(absl::StrCat("no checkpoint of step ", step, ", rank ", rank, " could not write it: ", reason,
                   "; training goes on, and what was committed before is kept"));
}

void ProgressView::Close() {
  if (open_) out_ << "\n" << std::flush;
  open_ = false;
}

int TerminalWidth(int fd) {
  winsize size = {};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

}  // namespace birkhoff
