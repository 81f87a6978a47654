// What one rank computes with: its stages and its optimizer, on the backend that its device and the
// plan's precision ask for.  All that is above knows neither.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "core/spec/job_spec.h"
#include "kernels/device.h"
#include "kernels/gemm_choices.h"
#include "worker/optimizer.h"
#include "worker/parameter_store.h"
#include "worker/stage.h"
#include "worker/step_state.h"

namespace birkhoff {

class RankModel {
 public:
  virtual ~RankModel() = default;
  virtual StageModule* stage(int stage) = 0;  // by plan stage; null: not of this rank
  virtual Optimizer& optimizer() = 0;
};

// All but `products` must outlive it.  Errors: INVALID_ARGUMENT the plan is for another processor
// than the device; what the backend says.
absl::StatusOr<std::unique_ptr<RankModel>> BuildRankModel(const Plan& plan, int rank,
                                                          const JobSpec& spec,
                                                          const ParameterStore& store,
                                                          StepState& state, Device& device,
                                                          const GemmChoices& products = {});

}  // namespace birkhoff
