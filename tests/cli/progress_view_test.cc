// What a person sees of a running job: lines without a terminal, and the screens of terminals that
// are 120, 80 and 40 columns wide.
#include "cli/progress_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/cli/screen.h"

namespace birkhoff {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Screen;

// A step every two seconds, at a loss that falls.
StepReport Report(int64_t step) {
  StepReport report;
  report.step = step;
  report.loss = 1.5 + 4.0 / static_cast<double>(step);
  report.grad_norm = 0.75;
  report.lr = 0.003;
  report.tokens = 2048;
  report.step_seconds = 2.0;
  report.tokens_per_second = 1024;
  report.gain.forward = 1.0;
  report.gain.backward = 1.25;
  report.memory_bytes = 41'000'000;
  return report;
}

int64_t Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

class ProgressViewTest : public ::testing::Test {
 protected:
  ProgressView::Options Plain() {
    return {&out_, false, false, [this] { return width_; }, start_};
  }
  ProgressView::Options Terminal() {
    return {&out_, true, false, [this] { return width_; }, start_};
  }
  static JobSpec Spec(int64_t steps) {
    JobSpec spec;
    spec.training.steps = steps;
    spec.training.validation_interval = 0;
    return spec;
  }
  absl::Time TimeOf(int64_t step) const { return start_ + absl::Seconds(2 * step); }
  void Step(ProgressView& view, int64_t step) { view.Step(Report(step), TimeOf(step)); }

  // A job of 300 steps at step 150, after a validation and a checkpoint.
  void TrainHalf(ProgressView& view) {
    for (int64_t step = 1; step <= 150; ++step) {
      StepReport report = Report(step);
      if (step == 100) report.validation_loss = 2.61;
      view.Step(report, TimeOf(step));
      if (step == 100) view.Committed(100);
    }
  }
  std::string ScreenOf(int width) {
    width_ = width;
    ProgressView view(Terminal(), Spec(300));
    TrainHalf(view);
    Screen screen(width);
    screen.Write(out_.str());
    return screen.Text();
  }

  std::ostringstream out_;
  int width_ = 80;
  const absl::Time start_ = absl::FromUnixSeconds(1'000'000);
};

TEST_F(ProgressViewTest, PlainLineHasEverything) {
  ProgressView view(Plain(), Spec(40));
  Step(view, 1);
  Step(view, 2);
  EXPECT_THAT(out_.str(), EndsWith("step  2/40  ETA 1m 16s  loss 3.5000  grad 0.75  gain 1 / 1.25  "
                                   "1.02 k tok/s\n"));
}

TEST_F(ProgressViewTest, PlainLinesAreFewOnALongJobButMissNothingSpecial) {
  ProgressView view(Plain(), Spec(10000));
  for (int64_t step = 1; step <= 10000; ++step) {
    StepReport report = Report(step);
    if (step == 123) report.validation_loss = 3.25;
    if (step == 77) report.skipped = true;
    view.Step(report, TimeOf(step));
  }
  EXPECT_EQ(Lines(out_.str()), 50 + 3);  // and the first step, the validation and the skipped step
  EXPECT_THAT(out_.str(), HasSubstr("validation loss 3.2500\n"));
  EXPECT_THAT(out_.str(), HasSubstr("skipped: not finite"));
  EXPECT_THAT(out_.str(), HasSubstr("step 10000/10000"));
}

TEST_F(ProgressViewTest, SaysWhatWentWrongAndWhatThatMeans) {
  ProgressView view(Plain(), Spec(40));
  view.RankLeft(1, 2, "killed by signal 9");
  view.CheckpointFailed(1, 20, "out/checkpoints: No space left on device");
  EXPECT_EQ(
      out_.str(),
      "rank 1 of attempt 2 left: killed by signal 9\n"
      "no checkpoint of step 20, rank 1 could not write it: out/checkpoints: No space left on "
      "device; training goes on, and what was committed before is kept\n");
}

TEST_F(ProgressViewTest, PlainOutputHasNoControlCharacters) {
  ProgressView view(Plain(), Spec(3));
  for (int64_t step = 1; step <= 3; ++step) Step(view, step);
  view.Committed(3);
  view.Say("done");
  view.Tick(TimeOf(5));
  view.Close();
  EXPECT_THAT(out_.str(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("\r")));
}

TEST_F(ProgressViewTest, CheckpointsAreSaidButNotEachOfMany) {
  ProgressView view(Plain(), Spec(1000));
  for (int64_t step = 1; step <= 1000; ++step) view.Committed(step);
  EXPECT_THAT(out_.str(), HasSubstr("checkpoint of step 1 committed\n"));
  EXPECT_THAT(out_.str(), HasSubstr("checkpoint of step 1000 committed\n"));
  EXPECT_LE(Lines(out_.str()), 52);
}

// Screens: each row ends with '|' behind the last column.
TEST_F(ProgressViewTest, ScreenOf120Columns) {
  EXPECT_EQ("\n" + ScreenOf(120), R"(
step 100: validation loss 2.6100                                                                                        |
checkpoint of step 100 committed                                                                                        |
[############............] step 150/300  ETA 5m 00s  elapsed 5m 00s  1.02 k tok/s  41.0 MB                              |
loss 1.5267  val 2.6100  gain 1 / 1.25  grad 0.75  lr 0.003  checkpoint 100                                             |
)");
}

TEST_F(ProgressViewTest, ScreenOf80ColumnsHasEveryNumber) {
  EXPECT_EQ("\n" + ScreenOf(80), R"(
step 100: validation loss 2.6100                                                |
checkpoint of step 100 committed                                                |
[######.......] step 150/300  ETA 5m 00s  elapsed 5m 00s  1.02 k tok/s  41.0 MB |
loss 1.5267  val 2.6100  gain 1 / 1.25  grad 0.75  lr 0.003  checkpoint 100     |
)");
}

TEST_F(ProgressViewTest, ScreenOf40ColumnsDropsWhatMattersLeast) {
  EXPECT_EQ("\n" + ScreenOf(40), R"(
step 100: validation loss 2.6100        |
checkpoint of step 100 committed        |
step 150/300  ETA 5m 00s  1.02 k tok/s  |
loss 1.5267  val 2.6100  gain 1 / 1.25  |
)");
}

TEST_F(ProgressViewTest, FollowsATerminalThatIsResized) {
  ProgressView view(Terminal(), Spec(300));
  Screen screen(80);
  TrainHalf(view);
  screen.Write(out_.str());
  for (const int width : {40, 120, 80}) {
    width_ = width;
    screen.Resize(width);
    out_.str("");
    view.Tick(TimeOf(150));
    EXPECT_NE(out_.str(), "") << "drawn anew, although no second has passed";
    screen.Write(out_.str());
    out_.str("");
    ProgressView other(Terminal(), Spec(300));
    TrainHalf(other);
    Screen expected(width);
    expected.Write(out_.str());
    EXPECT_EQ(screen.Text(), expected.Text());
  }
}

TEST_F(ProgressViewTest, TimesGoOnBetweenSteps) {
  ProgressView view(Terminal(), Spec(300));
  TrainHalf(view);
  out_.str("");
  view.Tick(TimeOf(150) + absl::Milliseconds(400));
  EXPECT_EQ(out_.str(), "");
  view.Tick(TimeOf(150) + absl::Seconds(3));
  EXPECT_THAT(out_.str(), HasSubstr("ETA 4m 57s"));
  EXPECT_THAT(out_.str(), HasSubstr("elapsed 5m 03s"));
}

TEST_F(ProgressViewTest, LinesThatAreSaidStandAboveTheLiveOnes) {
  ProgressView view(Terminal(), Spec(300));
  Step(view, 1);
  view.Say("RUNNING");
  Step(view, 2);
  Screen screen(80);
  screen.Write(out_.str());
  EXPECT_EQ(Lines(screen.Text()), 3);
  EXPECT_THAT(screen.Text(), ::testing::StartsWith("RUNNING "));
  EXPECT_THAT(screen.Text(), HasSubstr("step   2/300"));
}

TEST_F(ProgressViewTest, EndsWithASummary) {
  ProgressView view(Plain(), Spec(150));
  TrainHalf(view);
  out_.str("");
  view.Close();
  EXPECT_EQ(out_.str(),
            "loss 5.5000 #-._____________________________________ 1.5267\n"
            "val  2.6100\n"
            "150 steps in 5m 00s, 1.02 k tok/s\n");
}

TEST_F(ProgressViewTest, ARunThatDidNothingHasNoSummary) {
  ProgressView view(Plain(), Spec(150));
  view.Close();
  EXPECT_EQ(out_.str(), "");
}

TEST(LossCurveTest, DrawsMeansFromTheLowestToTheHighest) {
  LossCurve curve;
  EXPECT_EQ(curve.Sparkline(10, true), "");
  for (int i = 8; i >= 1; --i) curve.Add(i);
  curve.Add(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(curve.Sparkline(10, true), "█▇▆▅▄▃▂▁");
  EXPECT_EQ(curve.Sparkline(8, false), "#*+=~-._");
  EXPECT_EQ(curve.Sparkline(4, true), "█▆▃▁");
  EXPECT_EQ(curve.Sparkline(0, true), "");
  EXPECT_EQ(curve.first(), 8);
  EXPECT_EQ(curve.last(), 1);
}

TEST(LossCurveTest, KeepsTheShapeOfALongRunInLittleMemory) {
  LossCurve curve;
  for (int i = 0; i < 100'000; ++i) curve.Add(i < 50'000 ? 2.0 : 1.0);
  EXPECT_EQ(curve.Sparkline(4, true), "██▁▁");
}

TEST(LossCurveTest, AFlatOneIsFlat) {
  LossCurve curve;
  for (int i = 0; i < 3; ++i) curve.Add(2.0);
  EXPECT_EQ(curve.Sparkline(3, true), "▁▁▁");
}

}  // namespace
}  // namespace birkhoff
