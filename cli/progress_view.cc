// Formatting of steps.
#include "cli/progress_view.h"

#include <sys/ioctl.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace birkhoff {
namespace {

constexpr int kBarWidth = 24;
constexpr int64_t kPlainLines = 50;   // of a whole job without a terminal
constexpr double kSmoothing = 0.1;    // weight of the newest step in the ETA
constexpr char kClearLine[] = "\r\x1b[K";

}  // namespace

ProgressView::ProgressView(std::ostream& out, bool terminal, int width, int64_t total_steps)
    : out_(out), terminal_(terminal), width_(width), total_steps_(total_steps) {}

std::string ProgressView::Bar(int64_t step) const {
  const int64_t full = total_steps_ > 0 ? kBarWidth * step / total_steps_ : 0;
  const size_t done = static_cast<size_t>(std::clamp<int64_t>(full, 0, kBarWidth));
  return absl::StrCat("[", std::string(done, '#'), std::string(kBarWidth - done, '.'), "] ");
}

std::string ProgressView::Line(const StepReport& report) const {
  const double left = static_cast<double>(total_steps_ - report.step) * step_seconds_;
  std::string line = absl::StrFormat(
      "step %*d/%d  loss %.4f  grad %.3g  gain %.4g / %.4g  %s tok/s  ETA %s",
      static_cast<int>(absl::StrCat(total_steps_).size()), report.step, total_steps_, report.loss,
      report.grad_norm, report.gain.forward, report.gain.backward,
      ShortCount(report.tokens_per_second), ShortDuration(std::max(0.0, left)));
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
  step_seconds_ = steps_ == 1 ? report.step_seconds
                              : (1.0 - kSmoothing) * step_seconds_ +
                                    kSmoothing * report.step_seconds;
  last_ = report;
  const std::string line = Line(report);
  if (!terminal_) {
    if (IsDue(report)) out_ << line << "\n" << std::flush;
    return;
  }
  if (report.validation_loss || report.skipped) Say(line);
  const std::string live = Bar(report.step) + line;
  out_ << kClearLine << live.substr(0, static_cast<size_t>(std::max(20, width_ - 1))) << std::flush;
  open_ = true;
}

void ProgressView::Say(const std::string& line) {
  if (open_) out_ << kClearLine;
  open_ = false;
  out_ << line << "\n" << std::flush;
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
