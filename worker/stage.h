// One stage of the model on one rank: the work behind forward, recompute and backward instructions.
// Knows no schedule and no device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/plan/plan.h"
#include "core/spec/footprint.h"
#include "kernels/device.h"
#include "worker/microbatch.h"

namespace birkhoff {

// The memory of one (stage, micro-batch), by Home; null where the instruction has no such buffer.
struct StageBuffers {
  DevicePtr<std::byte> at[kNumHomes] = {};
  MicrobatchShape batch = {};
  DevicePtr<std::byte> Of(Home home) const { return at[static_cast<int>(home)]; }
};

// kEvaluate: nothing is kept for a backward pass, gains are not summed.
enum class StageMode { kTrain, kEvaluate };

// All calls enqueue on `stream` and return at once; the buffers must stay until the stream has
// passed.  Calls for one stage must be ordered by the caller (one compute stream).  Parameter
// gradients are added to (+=), those of products from the second of a step on (StartGradients);
// buffers are assigned.  Losses and gains are added to the rank's
// share of the step (core/spec/step_share.h), which the stage was given.
class StageModule {
 public:
  virtual ~StageModule() = default;
  virtual const StageLayout& layout() const = 0;

  // The head forms loss and gradient together, a few rows of logits at a time: its gradients, of
  // parameters too, are scaled by 1 / `target_tokens` of the whole step.
  virtual void Forward(Stream& stream, const StageBuffers& buffers, StageMode mode,
                       int64_t target_tokens) = 0;
  // Rebuilds X and the norm outputs of one recompute block from its stored input, y and
  // coefficients.
  virtual void Recompute(Stream& stream, UnitRange block, const StageBuffers& buffers) = 0;
  // Input gradient of the units in `segment` (whole stage, or one recompute block with the stage's
  // embedding or head unit where it touches the stage's border).  Segments come in descending
  // order.  dX stands in kGradientOut between them.
  virtual void BackwardInput(Stream& stream, UnitRange segment, const StageBuffers& buffers) = 0;
  virtual void BackwardWeight(Stream& stream, UnitRange segment, const StageBuffers& buffers) = 0;
  virtual void Backward(Stream& stream, UnitRange segment, const StageBuffers& buffers) = 0;
  // What stands in the gradients has been used: the next call assigns those that AssignsGradient
  // (core/spec/model.h) names.  So from the beginning.
  virtual void StartGradients() = 0;
};

}  // namespace birkhoff
