#include "core/plan/cost_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/spec/model.h"

namespace birkhoff {
namespace {

constexpr double kFlopsPerByte = 2.0;  // machine balance: a byte moved costs as much as 2 FLOPs
constexpr double kElementBytes = 4.0;  // fp32
constexpr double kNsPerSecond = 1.0e9;
constexpr double kBackwardFactor = 2.5;   // attention core and boundary: backward over forward
constexpr double kSoftmaxFlops = 10.0;    // per logit
constexpr double kForwardTraffic = 10.0;  // boundary forward: C-wide units of traffic at n = 4 ...
constexpr double kStreamsOfTraffic = 4.0;

// What stands between two sub-layers, per token, in FLOPs: its projection and its memory traffic.
double BoundaryFlops(const ModelSpec& model) {
  const double n = NumStreams(model), width = model.hidden_size;
  const double columns = model.residual.kind == ResidualKind::kMhc
                             ? 2.0 * n + NumResidualLogits(model)
                             : (model.residual.kind == ResidualKind::kHc ? 2.0 + n : 0.0);
  const double traffic = kForwardTraffic * n / kStreamsOfTraffic * width * kElementBytes;
  return 2.0 * n * width * columns + traffic * kFlopsPerByte;
}

}  // namespace

CostModel::CostModel(const JobSpec& spec, const ClusterSpec& cluster)
    : flops_per_second_(cluster.flops_per_second),
      link_bytes_per_second_(cluster.link_bytes_per_second),
      link_latency_seconds_(cluster.link_latency_seconds) {
  for (int unit = 0; unit < NumUnits(spec.model); ++unit) units_.push_back(ModelUnit(spec, unit));
}

int64_t CostModel::FlopsNs(double flops) const {
  return std::llround(flops / flops_per_second_ * kNsPerSecond);
}

ComputeCost CostModel::ModelUnit(const JobSpec& spec, int unit) const {
  const ModelSpec& model = spec.model;
  const int length = spec.training.sequence_length;
  const double tokens = double{1} * spec.training.micro_batch_size * length;
  const double boundary = BoundaryFlops(model);
  double products = ForwardFlopsPerToken(model, unit, length), core = 0.0;
  switch (KindOfUnit(model, unit)) {
    case UnitKind::kEmbedding:
    case UnitKind::kFeedForward:
      break;
    case UnitKind::kAttention:
      core = 2.0 * length * model.num_attention_heads * HeadDim(model);
      break;
    case UnitKind::kHead:
      core = kSoftmaxFlops * model.vocab_size;
      products += core;  // ForwardFlopsPerToken counts no softmax
      break;
  }
  products -= core;
  ComputeCost cost;
  cost.forward = FlopsNs(tokens * (products + core + boundary));
  cost.backward_input = FlopsNs(tokens * (products + kBackwardFactor * (core + boundary)));
  cost.backward_weight = FlopsNs(tokens * products);
  cost.recompute = FlopsNs(tokens * boundary);
  return cost;
}

ComputeCost CostModel::OfUnits(UnitRange units) const {
  ComputeCost sum;
  for (int unit = units.first; unit < units.last; ++unit) {
    sum.forward += units_[unit].forward;
    sum.backward_input += units_[unit].backward_input;
    sum.backward_weight += units_[unit].backward_weight;
    sum.recompute += units_[unit].recompute;
  }
  return sum;
}

std::vector<int64_t> CostModel::UnitTotals() const {
  std::vector<int64_t> totals;
  for (const ComputeCost& cost : units_) totals.push_back(cost.Total());
  return totals;
}

int64_t CostModel::TransferNs(int64_t bytes) const {
  return std::llround((link_latency_seconds_ + bytes / link_bytes_per_second_) * kNsPerSecond);
}

int64_t CostModel::CopyNs(int64_t bytes) const { return FlopsNs(bytes * kFlopsPerByte); }

int64_t CostModel::AllReduceNs(int64_t bytes, int members) const {
  if (members <= 1) return 0;
  const double steps = 2.0 * (members - 1);
  const double seconds =
      steps * link_latency_seconds_ + steps / members * bytes / link_bytes_per_second_;
  return std::llround(seconds * kNsPerSecond);
}

}  // namespace birkhoff
