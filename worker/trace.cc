// A complete event ("ph" X, in microseconds) per instruction, and metadata events that name each
// rank and stream once.
#include "worker/trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/ops.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMicroseconds = 1e6;
constexpr int kFirstChannelThread = 10;  // after the StreamKinds

int ThreadOf(const Instruction& instruction) {
  return instruction.stream == StreamKind::kChannel ? kFirstChannelThread + instruction.channel
                                                    : static_cast<int>(instruction.stream);
}

std::string ThreadName(const Plan& plan, const Instruction& instruction) {
  if (instruction.stream != StreamKind::kChannel) return StreamName(instruction.stream);
  const Channel& channel = plan.channels[instruction.channel];
  const char* kind = channel.kind == ChannelKind::kActivation ? "activations" : "gradients";
  return absl::StrCat(kind, " ", channel.source, " to ", channel.destination);
}

std::string InstructionName(const Instruction& instruction) {
  std::string name = OpName(instruction.op);
  if (instruction.stage >= 0) absl::StrAppend(&name, " stage ", instruction.stage);
  if (instruction.microbatch >= 0) absl::StrAppend(&name, " micro-batch ", instruction.microbatch);
  if (instruction.bucket >= 0) absl::StrAppend(&name, " bucket ", instruction.bucket);
  return name;
}

Json NameEvent(const char* what, int process, int thread, const std::string& name) {
  return {
      {"name", what}, {"ph", "M"}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}};
}

void AddRank(const Plan& plan, int64_t step, int global, std::span<const double> spans,
             Json& events) {
  events.push_back(
      NameEvent("process_name", global, 0, absl::StrCat("rank ", global, ", step ", step)));
  const std::vector<Instruction>& train = plan.ranks[global % plan.num_ranks].train;
  std::vector<int> named;
  for (size_t i = 0; i < train.size(); ++i) {
    const int thread = ThreadOf(train[i]);
    if (std::find(named.begin(), named.end(), thread) == named.end()) {
      named.push_back(thread);
      events.push_back(NameEvent("thread_name", global, thread, ThreadName(plan, train[i])));
    }
    events.push_back({{"name", InstructionName(train[i])},
                      {"cat", OpName(train[i].op)},
                      {"ph", "X"},
                      {"pid", global},
                      {"tid", thread},
                      {"ts", spans[2 * i] * kMicroseconds},
                      {"dur", (spans[2 * i + 1] - spans[2 * i]) * kMicroseconds},
                      {"args",
                       {{"instruction", i},
                        {"estimated_us", static_cast<double>(train[i].estimated_ns) * 1e-3}}}});
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
  for (int global = 0; global < plan.num_ranks * plan.num_replicas; ++global) {
    AddRank(plan, step, global, spans.subspan(global * length, length), events);
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
