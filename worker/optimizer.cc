#include "worker/optimizer.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/spec/lr_schedule.h"

namespace birkhoff {

GradientNorm AdamWOptimizer::OwnedNorm() const {
  GradientNorm norm;
  for (const ParameterStore::Slot& slot : store_.slots()) {
    if (!slot.owner) continue;
    const absl::Status status = cpu::AccumulateNorm(slot.gradient, slot.count, norm);
    BIRKHOFF_CHECK(status.ok(), status.ToString().c_str());
  }
  return norm;
}

void AdamWOptimizer::Apply(int64_t step, int64_t update, const Agreement& agreed) const {
  const OptimizerSpec& spec = spec_.optimizer;
  AdamWArgs args;
  args.lr = LearningRate(spec_.lr_schedule, spec.lr, spec_.training.steps, step);
  args.beta1 = spec.beta1;
  args.beta2 = spec.beta2;
  args.eps = spec.eps;
  args.step = update;
  args.clip_scale = agreed.clip_scale;
  args.skip = agreed.skip;
  for (const ParameterStore::Slot& slot : store_.slots()) {
    args.count = slot.count;
    args.weight = slot.weight;
    args.gradient = slot.gradient;
    args.first_moment = slot.first_moment;
    args.second_moment = slot.second_moment;
    args.weight_decay = slot.spec.decay ? spec.weight_decay : 0.0;
    const absl::Status status = cpu::AdamW(args);
    BIRKHOFF_CHECK(status.ok(), status.ToString().c_str());  // the spec has been validated
    std::fill(slot.gradient, slot.gradient + slot.count, 0.0f);
  }
}

}  // namespace birkhoff
