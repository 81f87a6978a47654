// A function for each size; ListMemory alone knows the order of the list.
#include "core/plan/memory.h"

#include <algorithm>
#include <map>

#include "core/base/rounding.h"
#include "core/spec/step_share.h"
#include "core/spec/workspace.h"

namespace birkhoff {
namespace {

constexpr int64_t kMasterBytes = sizeof(float);  // masters, gradients and moments are fp32
constexpr int64_t kSnapshotTensors = 3;          // weight and both moments
constexpr int64_t kOwnShares = 2;                // the one that is added to, and its copy

int64_t ShareRowBytes(const ModelSpec& model) {
  return ShareLayout(model).length() * static_cast<int64_t>(sizeof(double));
}

int64_t TokenStagingBytes(const Plan& plan, const std::vector<StageLayout>& layouts, int rank) {
  const int64_t batches = std::max(plan.num_microbatches, plan.num_evaluation_microbatches);
  int64_t bytes = 0;
  for (const int stage : plan.ranks[rank].stages) {
    bytes += layouts[stage].BytesOf(Home::kBatch) * batches;
  }
  return bytes;
}

int64_t BucketElements(const Plan& plan, const Bucket& bucket) {
  int64_t elements = 0;
  for (const int index : bucket.parameters) {
    elements += PaddedMasterElements(plan.parameters[index].spec.NumElements());
  }
  return elements;
}

// Of the groups of more than one member through which each rank reduces: one over the replicas,
// one for each set of holders.
std::vector<int64_t> AllReduceStagingByRank(const Plan& plan) {
  std::vector<int64_t> bytes(plan.ranks.size());
  if (plan.processor != Processor::kCpu) return bytes;
  const auto staging = [](int64_t members, int64_t elements) {
    return members > 1 ? RoundUp(elements, members) * kMasterBytes : 0;
  };
  // The largest bucket of each group, in elements.
  std::map<std::vector<int>, int64_t> largest_of_copies;  // by holders
  std::vector<int64_t> largest(plan.ranks.size());
  for (const Bucket& bucket : plan.buckets) {
    const int64_t elements = BucketElements(plan, bucket);
    int64_t& of_copies = largest_of_copies[bucket.ranks];
    of_copies = std::max(of_copies, elements);
    for (const int rank : bucket.ranks) largest[rank] = std::max(largest[rank], elements);
  }
  // What both groups of a rank stage.
  for (size_t r = 0; r < bytes.size(); ++r) bytes[r] = staging(plan.num_replicas, largest[r]);
  for (const auto& [holders, elements] : largest_of_copies) {
    for (const int rank : holders) {
      bytes[rank] += staging(static_cast<int64_t>(holders.size()), elements);
    }
  }
  return bytes;
}

std::vector<MemoryItem> ListMemory(const Plan& plan, const ModelSpec& model,
                                   const std::vector<StageLayout>& layouts, int rank,
                                   const Holding& holding, int64_t all_reduce_staging) {
  const int world_size = plan.num_ranks * plan.num_replicas;
  const int64_t masters = holding.masters * kMasterBytes;
  const int64_t norm = NormWorkspaceBytes(plan.processor, holding.parameters, holding.elements);
  std::vector<MemoryItem> items;
  const auto add = [&items](const char* name, MemoryPlace place, int64_t bytes) {
    if (bytes > 0) items.push_back({name, place, bytes});
  };
  const auto on_device = [&add](const char* name, int64_t bytes) {
    add(name, MemoryPlace::kDevice, bytes);
  };
  const auto on_host = [&add](const char* name, int64_t bytes) {
    add(name, MemoryPlace::kHost, bytes);
  };
  on_device(kBuffersItem, ArenaBytes(plan.ranks[rank]));
  on_device(kWeightsItem, masters);
  on_device(kGradientsItem, masters);
  on_device(kFirstMomentsItem, masters);
  on_device(kSecondMomentsItem, masters);
  on_device(kWeightCopiesItem, holding.copies * SizeOf(StreamType(plan.precision)));
  on_device(kParameterTableItem, holding.parameters * kParameterSpanBytes);
  on_device(kAccumulatorsItem, AccumulatorBytes(model, world_size));
  on_device(kNormWorkspaceItem, norm);
  on_host(kCheckpointSnapshotItem, holding.owned * kSnapshotTensors * kMasterBytes);
  const int in_flight = StepsInFlight(plan.processor);
  on_host(kTokenStagingItem, in_flight * TokenStagingBytes(plan, layouts, rank));
  on_host(kInitialValuesItem, kInitialValueBytes);
  on_host(kShareItem, in_flight * ShareBytes(model, world_size));
  on_host(kAllReduceStagingItem, all_reduce_staging);
  return items;
}

}  // namespace

int64_t PaddedBufferBytes(int64_t bytes) { return Aligned(bytes); }
int64_t PaddedMasterElements(int64_t count) { return RoundUp(count, kMasterPadding); }
int64_t PaddedCopyElements(int64_t count) { return RoundUp(count, kCopyPadding); }

bool HasCopy(const PlannedParameter& parameter) { return parameter.copy != DType::kFloat32; }

bool HoldsParameter(const PlannedParameter& parameter, int rank) {
  return std::find(parameter.ranks.begin(), parameter.ranks.end(), rank) != parameter.ranks.end();
}

bool OwnsParameter(const PlannedParameter& parameter, int rank) {
  return !parameter.ranks.empty() && parameter.ranks.front() == rank;
}

int64_t ArenaBytes(const RankPlan& rank_plan) {
  int64_t bytes = 0;
  for (const Buffer& buffer : rank_plan.buffers) bytes += PaddedBufferBytes(buffer.bytes);
  return bytes;
}

std::vector<Holding> HoldingsByRank(const Plan& plan) {
  std::vector<Holding> holdings(plan.ranks.size());
  for (const PlannedParameter& parameter : plan.parameters) {
    const int64_t elements = parameter.spec.NumElements();
    for (const int rank : parameter.ranks) {
      Holding& holding = holdings[rank];
      ++holding.parameters;
      holding.elements += elements;
      holding.masters += PaddedMasterElements(elements);
      if (HasCopy(parameter)) holding.copies += PaddedCopyElements(elements);
      if (OwnsParameter(parameter, rank)) holding.owned += elements;
    }
  }
  return holdings;
}

int64_t AccumulatorBytes(const ModelSpec& model, int world_size) {
  return ShareRowBytes(model) * (kOwnShares + world_size) + kStepScalarBytes;
}

int StepsInFlight(Processor processor) { return processor == Processor::kCuda ? 2 : 1; }

int64_t ShareBytes(const ModelSpec& model, int world_size) {
  return ShareRowBytes(model) * (1 + world_size);
}

std::vector<std::vector<MemoryItem>> MemoryByRank(const Plan& plan, const ModelSpec& model,
                                                  const std::vector<StageLayout>& layouts) {
  const std::vector<Holding> holdings = HoldingsByRank(plan);
  const std::vector<int64_t> all_reduce = AllReduceStagingByRank(plan);
  std::vector<std::vector<MemoryItem>> memory;
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    memory.push_back(
        ListMemory(plan, model, layouts, static_cast<int>(r), holdings[r], all_reduce[r]));
  }
  return memory;
}

int64_t BytesOf(const RankPlan& rank_plan, const char* name) {
  for (const MemoryItem& item : rank_plan.memory) {
    if (item.name == name) return item.bytes;
  }
  return 0;
}

int64_t DeviceBytes(const RankPlan& rank_plan) {
  int64_t bytes = 0;
  for (const MemoryItem& item : rank_plan.memory) {
    if (item.place == MemoryPlace::kDevice) bytes += item.bytes;
  }
  return bytes;
}

int64_t HostBytes(const RankPlan& rank_plan) {
  int64_t bytes = 0;
  for (const MemoryItem& item : rank_plan.memory) {
    if (item.place == MemoryPlace::kHost) bytes += item.bytes;
  }
  return bytes;
}

int64_t WorkerBytes(const Plan& plan, const RankPlan& rank_plan) {
  const bool host_counts = plan.processor == Processor::kCpu;
  return DeviceBytes(rank_plan) + (host_counts ? HostBytes(rank_plan) : 0);
}

const char* MemoryPlaceName(MemoryPlace place) {
  return place == MemoryPlace::kDevice ? "device" : "host";
}

}  // namespace birkhoff
