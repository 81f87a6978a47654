// The optimizer of one rank: AdamW over the parameters it holds, as agreed by all ranks.
#pragma once

#include <cstdint>

#include "core/spec/job_spec.h"
#include "kernels/adamw.h"
#include "worker/agree.h"
#include "worker/stage.h"

namespace birkhoff {

class AdamWOptimizer {
 public:
  // Both must outlive it.
  AdamWOptimizer(const JobSpec& spec, const ParameterStore& store) : spec_(spec), store_(store) {}

  // Of the gradients that this rank owns: over all ranks each logical parameter counts once.
  GradientNorm OwnedNorm() const;
  // Steps, or leaves the weights alone where agreed.skip; then clears the gradients.  `step` is
  // 0-based and counts skipped steps, `update` is 1-based and does not.
  void Apply(int64_t step, int64_t update, const Agreement& agreed) const;

 private:
  const JobSpec& spec_;
  const ParameterStore& store_;
};

}  // namespace birkhoff
