// Time of units, transfers and collectives, measured or modelled: what partition and simulator
// weigh.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/plan/instruction.h"
#include "core/spec/card_rates.h"
#include "core/spec/cluster.h"
#include "core/spec/job_spec.h"
#include "core/spec/resolve.h"

namespace birkhoff {

// Nanoseconds for one micro-batch.
struct ComputeCost {
  int64_t forward = 0;
  int64_t backward_input = 0;
  int64_t backward_weight = 0;
  int64_t recompute = 0;

  int64_t Total() const { return forward + backward_input + backward_weight; }
};

// Where the cluster's card file has the job's shape: what was measured.  Else modelled:
// FLOPs of matrix products over the rate of the processor, plus the boundary's memory traffic over
// its memory's rate.  Products cost the same in forward, input gradient and weight gradient; the
// attention core has no weight gradient and costs 2.5 forwards backwards, the boundary 2.5.  The
// head forms its gradient with the loss: all its products and its softmax are in its forward, which
// for the evaluate program counts too much.
class CostModel {
 public:
  CostModel(const JobSpec& spec, const ClusterSpec& cluster, const Numerics& numerics = {});

  const ComputeCost& OfUnit(int unit) const { return units_[unit]; }
  ComputeCost OfUnits(UnitRange units) const;
  std::vector<int64_t> UnitTotals() const;

  int64_t TransferNs(int64_t bytes) const;                // one message: latency + bytes / rate
  int64_t CopyNs(int64_t bytes) const;                    // within a rank
  int64_t AllReduceNs(int64_t bytes, int members) const;  // 2 (p-1) steps, 2 (p-1)/p bytes each way
  // Of the step's end on one rank: the norm of its gradients (0 where it is not measured), and the
  // update of its weights.
  int64_t NormNs(int64_t elements) const;
  int64_t UpdateNs(int64_t elements) const;

 private:
  ComputeCost ModelUnit(const JobSpec& spec, int unit) const;
  static ComputeCost MeasuredUnit(const ModelSpec& model, const ShapeTimes& times, int unit);
  double BoundaryFlops(const ModelSpec& model) const;
  int64_t FlopsNs(double flops) const;
  int64_t Saturated(double seconds) const;  // in nanoseconds

  const double element_bytes_;  // of streams
  double flops_per_second_;
  double flops_per_byte_;  // machine balance: a byte moved costs as much as so many FLOPs
  double link_bytes_per_second_;
  double link_latency_seconds_;
  int64_t largest_ns_;  // no cost is above it: a step's sum stays far below 2^63
  std::optional<double> norm_ns_, update_ns_;  // of an element, where they were measured
  std::vector<ComputeCost> units_;
};

}  // namespace birkhoff
