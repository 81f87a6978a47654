// What a person sees of a running job.
#include "cli/progress_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

StepReport Report(int64_t step) {
  StepReport report;
  report.step = step;
  report.loss = 2.5;
  report.grad_norm = 0.75;
  report.step_seconds = 2.0;
  report.tokens_per_second = 12345;
  report.gain.forward = 1.0;
  report.gain.backward = 1.25;
  return report;
}

int64_t Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(ProgressViewTest, PlainLineHasEverything) {
  std::ostringstream out;
  ProgressView view(out, false, 80, 40);
  view.Step(Report(1));
  EXPECT_EQ(out.str(),
            "step  1/40  ETA 1m 18s  loss 2.5000  grad 0.75  gain 1 / 1.25  12.3 k tok/s\n");
}

TEST(ProgressViewTest, PlainLinesAreFewOnALongJobButMissNothingSpecial) {
  std::ostringstream out;
  ProgressView view(out, false, 80, 10000);
  for (int64_t step = 1; step <= 10000; ++step) {
    StepReport report = Report(step);
    if (step == 123) report.validation_loss = 3.25;
    if (step == 77) report.skipped = true;
    view.Step(report);
  }
  EXPECT_EQ(Lines(out.str()), 50 + 3);  // and the first step, the validation and the skipped step
  EXPECT_THAT(out.str(), HasSubstr("validation loss 3.2500\n"));
  EXPECT_THAT(out.str(), HasSubstr("skipped: not finite"));
  EXPECT_THAT(out.str(), HasSubstr("step 10000/10000"));
}

TEST(ProgressViewTest, SaysWhatWentWrongAndWhatThatMeans) {
  std::ostringstream out;
  ProgressView view(out, false, 80, 40);
  view.RankLeft(1, 2, "killed by signal 9");
  view.CheckpointFailed(1, 20, "out/checkpoints: No space left on device");
  EXPECT_EQ(
      out.str(),
      "rank 1 of attempt 2 left: killed by signal 9\n"
      "no checkpoint of step 20, rank 1 could not write it: out/checkpoints: No space left on "
      "device; training goes on, and what was committed before is kept\n");
}

TEST(ProgressViewTest, PlainOutputHasNoControlCharacters) {
  std::ostringstream out;
  ProgressView view(out, false, 80, 3);
  for (int64_t step = 1; step <= 3; ++step) view.Step(Report(step));
  view.Say("done");
  view.Close();
  EXPECT_THAT(out.str(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(out.str(), Not(HasSubstr("\r")));
}

TEST(ProgressViewTest, TerminalShowsOneLiveLineThatFits) {
  std::ostringstream out;
  ProgressView view(out, true, 60, 10);
  view.Step(Report(5));
  view.Step(Report(6));
  const std::string text = out.str();
  EXPECT_EQ(Lines(text), 0);
  EXPECT_THAT(text, HasSubstr("[###...] step  5/10"));
  const std::string last = text.substr(text.rfind("\x1b[K") + 3);
  EXPECT_LT(last.size(), 60u);
  view.Close();
  EXPECT_EQ(Lines(out.str()), 1);
}

TEST(ProgressViewTest, TerminalOf80ColumnsShowsEveryNumber) {
  std::ostringstream out;
  ProgressView view(out, true, 80, 100);
  view.Step(Report(5));
  const std::string line = out.str().substr(out.str().rfind("\x1b[K") + 3);
  EXPECT_EQ(line,
            "[......] step   5/100  ETA 3m 10s  loss 2.5000  grad 0.75  gain 1 / 1.25  12.3 ");
}

TEST(ProgressViewTest, WideTerminalHasAWideBar) {
  std::ostringstream out;
  ProgressView view(out, true, 200, 10);
  view.Step(Report(5));
  EXPECT_THAT(out.str(), HasSubstr("[############............] step  5/10"));
}

TEST(ProgressViewTest, TerminalKeepsValidationLines) {
  std::ostringstream out;
  ProgressView view(out, true, 200, 10);
  StepReport report = Report(5);
  report.validation_loss = 3.0;
  view.Step(report);
  view.Step(Report(6));
  EXPECT_EQ(Lines(out.str()), 1);
}

TEST(ProgressViewTest, RemembersTheLastStep) {
  std::ostringstream out;
  ProgressView view(out, false, 80, 10);
  EXPECT_EQ(view.last(), nullptr);
  view.Step(Report(3));
  ASSERT_NE(view.last(), nullptr);
  EXPECT_EQ(view.last()->step, 3);
}

}  // namespace
}  // namespace birkhoff
