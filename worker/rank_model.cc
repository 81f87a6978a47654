// Where the plan's precision becomes a type.
#include "worker/rank_model.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/memory.h"
#include "core/plan/tables.h"
#include "worker/transformer/transformer_stage.h"
#include "worker/weight_lookup.h"

namespace birkhoff {
namespace {

template <typename T>
class TypedModel final : public RankModel {
 public:
  explicit TypedModel(std::unique_ptr<Backend<T>> backend) : backend_(std::move(backend)) {}

  absl::Status Init(const Plan& plan, int rank, const JobSpec& spec, const ParameterStore& store,
                    StepState& state, Device& device) {
    if (device.processor() == Processor::kCuda) beside_ = std::make_unique<Beside>(device);
    stages_.resize(plan.NumStages());
    for (const int s : plan.ranks[rank].stages) {
      stages_[s] = std::make_unique<TransformerStage<T>>(
          RequestOf(spec, plan, s), LookupIn<T>(store), *backend_, state.share(), *beside_);
    }
    ASSIGN_OR_RETURN(optimizer_, NewOptimizer(spec, store, state, *backend_, device,
                                              BytesOf(plan.ranks[rank], kNormWorkspaceItem)));
    return absl::OkStatus();
  }
  StageModule* stage(int stage) override { return stages_[stage].get(); }
  Optimizer& optimizer() override { return *optimizer_; }

 private:
  const std::unique_ptr<Backend<T>> backend_;
  std::unique_ptr<Beside> beside_ = std::make_unique<Beside>();
  std::vector<std::unique_ptr<TransformerStage<T>>> stages_;
  std::unique_ptr<Optimizer> optimizer_;
};

template <typename T>
absl::StatusOr<std::unique_ptr<RankModel>> Build(const Plan& plan, int rank, const JobSpec& spec,
                                                 const ParameterStore& store, StepState& state,
                                                 Device& device, const GemmChoices& products) {
  BackendOptions options;
  options.deterministic = plan.deterministic;
  options.products = products;
  ASSIGN_OR_RETURN(std::unique_ptr<Backend<T>> backend, NewBackend<T>(device, options));
  auto model = std::make_unique<TypedModel<T>>(std::move(backend));
  RETURN_IF_ERROR(model->Init(plan, rank, spec, store, state, device));
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RankModel>> BuildRankModel(const Plan& plan, int rank,
                                                          const JobSpec& spec,
                                                          const ParameterStore& store,
                                                          StepState& state, Device& device,
                                                          const GemmChoices& products) {
  if (plan.processor != device.processor()) {
    return absl::InvalidArgumentError(absl::StrCat("the plan is for ",
                                                   ProcessorName(plan.processor),
                                                   "; this worker's device is ", device.name()));
  }
  return plan.precision == Precision::kBf16
             ? Build<bf16>(plan, rank, spec, store, state, device, products)
             : Build<float>(plan, rank, spec, store, state, device, products);
}

}  // namespace birkhoff
