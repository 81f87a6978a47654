#include "core/plan/memory.h"

#include <algorithm>
#include <map>

#include "core/spec/step_share.h"
#include "core/spec/workspace.h"

namespace birkhoff {
namespace {

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

constexpr int64_t kMasterBytes = sizeof(float);  // masters, gradients and moments are fp32
constexpr int64_t kSnapshotTensors = 3;          // weight and both moments
constexpr int64_t kOwnShares = 2;                // the one that is added to, and its copy

int64_t ShareRowBytes(const ModelSpec& model) {
  return ShareLayout(model).length() * static_cast<int64_t>(sizeof(double));
}

// Sums `of` over the parameters that `keep` keeps.
template <typename Keep, typename Of>
int64_t Sum(const Plan& plan, Keep keep, Of of) {
  int64_t sum = 0;
  for (const PlannedParameter& parameter : plan.parameters) {
    if (keep(parameter)) sum += of(parameter);
  }
  return sum;
}

int64_t NumParameters(const Plan& plan, int rank) {
  return Sum(
      plan, [rank](const auto& parameter) { return HoldsParameter(parameter, rank); },
      [](const auto&) { return int64_t{1}; });
}

int64_t HeldElements(const Plan& plan, int rank) {
  return Sum(
      plan, [rank](const auto& parameter) { return HoldsParameter(parameter, rank); },
      [](const auto& parameter) { return parameter.spec.NumElements(); });
}

int64_t CopyBytes(const Plan& plan, int rank) {
  return CopyElements(plan, rank) * SizeOf(StreamType(plan.precision));
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

}  // namespace

int64_t PaddedBufferBytes(int64_t bytes) { return RoundUp(bytes, kMemoryAlignment); }
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

int64_t MasterElements(const Plan& plan, int rank) {
  return Sum(
      plan, [rank](const auto& parameter) { return HoldsParameter(parameter, rank); },
      [](const auto& parameter) { return PaddedMasterElements(parameter.spec.NumElements()); });
}

int64_t CopyElements(const Plan& plan, int rank) {
  return Sum(
      plan,
      [rank](const auto& parameter) {
        return HoldsParameter(parameter, rank) && HasCopy(parameter);
      },
      [](const auto& parameter) { return PaddedCopyElements(parameter.spec.NumElements()); });
}

int64_t OwnedElements(const Plan& plan, int rank) {
  return Sum(
      plan, [rank](const auto& parameter) { return OwnsParameter(parameter, rank); },
      [](const auto& parameter) { return parameter.spec.NumElements(); });
}

int64_t AccumulatorBytes(const ModelSpec& model, int world_size) {
  return ShareRowBytes(model) * (kOwnShares + world_size) + kStepScalarBytes;
}

int StepsInFlight(Processor processor) { return processor == Processor::kCuda ? 2 : 1; }

int64_t ShareBytes(const ModelSpec& model, int world_size) {
  return ShareRowBytes(model) * (1 + world_size);
}

int64_t AllReduceStagingBytes(const Plan& plan, int rank) {
  if (plan.processor != Processor::kCpu) return 0;
  std::map<std::vector<int>, int64_t> largest_of_copies;  // by holders
  int64_t largest = 0;
  for (const Bucket& bucket : plan.buckets) {
    if (std::find(bucket.ranks.begin(), bucket.ranks.end(), rank) == bucket.ranks.end()) continue;
    const int64_t elements = BucketElements(plan, bucket);
    largest = std::max(largest, elements);
    int64_t& of_copies = largest_of_copies[bucket.ranks];
    of_copies = std::max(of_copies, elements);
  }
  const auto staging = [](int64_t members, int64_t elements) {
    return members > 1 ? RoundUp(elements, members) * kMasterBytes : 0;
  };
  int64_t bytes = staging(plan.num_replicas, largest);
  for (const auto& [holders, elements] : largest_of_copies) {
    bytes += staging(static_cast<int64_t>(holders.size()), elements);
  }
  return bytes;
}

std::vector<MemoryItem> MemoryOfRank(const Plan& plan, const ModelSpec& model,
                                     const std::vector<StageLayout>& layouts, int rank) {
  const int world_size = plan.num_ranks * plan.num_replicas;
  const int64_t num_parameters = NumParameters(plan, rank);
  const int64_t masters = MasterElements(plan, rank) * kMasterBytes;
  const int64_t norm = NormWorkspaceBytes(plan.processor, num_parameters, HeldElements(plan, rank));
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
  on_device(kWeightCopiesItem, CopyBytes(plan, rank));
  on_device(kParameterTableItem, num_parameters * kParameterSpanBytes);
  on_device(kAccumulatorsItem, AccumulatorBytes(model, world_size));
  on_device(kNormWorkspaceItem, norm);
  on_host(kCheckpointSnapshotItem, OwnedElements(plan, rank) * kSnapshotTensors * kMasterBytes);
  const int in_flight = StepsInFlight(plan.processor);
  on_host(kTokenStagingItem, in_flight * TokenStagingBytes(plan, layouts, rank));
  on_host(kInitialValuesItem, kInitialValueBytes);
  on_host(kShareItem, in_flight * ShareBytes(model, world_size));
  on_host(kAllReduceStagingItem, AllReduceStagingBytes(plan, rank));
  return items;
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
