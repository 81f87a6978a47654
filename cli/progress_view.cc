// The live lines are written over in place and hold what fits the terminal's width; without a
// terminal about fifty lines stand for the whole job.
#include "cli/progress_view.h"

#include <sys/ioctl.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/printable.h"

namespace birkhoff {
namespace {

constexpr int kNarrowestBar = 6, kWidestBar = 24;
constexpr int64_t kPlainLines = 50;  // of a whole job without a terminal
constexpr int kWidestSparkline = 40;
constexpr int kNarrowest = 20;  // a terminal, or what is believed of one

int Length(const std::string& text) { return static_cast<int>(text.size()); }

// Something to show, and how much it matters: those with the largest numbers go first where a line
// is too long.
struct Item {
  int priority;
  std::string text;
};

// The items that fit into `columns`, in their order; of the last one as much as does.
std::string Fitting(std::vector<Item> items, int columns) {
  const auto line = [&] {
    return absl::StrJoin(items, "  ",
                         [](std::string* out, const Item& item) { out->append(item.text); });
  };
  while (items.size() > 1 && Length(line()) > columns) {
    items.erase(std::ranges::max_element(items, {}, &Item::priority));
  }
  return line().substr(0, static_cast<size_t>(columns));
}

// "1 / 1.25": forward and backward.
std::string Gains(const GainReport& gain) {
  return absl::StrFormat("%.4g / %.4g", gain.forward, gain.backward);
}

}  // namespace

ProgressView::ProgressView(const Options& options, const JobSpec& spec)
    : options_(options),
      total_steps_(spec.training.steps),
      time_left_(spec),
      last_time_(options.start),
      now_(options.start) {}

absl::Duration ProgressView::LeftNow() const {
  return std::max(absl::ZeroDuration(), time_left_.Left() - (now_ - last_time_));
}

std::string ProgressView::PlainLine() const {
  std::string line =
      absl::StrFormat("step %*d/%d  ETA %s  loss %.4f  grad %.3g  gain %s  %s tok/s",
                      static_cast<int>(absl::StrCat(total_steps_).size()), last_.step, total_steps_,
                      ShortDuration(absl::ToDoubleSeconds(LeftNow())), last_.loss, last_.grad_norm,
                      Gains(last_.gain), ShortCount(last_.tokens_per_second));
  if (last_.validation_loss) {
    absl::StrAppend(&line, absl::StrFormat("  validation loss %.4f", *last_.validation_loss));
  }
  if (last_.skipped) {
    absl::StrAppend(&line, "  skipped: not finite (", last_.skipped_total, " so far)");
  }
  return line;
}

std::string ProgressView::Progress(int columns) const {
  const auto seconds = [](absl::Duration d) { return ShortDuration(absl::ToDoubleSeconds(d)); };
  std::vector<Item> items = {
      {0, absl::StrFormat("step %*d/%d", static_cast<int>(absl::StrCat(total_steps_).size()),
                          last_.step, total_steps_)},
      {1, "ETA " + seconds(LeftNow())},
      {3, "elapsed " + seconds(now_ - options_.start)},
      {2, ShortCount(last_.tokens_per_second) + " tok/s"}};
  if (last_.memory_bytes > 0) {
    items.push_back({4, ShortBytes(static_cast<double>(last_.memory_bytes))});
  }
  const std::string line = Fitting(std::move(items), columns);
  return Bar(columns - Length(line)) + line;
}

std::string ProgressView::Numbers(int columns) const {
  std::vector<Item> items = {{0, absl::StrFormat("loss %.4f", last_.loss)}};
  if (validation_loss_ > 0.0) items.push_back({2, absl::StrFormat("val %.4f", validation_loss_)});
  items.push_back({1, "gain " + Gains(last_.gain)});
  items.push_back({3, absl::StrFormat("grad %.3g", last_.grad_norm)});
  items.push_back({5, absl::StrFormat("lr %.3g", last_.lr)});
  if (checkpoint_ > 0) items.push_back({4, absl::StrCat("checkpoint ", checkpoint_)});
  return Fitting(std::move(items), columns);
}

std::string ProgressView::Bar(int columns) const {
  const int width = std::min(columns - Length("[] "), kWidestBar);
  if (width < kNarrowestBar || total_steps_ <= 0) return "";
  const auto done = static_cast<size_t>(
      std::clamp<int64_t>(width * last_.step / total_steps_, 0, int64_t{width}));
  return absl::StrCat("[", std::string(done, '#'),
                      std::string(static_cast<size_t>(width) - done, '.'), "] ");
}

bool ProgressView::IsDue() const {
  const int64_t interval = std::max<int64_t>(1, total_steps_ / kPlainLines);
  return steps_ == 1 || last_.step % interval == 0 || last_.step == total_steps_ ||
         last_.validation_loss || last_.skipped;
}

void ProgressView::Step(const StepReport& report, absl::Time time) {
  ++steps_;
  time_left_.Step(report, time);
  curve_.Add(report.loss);
  tokens_ += report.tokens;
  seconds_ += report.step_seconds;
  if (report.validation_loss) validation_loss_ = *report.validation_loss;
  last_ = report;
  now_ = last_time_ = time;
  if (!options_.terminal) {
    if (IsDue()) *options_.out << PlainLine() << "\n" << std::flush;
    return;
  }
  if (report.validation_loss) {
    Say(absl::StrFormat("step %d: validation loss %.4f", report.step, *report.validation_loss));
  }
  if (report.skipped) {
    Say(absl::StrCat("step ", report.step, " skipped: not finite (", report.skipped_total,
                     " so far)"));
  }
  Draw();
}

void ProgressView::Tick(absl::Time now) {
  now_ = std::max(now_, now);
  const int64_t second = absl::ToInt64Seconds(now_ - options_.start);
  if (drawn_.empty() || (second == drawn_second_ && options_.width() == drawn_width_)) return;
  Draw();
}

void ProgressView::Draw() {
  const int width = std::max(kNarrowest, options_.width());
  Erase(width);
  // One column stays free, or the terminal would wrap.
  const std::string progress = Progress(width - 1), numbers = Numbers(width - 1);
  *options_.out << progress << "\n" << numbers << std::flush;
  drawn_ = {progress.size(), numbers.size()};
  drawn_width_ = options_.width();
  drawn_second_ = absl::ToInt64Seconds(now_ - options_.start);
}

// A terminal that has become narrower has wrapped what stood there.
void ProgressView::Erase(int width) {
  if (drawn_.empty()) return;
  size_t rows = 0;
  for (const size_t length : drawn_) {
    rows +=
        std::max<size_t>(1, (length + static_cast<size_t>(width) - 1) / static_cast<size_t>(width));
  }
  *options_.out << "\r";
  if (rows > 1) *options_.out << "\x1b[" << rows - 1 << "A";
  *options_.out << "\x1b[J";
  drawn_.clear();
}

void ProgressView::Say(const std::string& line) {
  const bool live = !drawn_.empty();
  if (live) Erase(std::max(kNarrowest, options_.width()));
  *options_.out << Printable(line) << "\n" << std::flush;
  if (live) Draw();
}

// On a long job with many of them not each is worth a line; the live line has the last one.
void ProgressView::Committed(int64_t step) {
  checkpoint_ = step;
  if (said_ > 0 && step < said_ + total_steps_ / kPlainLines && step < total_steps_) return;
  said_ = step;
  Say(absl::StrCat("checkpoint of step ", step, " committed"));
}

void ProgressView::RankLeft(int rank, int attempt, const std::string& reason) {
  Say(absl::StrCat("rank ", rank, " of attempt ", attempt, " left: ", reason));
}

void ProgressView::CheckpointFailed(int rank, int64_t step, const std::string& reason) {
  Say(absl::StrCat("no checkpoint of step ", step, ", rank ", rank, " could not write it: ", reason,
                   "; training goes on, and what was committed before is kept"));
}

void ProgressView::Close() {
  if (!drawn_.empty()) *options_.out << "\n" << std::flush;
  drawn_.clear();
  if (steps_ > 1 && !curve_.empty()) Summarise();
}

void ProgressView::Summarise() {
  const std::string first = absl::StrFormat("loss %.4f ", curve_.first());
  const std::string last = absl::StrFormat(" %.4f", curve_.last());
  const int room =
      options_.terminal ? options_.width() - 1 - Length(first) - Length(last) : kWidestSparkline;
  *options_.out << first << curve_.Sparkline(std::min(room, kWidestSparkline), options_.unicode)
                << last;
  if (validation_loss_ > 0.0) *options_.out << absl::StrFormat("\nval  %.4f", validation_loss_);
  *options_.out << "\n"
                << steps_ << (steps_ == 1 ? " step" : " steps") << " in "
                << ShortDuration(absl::ToDoubleSeconds(now_ - options_.start));
  if (seconds_ > 0.0) {
    *options_.out << ", " << ShortCount(static_cast<double>(tokens_) / seconds_) << " tok/s";
  }
  *options_.out << "\n" << std::flush;
}

int TerminalWidth(int fd) {
  winsize size = {};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

}  // namespace birkhoff
