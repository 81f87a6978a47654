// Events of Chrome's trace format, and instructions of a plan, become rows and spans.
#include "coordinator/page/step_trace.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/plan/ops.h"
#include "core/plan/replay.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

using ParsedJson = nlohmann::json;

// What stands under a key, or what a thing without that key has.
std::string TextAt(const ParsedJson& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>() : "";
}
double NumberAt(const ParsedJson& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_number() ? value->get<double>() : NAN;
}
const ParsedJson& ObjectAt(const ParsedJson& json, const char* key) {
  static const auto* const none = new ParsedJson(ParsedJson::object());
  const auto value = json.find(key);
  return value != json.end() && value->is_object() ? *value : *none;
}

bool TakesTime(const OpInfo* op) { return op != nullptr && op->kind != OpKind::kMark; }

// Rows in the order of (rank, queue), whatever the order in which they are met.
class TimelineBuilder {
 public:
  using Place = std::pair<size_t, int64_t>;  // rank and queue

  void NameRow(Place place, std::string words) { names_[place] = std::move(words); }
  void Add(Place place, TracedSpan span) {
    if (span.end >= span.start && span.start >= 0.0) spans_[place].push_back(std::move(span));
  }
  StepTimeline Take() {
    StepTimeline timeline;
    for (auto& [place, spans] : spans_) {
      for (TracedSpan& span : spans) {
        span.row = timeline.rows.size();
        timeline.spans.push_back(std::move(span));
      }
      timeline.rows.push_back(absl::StrCat("rank ", place.first, " ", names_[place]));
    }
    return timeline;
  }

 private:
  std::map<Place, std::string> names_;
  std::map<Place, std::vector<TracedSpan>> spans_;
};

void AddEvent(const ParsedJson& event, TimelineBuilder* measured, TimelineBuilder* planned) {
  if (!event.is_object()) return;
  const double rank = NumberAt(event, "pid"), queue = NumberAt(event, "tid");
  constexpr double kMostIds = 1e6;
  if (!(rank >= 0.0 && rank < kMostIds && queue >= 0.0 && queue < kMostIds)) return;
  const TimelineBuilder::Place place = {static_cast<size_t>(rank), static_cast<int64_t>(queue)};
  const ParsedJson& args = ObjectAt(event, "args");
  if (TextAt(event, "name") == "thread_name") {
    measured->NameRow(place, TextAt(args, "name"));
    planned->NameRow(place, TextAt(args, "name"));
  }
  TracedSpan span = {.op = TextAt(event, "cat"), .words = TextAt(event, "name")};
  if (TextAt(event, "ph") != "X" || !TakesTime(FindOp(span.op))) return;
  const double start = NumberAt(event, "ts");
  span.start = start * 1e-3;
  span.end = (start + NumberAt(event, "dur")) * 1e-3;
  measured->Add(place, span);
  span.start = NumberAt(args, "planned_start_us") * 1e-3;
  span.end = NumberAt(args, "planned_end_us") * 1e-3;
  planned->Add(place, std::move(span));
}

}  // namespace

StepTrace ParseTrace(std::string_view text) {
  const ParsedJson json = ParsedJson::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  const auto events = json.find("traceEvents");
  const double step = NumberAt(ObjectAt(json, "otherData"), "step");
  constexpr double kMostSteps = 1e15;
  if (events == json.end() || !events->is_array() || !(step >= 0.0 && step < kMostSteps)) return {};
  TimelineBuilder measured, planned;
  for (const ParsedJson& event : *events) AddEvent(event, &measured, &planned);
  return {static_cast<int64_t>(step), measured.Take(), planned.Take()};
}

StepTrace PlannedTrace(const Plan& plan) {
  const Replay replay = ReplayProgram(plan, &RankPlan::train);
  if (!replay.complete) return {};
  TimelineBuilder planned;
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const std::vector<Instruction>& train = plan.ranks[rank].train;
    for (size_t i = 0; i < train.size(); ++i) {
      if (!TakesTime(&InfoOf(train[i].op))) continue;
      const TimelineBuilder::Place place = {rank, QueueNumber(train[i])};
      planned.NameRow(place, QueueWords(plan, train[i]));
      planned.Add(place, {.start = static_cast<double>(replay.start_ns[rank][i]) * 1e-6,
                          .end = static_cast<double>(replay.end_ns[rank][i]) * 1e-6,
                          .op = OpName(train[i].op),
                          .words = InstructionWords(train[i])});
    }
  }
  return {0, {}, planned.Take()};
}

}  // namespace birkhoff
