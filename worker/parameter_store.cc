// Regions of equal form: weights, gradients, first moments, second moments, copies.  Inside a
// region slots follow each other by bucket, each padded to 64 bytes with zeros that stay zero.
#include "worker/parameter_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/memory.h"
#include "worker/transformer/initial_values.h"

namespace birkhoff {
namespace {

// Indices of the parameters that `rank` holds, by ascending bucket, then index.
std::vector<int> HeldParameters(const Plan& plan, int rank) {
  std::vector<int> held;
  for (int i = 0; i < static_cast<int>(plan.parameters.size()); ++i) {
    if (HoldsParameter(plan.parameters[i], rank)) held.push_back(i);
  }
  std::stable_sort(held.begin(), held.end(), [&plan](int a, int b) {
    return plan.parameters[a].bucket < plan.parameters[b].bucket;
  });
  return held;
}

// A region that starts as zeros; null where the plan has none.
absl::StatusOr<DevicePtr<std::byte>> AllocateRegion(
    Device& device, Stream& stream, const RankPlan& plan, const char* name,
    std::vector<std::unique_ptr<DeviceMemory>>* memory) {
  const int64_t bytes = BytesOf(plan, name);
  if (bytes == 0) return DevicePtr<std::byte>();
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceMemory> region, device.Allocate(bytes));
  const DevicePtr<std::byte> data = region->data();
  stream.Fill(data, std::byte{0}, bytes);
  memory->push_back(std::move(region));
  return data;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ParameterStore>> ParameterStore::Create(const Plan& plan, int rank,
                                                                       int replica,
                                                                       const JobSpec& spec,
                                                                       Device& device) {
  if (rank < 0 || rank >= plan.num_ranks || replica < 0 || replica >= plan.num_replicas) {
    return absl::InvalidArgumentError(absl::StrCat("parameter store: rank ", rank, " of replica ",
                                                   replica, "; the plan has ", plan.num_ranks,
                                                   " ranks and ", plan.num_replicas, " replicas"));
  }
  std::unique_ptr<ParameterStore> store(new ParameterStore());
  const std::unique_ptr<Stream> stream = device.NewStream("parameters");
  DevicePtr<std::byte> regions[5];
  const char* const names[5] = {kWeightsItem, kGradientsItem, kFirstMomentsItem, kSecondMomentsItem,
                                kWeightCopiesItem};
  for (int i = 0; i < 5; ++i) {
    ASSIGN_OR_RETURN(regions[i],
                     AllocateRegion(device, *stream, plan.ranks[rank], names[i], &store->memory_));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<HostMemory> staging,
                   device.AllocateHost(kInitialValueBytes));
  const std::span<float> chunk(reinterpret_cast<float*>(staging->data()),
                               kInitialValueBytes / sizeof(float));
  int64_t at = 0, copy_at = 0;  // elements
  for (const int i : HeldParameters(plan, rank)) {
    const PlannedParameter& parameter = plan.parameters[i];
    Slot slot;
    slot.spec = parameter.spec;
    slot.index = i;
    slot.count = parameter.spec.NumElements();
    slot.weight = regions[0].As<float>() + at;
    slot.gradient = regions[1].As<float>() + at;
    slot.first_moment = regions[2].As<float>() + at;
    slot.second_moment = regions[3].As<float>() + at;
    if (HasCopy(parameter)) {
      slot.copy = regions[4].As<bf16>() + copy_at;
      copy_at += PaddedCopyElements(slot.count);
    }
    slot.owner = replica == 0 && OwnsParameter(parameter, rank);
    slot.bucket = parameter.bucket;
    DevicePtr<float> next = slot.weight;
    FormInitialValues(spec.model, slot.spec, spec.training.seed, chunk,
                      [&](std::span<const float> values) {
                        const auto count = static_cast<int64_t>(values.size());
                        Upload(*stream, next, values.data(), count);
                        stream->Synchronize();  // the chunk is used again
                        next = next + count;
                      });
    at += PaddedMasterElements(slot.count);
    store->slots_.push_back(std::move(slot));
  }
  stream->Synchronize();
  return store;
}

const ParameterStore::Slot* ParameterStore::Find(const std::string& name) const {
  for (const Slot& slot : slots_) {
    if (slot.spec.name == name) return &slot;
  }
  return nullptr;
}

ParameterStore::Span ParameterStore::BucketGradients(int bucket) const {
  Span span;
  for (const Slot& slot : slots_) {
    if (slot.bucket != bucket) continue;
    if (span.data == nullptr) span.data = slot.gradient;
    span.count = slot.gradient - span.data + PaddedMasterElements(slot.count);
  }
  return span;
}

}  // namespace birkhoff
