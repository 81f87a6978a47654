// Where the plan's precision becomes a type.  Masters are fp32 in each; in bf16 the weights of
// products are looked up among the copies.
#include "worker/rank_model.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/plan/memory.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {
namespace {

const ParameterStore::Slot& SlotOf(const ParameterStore& store, const std::string& name) {
  const ParameterStore::Slot* slot = store.Find(name);
  BIRKHOFF_CHECK(slot != nullptr, name.c_str());
  return *slot;
}

Weight<float> MasterOf(const ParameterStore::Slot& slot) { return {slot.weight, slot.gradient}; }

template <typename T>
WeightLookup<T> LookupIn(const ParameterStore& store);
template <>
WeightLookup<float> LookupIn(const ParameterStore& store) {
  const auto master = [&store](const std::string& name) { return MasterOf(SlotOf(store, name)); };
  return {master, master};
}
template <>
WeightLookup<bf16> LookupIn(const ParameterStore& store) {
  return {[&store](const std::string& name) {
            const ParameterStore::Slot& slot = SlotOf(store, name);
            BIRKHOFF_CHECK(slot.copy != nullptr, "the plan has no bf16 copy of this parameter");
            return Weight<bf16>{slot.copy, slot.gradient};
          },
          [&store](const std::string& name) { return MasterOf(SlotOf(store, name)); }};
}

LayoutRequest RequestOf(const Plan& plan, int stage, const JobSpec& spec) {
  return {.model = spec.model,
          .units = plan.stages[stage].units,
          .recompute_block = plan.recompute_block,
          .tokens = plan.tokens_per_microbatch,
          .sequence_length = spec.training.sequence_length,
          .precision = plan.precision,
          .processor = plan.processor,
          .deterministic = plan.deterministic};
}

template <typename T>
class TypedModel final : public RankModel {
 public:
  explicit TypedModel(std::unique_ptr<Backend<T>> backend) : backend_(std::move(backend)) {}

  absl::Status Init(const Plan& plan, int rank, const JobSpec& spec, const ParameterStore& store,
                    StepState& state, Device& device) {
    stages_.resize(plan.NumStages());
    for (const int s : plan.ranks[rank].stages) {
      stages_[s] = std::make_unique<TransformerStage<T>>(
          RequestOf(plan, s, spec), LookupIn<T>(store), *backend_, state.share());
    }
    ASSIGN_OR_RETURN(optimizer_, NewOptimizer(spec, store, state, *backend_, device,
                                              BytesOf(plan.ranks[rank], kNormWorkspaceItem)));
    return absl::OkStatus();
  }
  StageModule* stage(int stage) override { return stages_[stage].get(); }
  Optimizer& optimizer() override { return *optimizer_; }

 private:
  const std::unique_ptr<Backend<T>> backend_;
  std::vector<std::unique_ptr<TransformerStage<T>>> stages_;
  std::unique_ptr<Optimizer> optimizer_;
};

template <typename T>
absl::StatusOr<std::unique_ptr<RankModel>> Build(const Plan& plan, int rank, const JobSpec& spec,
                                                 const ParameterStore& store, StepState& state,
                                                 Device& device) {
  ASSIGN_OR_RETURN(std::unique_ptr<Backend<T>> backend,
                   NewBackend<T>(device, {.deterministic = plan.deterministic}));
  auto model = std::make_unique<TypedModel<T>>(std::move(backend));
  RETURN_IF_ERROR(model->Init(plan, rank, spec, store, state, device));
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RankModel>> BuildRankModel(const Plan& plan, int rank,
                                                          const JobSpec& spec,
                                                          const ParameterStore& store,
                                                          StepState& state, Device& device) {
  if (plan.processor != device.processor()) {
    return absl::InvalidArgumentError(absl::StrCat("the plan is for ",
                                                   ProcessorName(plan.processor),
                                                   "; this worker's device is ", device.name()));
  }
  return plan.precision == Precision::kBf16 ? Build<bf16>(plan, rank, spec, store, state, device)
                                            : Build<float>(plan, rank, spec, store, state, device);
}

}  // namespace birkhoff
