// The pipeline as it ran in one step, and as the plan has it: a panel each.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/page/run_figures.h"

namespace birkhoff {
namespace {

constexpr size_t kMostSpans = 4000;  // of a panel; of more, as of many small messages, the longest

Json PanelToJson(const StepTimeline& timeline, const std::string& what) {
  std::vector<TracedSpan> spans = timeline.spans;
  double length = 0.0;
  for (const TracedSpan& span : spans) length = std::max(length, span.end);
  if (spans.size() > kMostSpans) {
    const auto longer = [](const TracedSpan& a, const TracedSpan& b) {
      return a.end - a.start > b.end - b.start;
    };
    std::ranges::nth_element(spans, spans.begin() + kMostSpans, longer);
    spans.resize(kMostSpans);
  }
  std::ranges::sort(spans, {}, [](const TracedSpan& s) { return std::pair(s.row, s.start); });
  Json panel = {{"label", absl::StrFormat("%s, %.4g ms", what, length)},
                {"length", length},
                {"rows", timeline.rows},
                {"spans", Json::array()}};
  for (TracedSpan& span : spans) {
    panel["spans"].push_back({span.row, span.start, span.end, span.op, std::move(span.words)});
  }
  return panel;
}

Json TimelineFigure(const Heading& heading, const StepTrace& trace) {
  Json figure = {{"id", FigureId(heading.id)},
                 {"type", "timeline"},
                 {"title", heading.title},
                 {"caption", heading.caption},
                 {"x_axis", {{"label", "milliseconds"}, {"log", false}}},
                 {"panels", Json::array()}};
  if (!trace.measured.spans.empty()) {
    figure["panels"].push_back(
        PanelToJson(trace.measured, absl::StrCat("Step ", trace.step, " as it ran")));
  }
  if (!trace.planned.spans.empty()) {
    figure["panels"].push_back(PanelToJson(trace.planned, "As planned"));
  }
  return figure;
}

}  // namespace

void AddTimelineFigures(const RunList& runs, FigureList* figures) {
  for (const RunGroup& group : GroupRuns(runs)) {
    const RunSeries& run = *group.runs[0];
    if (run.trace.measured.spans.empty() && run.trace.planned.spans.empty()) continue;
    const char* what =
        run.trace.measured.spans.empty()
            ? "What the plan expects of a step.  How one ran is read with the next checkpoint, "
              "where the run's directory can be read from here."
            : "Of the last step that was traced, from the start of each rank's program, and what "
              "the plan expects by its estimates.  Each is as wide as it is long.";
    const Heading heading = {absl::StrCat("timeline-", run.name),
                             absl::StrCat("Pipeline timeline: ", group.label),
                             absl::StrCat(what, "  Run ", run.name, ".")};
    const bool asked = figures->Asks(heading);
    asked ? figures->Add(TimelineFigure(heading, run.trace))
          : figures->AddStub(TimelineFigure(heading, {}));
  }
}

}  // namespace birkhoff
