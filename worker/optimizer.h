// The end of a step on one rank: the norm of its gradients, the decision that all ranks take alike,
// and AdamW over the parameters it holds.  The host only enqueues: what is decided stays on the
// device (StepState).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "core/spec/job_spec.h"
#include "kernels/backend.h"
#include "worker/parameter_store.h"
#include "worker/step_state.h"

namespace birkhoff {

// An interface because there is one for each element type, which nobody above knows (rank_model.h).
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Of the gradients that this rank owns, into its share: over all ranks each logical parameter
  // counts once.
  virtual void AddNorm(Stream& stream) = 0;
  // From the gathered shares: clip scale, skip, and the update's number.
  virtual void Decide(Stream& stream) = 0;
  // Steps, or leaves the weights alone where that was decided; clears the gradients.
  virtual void Step(Stream& stream) = 0;
  // Rounds the masters into the copies that products read: after they were set by other means.
  virtual void RoundWeights(Stream& stream) = 0;
};

// All must outlive it.  Errors: RESOURCE_EXHAUSTED.
template <typename T>
absl::StatusOr<std::unique_ptr<Optimizer>> NewOptimizer(const JobSpec& spec,
                                                        const ParameterStore& store,
                                                        StepState& state, Backend<T>& backend,
                                                        Device& device,
                                                        int64_t norm_workspace_bytes);

}  // namespace birkhoff
