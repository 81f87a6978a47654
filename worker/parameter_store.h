// The parameters of one rank: masters, gradients and moments in fp32, and the copies that products
// read where they compute in another type.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "core/spec/job_spec.h"
#include "kernels/device.h"
#include "kernels/types.h"

namespace birkhoff {

// By logical parameter: one slot per rank, also when two of its stages use it.
class ParameterStore {
 public:
  struct Slot {
    ParameterSpec spec;
    int index = 0;  // into Plan::parameters
    DevicePtr<float> weight;
    DevicePtr<bf16> copy;  // null: products read the master
    DevicePtr<float> gradient;
    DevicePtr<float> first_moment;
    DevicePtr<float> second_moment;
    int64_t count = 0;
    bool owner = false;  // writes it to checkpoints and counts its norm
    int bucket = 0;
  };
  // Allocates for pipeline rank `rank` of `plan`; weights are initialised from (seed, name), the
  // rest is zero; copies are the caller's to round (Optimizer::RoundWeights).  Slots are contiguous
  // in memory by bucket, in ascending bucket order.
  static absl::StatusOr<std::unique_ptr<ParameterStore>> Create(const Plan& plan, int rank,
                                                                int replica, const JobSpec& spec,
                                                                Device& device);
  const std::vector<Slot>& slots() const { return slots_; }
  const Slot* Find(const std::string& name) const;

  // The gradients of one bucket: contiguous.
  struct Span {
    DevicePtr<float> data;
    int64_t count = 0;
  };
  Span BucketGradients(int bucket) const;

 private:
  ParameterStore() = default;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  std::vector<Slot> slots_;
};

}  // namespace birkhoff
