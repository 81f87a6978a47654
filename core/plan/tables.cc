// Walks over the stages; ordered sets and maps give the rows an order of their own.
#include "core/plan/tables.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/alignment.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

void InsertSorted(std::vector<int>& values, int value) {
  const auto at = std::lower_bound(values.begin(), values.end(), value);
  if (at == values.end() || *at != value) values.insert(at, value);
}

// The parameters with their stages and holders, without buckets.
std::vector<PlannedParameter> CollectParameters(const ModelSpec& model,
                                                const std::vector<Stage>& stages) {
  std::vector<PlannedParameter> parameters;
  std::map<std::string, size_t> index_of;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    for (int unit = stages[stage].units.first; unit < stages[stage].units.last; ++unit) {
      for (const ParameterSpec& spec : ParametersOfUnit(model, unit)) {
        const auto [found, inserted] = index_of.emplace(spec.name, parameters.size());
        if (inserted) {
          parameters.emplace_back();
          parameters.back().spec = spec;
        }
        PlannedParameter& parameter = parameters[found->second];
        InsertSorted(parameter.stages, static_cast<int>(stage));
        for (const int rank : stages[stage].ranks) InsertSorted(parameter.ranks, rank);
      }
    }
  }
  return parameters;
}

}  // namespace

LayoutRequest RequestOf(const JobSpec& spec, const Plan& plan, int stage) {
  return {.model = spec.model,
          .units = plan.stages[stage].units,
          .recompute_block = plan.recompute_block,
          .tokens = plan.tokens_per_microbatch,
          .sequence_length = spec.training.sequence_length,
          .precision = plan.precision,
          .processor = plan.processor,
          .deterministic = plan.deterministic};
}

std::vector<StageLayout> MakeLayouts(const JobSpec& spec, const Plan& plan) {
  std::vector<StageLayout> layouts;
  for (int stage = 0; stage < plan.NumStages(); ++stage) {
    layouts.push_back(MakeStageLayout(RequestOf(spec, plan, stage)));
  }
  return layouts;
}

int64_t MessageBytes(const std::vector<MessagePart>& parts) {
  if (parts.empty()) return 0;
  const int64_t end = parts.back().offset + parts.back().bytes;
  return Aligned(end);
}

void PlaceParts(std::vector<MessagePart>* parts) {
  uint64_t end = 0;  // bytes of a damaged plan may be anything: the checker refuses them
  for (MessagePart& part : *parts) {
    part.offset = static_cast<int64_t>(end);
    end += Aligned(static_cast<uint64_t>(part.bytes));
  }
}

std::vector<MessagePart> PartsOf(ChannelKind kind, const ModelSpec& model, const Plan& plan) {
  const int64_t tokens = plan.tokens_per_microbatch;
  return kind == ChannelKind::kActivation ? ActivationParts(model, tokens, plan.precision)
                                          : GradientParts(model, tokens, plan.precision);
}

std::vector<Channel> MakeChannels(const ModelSpec& model, const Plan& plan) {
  const std::vector<Stage>& stages = plan.stages;
  std::set<std::tuple<int, int, int>> seen;
  for (size_t stage = 0; stage + 1 < stages.size(); ++stage) {
    for (size_t direction = 0; direction < stages[stage].ranks.size(); ++direction) {
      const int from = stages[stage].ranks[direction], to = stages[stage + 1].ranks[direction];
      if (from == to) continue;
      seen.insert({from, to, static_cast<int>(ChannelKind::kActivation)});
      seen.insert({to, from, static_cast<int>(ChannelKind::kGradient)});
    }
  }
  std::vector<Channel> channels;
  for (const auto& [source, destination, kind] : seen) {
    std::vector<MessagePart> parts = PartsOf(static_cast<ChannelKind>(kind), model, plan);
    const int64_t bytes = MessageBytes(parts);
    channels.push_back(
        {source, destination, static_cast<ChannelKind>(kind), bytes, std::move(parts)});
  }
  return channels;
}

void MakeParameterTable(const ModelSpec& model, Plan* plan) {
  plan->parameters = CollectParameters(model, plan->stages);
  // A bucket for each set of stages, numbered from the last stage on.
  const auto later_first = [](const std::vector<int>& a, const std::vector<int>& b) {
    return a > b;  // by first stage, descending
  };
  std::map<std::vector<int>, int, decltype(later_first)> bucket_of_stages(later_first);
  for (const PlannedParameter& parameter : plan->parameters) {
    bucket_of_stages.emplace(parameter.stages, 0);
  }
  int next = 0;
  for (auto& [stages, bucket] : bucket_of_stages) bucket = next++;
  // Every parameter into its bucket.
  plan->buckets.assign(next, {});
  for (size_t i = 0; i < plan->parameters.size(); ++i) {
    PlannedParameter& parameter = plan->parameters[i];
    parameter.bucket = bucket_of_stages.at(parameter.stages);
    plan->buckets[parameter.bucket].parameters.push_back(static_cast<int>(i));
    plan->buckets[parameter.bucket].ranks = parameter.ranks;
    if (parameter.spec.product) parameter.copy = StreamType(plan->precision);
  }
}

}  // namespace birkhoff
