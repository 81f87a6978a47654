// One allocation of four equal regions: weights, gradients, first moments, second moments.  Inside
// a region slots follow each other by bucket, each padded to 64 bytes with zeros that stay zero.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "worker/stage.h"
#include "worker/transformer/initial_values.h"

namespace birkhoff {
namespace {

constexpr int64_t kSlotAlignment = 16;  // floats: 64 bytes
constexpr int kRegions = 4;

int64_t Padded(int64_t count) {
  return (count + kSlotAlignment - 1) / kSlotAlignment * kSlotAlignment;
}

// Indices of the parameters that `rank` holds, by ascending bucket, then index.
std::vector<int> HeldParameters(const Plan& plan, int rank) {
  std::vector<int> held;
  for (int i = 0; i < static_cast<int>(plan.parameters.size()); ++i) {
    const std::vector<int>& ranks = plan.parameters[i].ranks;
    if (std::find(ranks.begin(), ranks.end(), rank) != ranks.end()) held.push_back(i);
  }
  std::stable_sort(held.begin(), held.end(), [&plan](int a, int b) {
    return plan.parameters[a].bucket < plan.parameters[b].bucket;
  });
  return held;
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
  const std::vector<int> held = HeldParameters(plan, rank);
  int64_t region = 0;
  for (const int i : held) region += Padded(plan.parameters[i].spec.NumElements());

  std::unique_ptr<ParameterStore> store(new ParameterStore());
  const int64_t bytes = std::max<int64_t>(region, 1) * kRegions * int64_t{sizeof(float)};
  ASSIGN_OR_RETURN(store->memory_, device.Allocate(bytes));
  std::memset(store->memory_->data(), 0, bytes);
  float* next = reinterpret_cast<float*>(store->memory_->data());
  for (const int i : held) {
    const PlannedParameter& parameter = plan.parameters[i];
    Slot slot;
    slot.spec = parameter.spec;
    slot.index = i;
    slot.count = parameter.spec.NumElements();
    slot.weight = next;
    slot.gradient = next + region;
    slot.first_moment = next + 2 * region;
    slot.second_moment = next + 3 * region;
    slot.owner = replica == 0 && parameter.ranks.front() == rank;
    slot.bucket = parameter.bucket;
    const std::vector<double> values = InitialValues(spec.model, slot.spec, spec.training.seed);
    for (int64_t k = 0; k < slot.count; ++k) slot.weight[k] = static_cast<float>(values[k]);
    next += Padded(slot.count);
    store->slots_.push_back(std::move(slot));
  }
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
    span.count = slot.gradient + Padded(slot.count) - span.data;
  }
  return span;
}

}  // namespace birkhoff
