// A processor's work is added up in FLOPs, bytes by the machine's balance, and becomes nanoseconds
// last; these are saturated, so that no sum over a step overflows.
#include "core/plan/cost_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/spec/model.h"
#include "core/spec/product_rate.h"

namespace birkhoff {
namespace {

constexpr double kNsPerSecond = 1.0e9;
constexpr double kLargestTotalNs = 0x1p58;  // of one cost, times all units and micro-batches
constexpr double kPasses = 3.0;             // of a product: forward, and the two gradients
constexpr double kBackwardFactor = 2.5;     // attention core and boundary: backward over forward
constexpr double kSoftmaxFlops = 10.0;      // per logit
constexpr int64_t kStateTensors = 4;        // weight, gradient, two moments
// A boundary's forward moves so many C-wide units at so many streams.
constexpr double kForwardTraffic = 10.0;
constexpr double kStreamsOfTraffic = 4.0;

// What a processor is taken to do where its worker does not say more.
struct Rates {
  double flops_per_second;
  double memory_bytes_per_second;
  double link_bytes_per_second;
  double link_latency_seconds;
};

// A core with AVX2 and what its loops make of the streams (docs/performance.md: 0.42 us a token and
// boundary at C = 256 with AVX-512), a network; a GPU that computes with and without tensor cores,
// in one host with the others.
const Rates kCpu = {ProductRate(Isa::kAvx2), 1.5e10, 1.0e9, 50.0e-6};
constexpr Rates kCudaBf16 = {4.0e14, 3.0e12, 1.0e11, 10.0e-6};
constexpr Rates kCudaFp32 = {4.0e13, 3.0e12, 1.0e11, 10.0e-6};

const Rates& RatesOf(const Numerics& numerics) {
  if (numerics.processor == Processor::kCpu) return kCpu;
  return numerics.precision == Precision::kBf16 ? kCudaBf16 : kCudaFp32;
}

// A step takes as long as its slowest worker.
double FlopsPerSecond(const ClusterSpec& cluster, const Rates& rates) {
  if (cluster.flops_per_second.has_value()) return *cluster.flops_per_second;
  double slowest = std::numeric_limits<double>::infinity();
  for (const WorkerResources& worker : cluster.workers) {
    const bool known = worker.product_flops > 0.0;
    slowest = std::min(slowest, known ? worker.product_flops : rates.flops_per_second);
  }
  return std::isfinite(slowest) ? slowest : rates.flops_per_second;
}

// Null: the card file has no such shape, or there is none.
const ShapeTimes* TimesOf(const JobSpec& spec, const ClusterSpec& cluster,
                          const Numerics& numerics) {
  if (!cluster.card.has_value()) return nullptr;
  const auto found = cluster.card->by_shape.find(ShapeKey(spec, numerics));
  return found == cluster.card->by_shape.end() ? nullptr : &found->second;
}

}  // namespace

CostModel::CostModel(const JobSpec& spec, const ClusterSpec& cluster, const Numerics& numerics)
    : element_bytes_(static_cast<double>(SizeOf(StreamType(numerics.precision)))) {
  const Rates& rates = RatesOf(numerics);
  flops_per_second_ = FlopsPerSecond(cluster, rates);
  flops_per_byte_ = rates.flops_per_second / rates.memory_bytes_per_second;
  link_bytes_per_second_ = cluster.link_bytes_per_second.value_or(rates.link_bytes_per_second);
  link_latency_seconds_ = cluster.link_latency_seconds.value_or(rates.link_latency_seconds);
  const double runs = double{1} * MicrobatchesPerStep(spec) + EvaluationMicrobatches(spec) + 1.0;
  largest_ns_ = static_cast<int64_t>(kLargestTotalNs / (NumUnits(spec.model) * runs));
  const ShapeTimes* const measured = TimesOf(spec, cluster, numerics);
  if (measured != nullptr) {
    norm_ns_ = measured->norm_ns;
    update_ns_ = measured->update_ns;
  }
  for (int unit = 0; unit < NumUnits(spec.model); ++unit) {
    units_.push_back(measured != nullptr ? MeasuredUnit(spec.model, *measured, unit)
                                         : ModelUnit(spec, unit));
  }
}

// What the embedding does is in the first sub-layer's times.
ComputeCost CostModel::MeasuredUnit(const ModelSpec& model, const ShapeTimes& times, int unit) {
  const auto cost = [](const UnitTimes& t) {
    return ComputeCost{t.forward, t.backward_input, t.backward_weight, t.recompute};
  };
  switch (KindOfUnit(model, unit)) {
    case UnitKind::kEmbedding:
      break;
    case UnitKind::kAttention:
      return cost(unit == 1 ? times.first : times.attention);
    case UnitKind::kFeedForward:
      return cost(times.feed_forward);
    case UnitKind::kHead:
      return cost(times.head);
  }
  return {};
}

// What stands between two sub-layers, per token, in FLOPs: its projection and its memory traffic.
double CostModel::BoundaryFlops(const ModelSpec& model) const {
  const double n = NumStreams(model), width = model.hidden_size;
  const double columns = NumProjectionColumns(model);
  const double traffic = kForwardTraffic * n / kStreamsOfTraffic * width * element_bytes_;
  return 2.0 * n * width * columns + traffic * flops_per_byte_;
}

int64_t CostModel::Saturated(double seconds) const {
  const double ns = seconds * kNsPerSecond;
  return ns < static_cast<double>(largest_ns_) ? std::llround(ns) : largest_ns_;
}

int64_t CostModel::FlopsNs(double flops) const { return Saturated(flops / flops_per_second_); }

ComputeCost CostModel::ModelUnit(const JobSpec& spec, int unit) const {
  const ModelSpec& model = spec.model;
  const int length = spec.training.sequence_length;
  const double tokens = double{1} * spec.training.micro_batch_size * length;
  const double boundary = BoundaryFlops(model);
  // FLOPs of a token's forward pass: products, and apart from them the core, which has no weights.
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
  // Times of the passes; the head's forward has all three of its products.
  ComputeCost cost;
  cost.recompute = FlopsNs(tokens * boundary);
  if (KindOfUnit(model, unit) == UnitKind::kHead) {
    const double head = kPasses * products + (1.0 + kBackwardFactor) * core;
    cost.forward = FlopsNs(tokens * (head + boundary));
    cost.backward_input = FlopsNs(tokens * kBackwardFactor * boundary);
    return cost;
  }
  cost.forward = FlopsNs(tokens * (products + core + boundary));
  cost.backward_input = FlopsNs(tokens * (products + kBackwardFactor * (core + boundary)));
  cost.backward_weight = FlopsNs(tokens * products);
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
  return Saturated(link_latency_seconds_ + bytes / link_bytes_per_second_);
}

int64_t CostModel::CopyNs(int64_t bytes) const { return FlopsNs(bytes * flops_per_byte_); }

int64_t CostModel::NormNs(int64_t elements) const {
  return Saturated(norm_ns_.value_or(0.0) * elements / kNsPerSecond);
}

// Reads and writes masters, gradients and both moments.
int64_t CostModel::UpdateNs(int64_t elements) const {
  if (update_ns_.has_value()) return Saturated(*update_ns_ * elements / kNsPerSecond);
  return CopyNs(2 * kStateTensors * elements * int64_t{sizeof(float)});
}

int64_t CostModel::AllReduceNs(int64_t bytes, int members) const {
  if (members <= 1) return 0;
  const double steps = 2.0 * (members - 1);
  const double seconds =
      steps * link_latency_seconds_ + steps / members * bytes / link_bytes_per_second_;
  return Saturated(seconds);
}

}  // namespace birkhoff
