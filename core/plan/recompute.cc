// What is in flight is counted from the saved buffers of the plan that stores everything.
#include "core/plan/recompute.h"

#include <algorithm>
#include <cmath>

#include "core/spec/model.h"
#include "core/spec/plan_size.h"

namespace birkhoff {
namespace {

constexpr int kReach = 4;  // neighbours on each side

int NumSubLayers(const JobSpec& spec, UnitRange units) {
  return std::min(units.last, NumUnits(spec.model) - 1) - std::max(units.first, 1);
}

int EstimatedBlock(const JobSpec& spec, const Plan& stored) {
  int64_t in_flight = 0;
  for (const RankPlan& rank : stored.ranks) {
    int64_t here = 0;
    for (const Buffer& buffer : rank.buffers) {
      if (buffer.home != Home::kSaved) continue;
      here += NumSubLayers(spec, stored.stages[buffer.stage].units);
    }
    in_flight = std::max(in_flight, here);
  }
  const double n = NumStreams(spec.model);
  return std::max(1, static_cast<int>(std::lround(std::sqrt(n * in_flight / (n + 2.0)))));
}

int LongestStage(const JobSpec& spec, const Plan& stored) {
  int longest = 0;
  for (const Stage& stage : stored.stages) {
    longest = std::max(longest, NumSubLayers(spec, stage.units));
  }
  return longest;
}

}  // namespace

std::vector<int> RecomputeBlocksToTry(const JobSpec& spec, const Plan& stored) {
  const int estimate = EstimatedBlock(spec, stored), longest = LongestStage(spec, stored);
  const int64_t affordable = kMostInstructions / std::max<int64_t>(1, EstimateInstructions(spec));
  std::vector<int> blocks = {estimate};
  for (int distance = 1; distance <= kReach; ++distance) {
    for (const int block : {estimate - distance, estimate + distance}) {
      const bool room = static_cast<int64_t>(blocks.size()) < affordable;
      if (block >= 1 && block <= longest && room) blocks.push_back(block);
    }
  }
  return blocks;
}

}  // namespace birkhoff
