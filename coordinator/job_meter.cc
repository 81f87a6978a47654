// Counters of this process, a window and two spike watches for recent steps, and a ledger that is
// brought up to date (Spend) at every event; a look adds what has passed since.
#include "coordinator/job_meter.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/plan/memory.h"

namespace birkhoff {
namespace {

// What a scrape shows of the items of a plan (core/plan/memory.h): those of the device by kind, and
// those of the host in one.
enum MemoryKind { kActivations, kWeights, kGradients, kOptimizer, kOther, kHost, kNumMemoryKinds };
constexpr const char* kMemoryKindNames[] = {"activations", "weights", "gradients",
                                            "optimizer",   "other",   "host"};

MemoryKind KindOf(const MemoryItem& item) {
  static constexpr std::pair<const char*, MemoryKind> kKinds[] = {
      {kBuffersItem, kActivations},    {kWeightsItem, kWeights},
      {kWeightCopiesItem, kWeights},   {kGradientsItem, kGradients},
      {kFirstMomentsItem, kOptimizer}, {kSecondMomentsItem, kOptimizer},
  };
  if (item.place == MemoryPlace::kHost) return kHost;
  for (const auto& [name, kind] : kKinds) {
    if (item.name == name) return kind;
  }
  return kOther;
}

std::vector<std::pair<const char*, int64_t>> MemoryByKind(const RankPlan& rank) {
  std::vector<std::pair<const char*, int64_t>> kinds;
  for (const char* name : kMemoryKindNames) kinds.emplace_back(name, 0);
  for (const MemoryItem& item : rank.memory) kinds[KindOf(item)].second += item.bytes;
  return kinds;
}

}  // namespace

const char* StabilityEventName(StabilityEvent event) {
  switch (event) {
    case StabilityEvent::kSkippedStep:
      return "skipped_step";
    case StabilityEvent::kLossSpike:
      return "loss_spike";
    case StabilityEvent::kGradientSpike:
      return "gradient_spike";
    case StabilityEvent::kGainAbove:
      return "gain_above_bound";
  }
  return "";
}

void JobMeter::Replayed(absl::Time wall, const JobEvent& event) {
  if (const auto* step = std::get_if<StepDone>(&event)) {
    counts_.last_step_time = wall;
    best_step_ = std::max(best_step_, step->report.step);
  }
  if (const auto* committed = std::get_if<CheckpointCommitted>(&event)) {
    counts_.last_checkpoint_time = wall;
    counts_.last_checkpoint_step = committed->step;
  }
}

void JobMeter::Begin(Instant now, const Job& job) {
  if (spent_until_.has_value()) return;
  spent_until_ = now;
  state_ = job.state();
}

void JobMeter::Spend(Instant now) {
  if (spent_until_.has_value() && !IsOver(state_)) {
    counts_.seconds_in[static_cast<int>(state_)] += absl::ToDoubleSeconds(now - *spent_until_);
  }
  spent_until_ = now;
}

void JobMeter::Took(Instant now, absl::Time wall, const JobEvent& event, const Job& job) {
  Spend(now);
  state_ = job.state();
  if (const auto* step = std::get_if<StepDone>(&event)) Stepped(now, wall, step->report);
  if (const auto* committed = std::get_if<CheckpointCommitted>(&event)) {
    counts_.last_checkpoint_time = wall;
    counts_.last_checkpoint_step = committed->step;
    ++counts_.checkpoints;
  }
  if (const auto* failed = std::get_if<CheckpointFailed>(&event)) {
    // Each rank that has failed says so.
    if (failed->step != failed_checkpoint_) ++counts_.failed_checkpoints;
    failed_checkpoint_ = failed->step;
  }
  if (std::holds_alternative<AttemptPlaced>(event)) {
    counts_.ranks.clear();
    knows_memory_ = false;
  }
}

void JobMeter::Stepped(Instant now, absl::Time wall, const StepReport& report) {
  ++counts_.steps;
  counts_.step_seconds.Observe(report.step_seconds);
  counts_.last_step_time = wall;
  counts_.tokens_total = std::max(counts_.tokens_total, report.total_tokens);
  if (report.validation_loss.has_value()) counts_.validation_loss = report.validation_loss;
  window_.Add(now, report);
  if (report.step > best_step_) {
    best_step_ = report.step;
    if (!report.skipped) counts_.productive_seconds += report.step_seconds;
  }
  if (report.skipped) Count(StabilityEvent::kSkippedStep);
  if (loss_.Add(report.loss)) Count(StabilityEvent::kLossSpike);
  if (gradient_.Add(report.grad_norm)) Count(StabilityEvent::kGradientSpike);
}

void JobMeter::NeedRanks(const Job& job) {
  counts_.ranks.resize(job.ranks().size());
  for (size_t rank = 0; rank < counts_.ranks.size(); ++rank) {
    counts_.ranks[rank].worker = job.ranks()[rank].worker.worker;
  }
}

void JobMeter::Heard(const Job& job, int rank, const StepReport& report) {
  NeedRanks(job);
  counts_.ranks[rank].compute_seconds = report.compute_seconds;
}

void JobMeter::Holds(const Job& job, const Plan* plan) {
  NeedRanks(job);
  knows_memory_ = true;
  if (plan == nullptr || plan->ranks.empty()) return;
  for (size_t rank = 0; rank < counts_.ranks.size(); ++rank) {
    counts_.ranks[rank].memory = MemoryByKind(plan->ranks[rank % plan->ranks.size()]);
  }
}

JobMetrics JobMeter::Read(Instant now, const Job& job) const {
  JobMetrics metrics = counts_;
  const JobSpec& spec = job.spec();
  metrics.job = job.name();
  metrics.state = job.state();
  metrics.attempt = job.attempt();
  metrics.restarts = job.restarts();
  metrics.residual = spec.model.residual.kind;
  metrics.schedule = spec.parallelism.schedule;
  metrics.total_steps = spec.training.steps;
  metrics.checkpoint_interval = spec.checkpoint.interval;
  metrics.max_gain = spec.stability.max_gain;
  metrics.last_step = job.last_step();
  metrics.events[static_cast<int>(StabilityEvent::kGainAbove)] = job.times_above_bound();
  metrics.window = window_.Largest(now);
  if (metrics.last_step.has_value()) {
    // After a restart of this process the steps before it count too.
    metrics.tokens_total = std::max(metrics.tokens_total, metrics.last_step->total_tokens);
    if (metrics.residual == ResidualKind::kMhc) {
      metrics.sinkhorn_residual = SinkhornResidual(metrics.last_step->gain);
    }
  }
  if (spent_until_.has_value() && !IsOver(state_)) {
    metrics.seconds_in[static_cast<int>(state_)] += absl::ToDoubleSeconds(now - *spent_until_);
  }
  return metrics;
}

}  // namespace birkhoff
