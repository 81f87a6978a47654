// One stage of the model on one rank: the work behind forward, recompute and backward instructions.
// Knows no schedule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/plan/plan.h"
#include "core/spec/footprint.h"
#include "worker/device.h"
#include "worker/microbatch.h"

namespace birkhoff {

// The memory of one (stage, micro-batch), by Home; null where the instruction has no such buffer.
struct StageBuffers {
  std::byte* at[kNumHomes] = {};
  std::byte* Of(Home home) const { return at[static_cast<int>(home)]; }
};

// Sums of one step over the micro-batches that this stage has seen, read by agree; all zero (and
// minima at +inf) after Reset.
struct StageSums {
  struct SubLayer {                  // one per sub-layer unit of the stage
    double composite_forward = 0.0;  // sum over tokens of the per-token gain
    double composite_backward = 0.0;
    double single_forward = 0.0;
    double single_backward = 0.0;
    // [n * n] sums over tokens of the composite matrices H_l ... H_0 and H_{L-1} ... H_l.
    std::vector<double> mean_forward, mean_backward;
    double row_sum_min = 0.0;  // +inf after Reset
    double column_sum_min = 0.0;
  };
  std::vector<SubLayer> sublayers;
  double loss = 0.0;  // sum over target tokens; head only
  int64_t target_tokens = 0;
};

enum class StageMode {
  kTrain,
  kEvaluate
};  // evaluate: nothing is kept for a backward pass, gains are not summed

// All calls enqueue on `stream` and return at once; the buffers must stay until the stream has
// passed.  Calls for one stage must be ordered by the caller (one compute stream).  Parameter
// gradients are added to (+=); buffers are assigned.
class StageModule {
 public:
  virtual ~StageModule() = default;
  virtual const StageLayout& layout() const = 0;

  virtual void Forward(Stream& stream, const StageBuffers& buffers, StageMode mode) = 0;
  // Rebuilds X and the norm outputs of one recompute block from its stored input, y and
  // coefficients.
  virtual void Recompute(Stream& stream, UnitRange block, const StageBuffers& buffers) = 0;
  // Input gradient of the units in `segment` (whole stage, or one recompute block with the stage's
  // embedding or head unit where it touches the stage's border).  Segments come in descending
  // order.  dX stands in kGradientOut between them. Loss gradients are scaled by 1 /
  // `target_tokens` of the whole step.
  virtual void BackwardInput(Stream& stream, UnitRange segment, const StageBuffers& buffers,
                             int64_t target_tokens) = 0;
  virtual void BackwardWeight(Stream& stream, UnitRange segment, const StageBuffers& buffers) = 0;
  virtual void Backward(Stream& stream, UnitRange segment, const StageBuffers& buffers,
                        int64_t target_tokens) = 0;

  // Reads with the stream idle.
  virtual const StageSums& sums() const = 0;
  virtual void ResetSums(Stream& stream) = 0;
};

// The weights and gradients of one rank by logical parameter: one copy per rank, also when two of
// its stages use it.
class ParameterStore {
 public:
  struct Slot {
    ParameterSpec spec;
    int index = 0;  // into Plan::parameters
    float* weight = nullptr;
    float* gradient = nullptr;
    float* first_moment = nullptr;
    float* second_moment = nullptr;
    int64_t count = 0;
    bool owner = false;  // writes it to checkpoints and counts its norm
    int bucket = 0;
  };
  // Allocates for pipeline rank `rank` of `plan`; weights are initialised from (seed, name), the
  // rest is zero. Slots are contiguous in memory by bucket, in ascending bucket order.
  static absl::StatusOr<std::unique_ptr<ParameterStore>> Create(const Plan& plan, int rank,
                                                                int replica, const JobSpec& spec,
                                                                Device& device);
  const std::vector<Slot>& slots() const { return slots_; }
  const Slot* Find(const std::string& name) const;

  // The gradients of one bucket: contiguous.
  struct Span {
    float* data = nullptr;
    int64_t count = 0;
  };
  Span BucketGradients(int bucket) const;

 private:
  ParameterStore() = default;
  std::unique_ptr<DeviceMemory> memory_;
  std::vector<Slot> slots_;
};

// The fp32 transformer stage on the CPU.  `store` must outlive it.
std::unique_ptr<StageModule> NewCpuStage(const LayoutRequest& request, const ParameterStore& store);

}  // namespace birkhoff
