// The order of the proof: tables, buffers, each program by itself (check_rank.h), what only all
// ranks together show (messages, an end, slots), memory.  Each part trusts the parts before it.
#include "core/plan/check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/check_rank.h"
#include "core/plan/check_tables.h"
#include "core/plan/refusal.h"
#include "core/plan/replay.h"
#include "core/plan/tables.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

constexpr int kSlotsPerLink = 2;  // outstanding messages beyond stored inputs

std::string PlaceText(const Plan& plan, bool evaluates, const PlannedMessage& message) {
  const RankPlan& rank = plan.ranks[message.rank];
  return absl::StrCat("rank ", message.rank, " [", message.index, "] ",
                      InstructionToText((evaluates ? rank.evaluate : rank.train)[message.index]));
}

// The k-th send of every channel carries what the k-th receive takes.
absl::Status CheckTraffic(const Plan& plan, bool evaluates,
                          const std::vector<ChannelTraffic>& traffic) {
  for (size_t c = 0; c < traffic.size(); ++c) {
    const auto& sends = traffic[c].sends;
    const auto& receives = traffic[c].receives;
    const int step = plan.channels[c].kind == ChannelKind::kActivation ? 1 : -1;
    for (size_t k = 0; k < std::min(sends.size(), receives.size()); ++k) {
      if (sends[k].stage + step == receives[k].stage &&
          sends[k].microbatch == receives[k].microbatch) {
        continue;
      }
      return Refusal(plan, {receives[k].rank, evaluates, receives[k].index},
                     absl::StrCat("receive ", k, " of channel ", c, " meets another message: ",
                                  PlaceText(plan, evaluates, sends[k])));
    }
    if (sends.size() == receives.size()) continue;
    const bool extra_send = sends.size() > receives.size();
    const PlannedMessage& extra = extra_send ? sends[receives.size()] : receives[sends.size()];
    return Refusal(plan, {extra.rank, evaluates, extra.index},
                   absl::StrCat("nobody ", extra_send ? "receives" : "sends", " message ",
                                std::min(sends.size(), receives.size()), " of channel ", c));
  }
  return absl::OkStatus();
}

// No order of events hangs, even if every send waits for its receive.  Waits name earlier
// instructions, so the first of a rank that never ends was reached: something hangs by name.
absl::Status CheckEnds(const Plan& plan, bool evaluates) {
  const Replay replay = ReplayProgram(plan, evaluates ? &RankPlan::evaluate : &RankPlan::train);
  if (replay.complete) return absl::OkStatus();
  std::string all;
  for (const auto& [rank, index] : replay.hanging) {
    absl::StrAppend(&all, all.empty() ? "" : "; ", PlaceText(plan, evaluates, {rank, index, 0, 0}));
  }
  const auto& [rank, index] = replay.hanging.front();
  return Refusal(plan, {rank, evaluates, index},
                 absl::StrCat("never meets its peer; what hangs: ", all));
}

absl::Status CheckPrograms(const Plan& plan, const std::vector<StageLayout>& layouts,
                           bool evaluates, std::vector<int>* most_stored) {
  std::vector<ChannelTraffic> traffic(plan.channels.size());
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    RETURN_IF_ERROR(CheckRankProgram(plan, layouts, {rank, evaluates}, &traffic, most_stored));
  }
  RETURN_IF_ERROR(CheckTraffic(plan, evaluates, traffic));
  return CheckEnds(plan, evaluates);
}

bool ComesByChannel(const Plan& plan, int rank, ChannelKind kind) {
  return std::any_of(plan.channels.begin(), plan.channels.end(), [&](const Channel& channel) {
    return channel.destination == rank && channel.kind == kind;
  });
}

// At most two messages wait at a rank beyond the inputs that the backward pass needs anyway.
absl::Status CheckSlots(const Plan& plan, const std::vector<int>& most_stored) {
  for (int r = 0; r < plan.num_ranks; ++r) {
    std::vector<int> inputs(plan.stages.size()), gradients(plan.stages.size());
    for (const Buffer& buffer : plan.ranks[r].buffers) {
      if (buffer.home == Home::kInput) ++inputs[buffer.stage];
      if (buffer.home == Home::kGradientIn) ++gradients[buffer.stage];
    }
    for (const int stage : plan.ranks[r].stages) {
      const bool too_many_inputs = ComesByChannel(plan, r, ChannelKind::kActivation) &&
                                   inputs[stage] > most_stored[stage] + kSlotsPerLink;
      const bool too_many_gradients =
          ComesByChannel(plan, r, ChannelKind::kGradient) && gradients[stage] > kSlotsPerLink;
      if (!too_many_inputs && !too_many_gradients) continue;
      return TableRefusal(absl::StrCat("ranks[", r, "] stage ", stage),
                          absl::StrCat("has ", inputs[stage], " inputs and ", gradients[stage],
                                       " incoming gradients; needs at most ",
                                       most_stored[stage] + kSlotsPerLink, " and ", kSlotsPerLink));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPlan(const Plan& plan, const JobSpec& spec) {
  RETURN_IF_ERROR(CheckTables(plan, spec));
  const std::vector<StageLayout> layouts = MakeLayouts(spec, plan);
  RETURN_IF_ERROR(CheckBuffers(plan, layouts));
  std::vector<int> most_stored(plan.stages.size(), 0);
  RETURN_IF_ERROR(CheckPrograms(plan, layouts, /*evaluates=*/false, &most_stored));
  RETURN_IF_ERROR(CheckPrograms(plan, layouts, /*evaluates=*/true, &most_stored));
  RETURN_IF_ERROR(CheckSlots(plan, most_stored));
  return CheckMemory(plan, spec.model, layouts);
}

}  // namespace birkhoff
