// A complete event ("ph" X, in microseconds) per instruction, and metadata events that name each
// rank and stream once.
#include "worker/trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/replay.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMicroseconds = 1e6;
double Microseconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-3; }

Json NameEvent(const char* what, int process, int thread, const std::string& name) {
  return {
      {"name", what}, {"ph", "M"}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

void AddRank(const Plan& plan, int64_t step, int global, std::span<const double> spans,
             const Replay& expected, Json& events) {
  events.push_back(
      NameEvent("process_name", global, 0, absl::StrCat("rank ", global, ", step ", step)));
  const int rank = global % plan.num_ranks;
  const std::vector<Instruction>& train = plan.ranks[rank].train;
  std::vector<int> named;
  for (size_t i = 0; i < train.size(); ++i) {
    const int thread = QueueNumber(train[i]);
    if (std::find(named.begin(), named.end(), thread) == named.end()) {
      named.push_back(thread);
      events.push_back(NameEvent("thread_name", global, thread, QueueWords(plan, train[i])));
    }
    events.push_back({{"name", InstructionWords(train[i])},
                      {"cat", OpName(train[i].op)},
                      {"ph", "X"},
                      {"pid", global},
                      {"tid", thread},
                      {"ts", spans[2 * i] * kMicroseconds},
                      {"dur", (spans[2 * i + 1] - spans[2 * i]) * kMicroseconds},
                      {"args",
                       {{"instruction", i},
                        {"estimated_us", Microseconds(train[i].estimated_ns)},
                        {"planned_start_us", Microseconds(expected.start_ns[rank][i])},
                        {"planned_end_us", Microseconds(expected.end_ns[rank][i])}}}});
  }
}

}  // namespace

int64_t TraceLength(const Plan& plan) {
  size_t longest = 0;
  for (const RankPlan& rank : plan.ranks) longest = std::max(longest, rank.train.size());
  return 2 * static_cast<int64_t>(longest);
}

void PackTimes(const std::vector<InstructionTime>& times, std::span<double> out) {
  std::fill(out.begin(), out.end(), 0.0);
  int64_t first = times.empty() ? 0 : times.front().start_ns;
  for (const InstructionTime& time : times) first = std::min(first, time.start_ns);
  for (size_t i = 0; i < times.size(); ++i) {
    out[2 * i] = static_cast<double>(times[i].start_ns - first) * 1e-9;
    out[2 * i + 1] = static_cast<double>(times[i].end_ns - first) * 1e-9;
  }
}

std::string TraceToJson(const Plan& plan, int64_t step, std::span<const double> spans) {
  Json events = Json::array();
  const int64_t length = TraceLength(plan);
  const Replay expected = ReplayProgram(plan, &RankPlan::train);
  for (int global = 0; global < plan.num_ranks * plan.num_replicas; ++global) {
    AddRank(plan, step, global, spans.subspan(global * length, length), expected, events);
  }
  const Json trace = {{"displayTimeUnit", "ms"},
                      {"otherData", {{"step", step}}},
                      {"traceEvents", std::move(events)}};
  return trace.dump();
}

absl::Status WriteTrace(Disk& disk, const std::string& directory, const std::string& json) {
  return ReplaceFile(disk, absl::StrCat(directory, "/trace.json"), json);
}

}  // namespace birkhoff
