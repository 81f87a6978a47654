#include "coordinator/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/guarded.h"

namespace birkhoff {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// One family under construction.
class Family {
 public:
  Family(const char* name, const char* help, MetricType type) {
    family_.name = name;
    family_.help = help;
    family_.type = type;
  }
  void Add(Labels labels, double value) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    metric.gauge.value = value;
    metric.counter.value = value;
  }
  ClientMetric& AddEmpty(Labels labels) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }
  MetricFamily Take() { return std::move(family_); }

 private:
  MetricFamily family_;
};

Family Gauge(const char* name, const char* help) { return {name, help, MetricType::Gauge}; }
Family Counter(const char* name, const char* help) { return {name, help, MetricType::Counter}; }

std::string ShortName(const JobMetrics& job) { return job.job.substr(job.job.find('/') + 1); }
Labels JobLabel(const JobMetrics& job) { return {{"job_id", ShortName(job)}}; }

// Families with one value per job that has done a step.
struct StepFamily {
  const char* name;
  const char* help;
  double (*value)(const StepReport&);
};
constexpr StepFamily kStepFamilies[] = {
    {"birkhoff_training_loss", "Loss of the last step, nats per target token.",
     [](const StepReport& r) { return r.loss; }},
    {"birkhoff_gradient_norm", "Global gradient norm of the last step, before clipping.",
     [](const StepReport& r) { return r.grad_norm; }},
    {"birkhoff_learning_rate", "Learning rate of the last step.",
     [](const StepReport& r) { return r.lr; }},
    {"birkhoff_pipeline_bubble_ratio", "Share of rank time of the last step without compute.",
     [](const StepReport& r) { return r.bubble; }},
};

void AddStepFamilies(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  for (const StepFamily& step : kStepFamilies) {
    Family family = Gauge(step.name, step.help);
    for (const JobMetrics& job : fleet.jobs) {
      if (job.last_step.has_value()) family.Add(JobLabel(job), step.value(*job.last_step));
    }
    out->push_back(family.Take());
  }
  Family mfu = Gauge("birkhoff_model_flops_utilization", "MFU of the last step, 0 to 1.");
  for (const JobMetrics& job : fleet.jobs) {
    if (job.last_step.has_value() && job.last_step->mfu.has_value()) {
      mfu.Add(JobLabel(job), *job.last_step->mfu);
    }
  }
  out->push_back(mfu.Take());
}

void AddGains(const JobMetrics& job, const char* direction, const std::vector<double>& gains,
              Family* family) {
  for (size_t sublayer = 0; sublayer < gains.size(); ++sublayer) {
    family->Add({{"job_id", ShortName(job)},
                 {"direction", direction},
                 {"sublayer", absl::StrCat(sublayer)}},
                gains[sublayer]);
  }
}

void AddGainFamilies(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family composite = Gauge("birkhoff_amax_gain", "Composite Amax gain of the last step.");
  Family single = Gauge("birkhoff_amax_gain_single", "Amax gain of each sub-layer alone.");
  for (const JobMetrics& job : fleet.jobs) {
    if (!job.last_step.has_value()) continue;
    const GainReport& gain = job.last_step->gain;
    AddGains(job, "forward", gain.forward_by_sublayer, &composite);
    AddGains(job, "backward", gain.backward_by_sublayer, &composite);
    AddGains(job, "forward", gain.single_forward_by_sublayer, &single);
    AddGains(job, "backward", gain.single_backward_by_sublayer, &single);
  }
  out->push_back(composite.Take());
  out->push_back(single.Take());
}

// A gauge every few seconds misses the one step that went wrong; these do not.
void AddWindowFamilies(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family gain = Gauge("birkhoff_amax_gain_window_max", "Largest composite Amax gain in 60 s.");
  Family loss = Gauge("birkhoff_training_loss_window_max", "Largest loss in 60 s.");
  Family norm = Gauge("birkhoff_gradient_norm_window_max", "Largest gradient norm in 60 s.");
  for (const JobMetrics& job : fleet.jobs) {
    if (!job.window.has_value()) continue;
    gain.Add({{"job_id", ShortName(job)}, {"direction", "forward"}}, job.window->gain_forward);
    gain.Add({{"job_id", ShortName(job)}, {"direction", "backward"}}, job.window->gain_backward);
    loss.Add(JobLabel(job), job.window->loss);
    norm.Add(JobLabel(job), job.window->grad_norm);
  }
  for (Family* family : {&gain, &loss, &norm}) out->push_back(family->Take());
}

void AddStabilityEvents(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family events = Counter("birkhoff_stability_events_total", "Decisions of the stability guard.");
  for (const JobMetrics& job : fleet.jobs) {
    if (!job.last_step.has_value()) continue;
    events.Add({{"job_id", ShortName(job)}, {"kind", "skipped_step"}},
               static_cast<double>(job.last_step->skipped_total));
    events.Add({{"job_id", ShortName(job)}, {"kind", "gain_above_bound"}},
               static_cast<double>(job.times_above_bound));
  }
  out->push_back(events.Take());
}

void AddStepDuration(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family family("birkhoff_step_duration_seconds", "How long steps took.", MetricType::Histogram);
  for (const JobMetrics& job : fleet.jobs) {
    if (job.step_seconds_buckets.empty()) continue;
    ClientMetric::Histogram& histogram = family.AddEmpty(JobLabel(job)).histogram;
    histogram.sample_count = job.step_seconds_buckets.back();
    histogram.sample_sum = job.step_seconds_sum;
    for (size_t i = 0; i < job.step_seconds_buckets.size(); ++i) {
      const double bound = i < std::size(kStepSecondsBounds)
                               ? kStepSecondsBounds[i]
                               : std::numeric_limits<double>::infinity();
      histogram.bucket.push_back({job.step_seconds_buckets[i], bound});
    }
  }
  out->push_back(family.Take());
}

void AddTimes(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family step = Gauge("birkhoff_last_step_timestamp_seconds", "When the last step was reported.");
  Family checkpoint = Gauge("birkhoff_checkpoint_last_success_timestamp_seconds",
                            "When the last checkpoint was committed.");
  for (const JobMetrics& job : fleet.jobs) {
    if (job.last_step_time != absl::InfinitePast()) {
      step.Add(JobLabel(job), absl::ToDoubleSeconds(job.last_step_time - absl::UnixEpoch()));
    }
    if (job.last_checkpoint_time != absl::InfinitePast()) {
      checkpoint.Add(JobLabel(job),
                     absl::ToDoubleSeconds(job.last_checkpoint_time - absl::UnixEpoch()));
    }
  }
  out->push_back(step.Take());
  out->push_back(checkpoint.Take());
}

void AddJobFamilies(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family tokens = Counter("birkhoff_tokens_total", "Target tokens trained on.");
  Family restarts = Counter("birkhoff_restarts_total", "Attempts lost.");
  Family state = Gauge("birkhoff_job_state", "1 for the state that the job is in.");
  Family memory = Gauge("birkhoff_memory_bytes", "Parameters and buffers of a rank.");
  for (const JobMetrics& job : fleet.jobs) {
    tokens.Add(JobLabel(job), static_cast<double>(job.tokens_total));
    restarts.Add(JobLabel(job), job.restarts);
    for (int s = static_cast<int>(JobState::kQueued); s <= static_cast<int>(JobState::kCancelled);
         ++s) {
      const auto candidate = static_cast<JobState>(s);
      state.Add({{"job_id", ShortName(job)}, {"state", JobStateName(candidate)}},
                candidate == job.state ? 1.0 : 0.0);
    }
    for (const JobMetrics::Memory& entry : job.memory) {
      if (entry.worker.empty()) continue;
      memory.Add({{"job_id", ShortName(job)}, {"worker", entry.worker}, {"kind", "rank"}},
                 static_cast<double>(entry.bytes));
    }
  }
  for (Family* family : {&tokens, &restarts, &state, &memory}) out->push_back(family->Take());
}

void AddFleet(const FleetMetrics& fleet, std::vector<MetricFamily>* out) {
  Family workers = Gauge("birkhoff_workers", "Workers by state.");
  workers.Add({{"state", "idle"}}, fleet.workers_idle);
  workers.Add({{"state", "busy"}}, fleet.workers_busy);
  workers.Add({{"state", "lost"}}, fleet.workers_lost);
  out->push_back(workers.Take());
  Family queue = Gauge("birkhoff_queue_length", "Jobs that wait for workers.");
  queue.Add({}, fleet.queue_length);
  out->push_back(queue.Take());
  Family store = Gauge("birkhoff_store_refuses", "1 while the job store takes no events.");
  store.Add({}, fleet.store_refuses ? 1.0 : 0.0);
  out->push_back(store.Take());
}

class CoordinatorMetrics final : public prometheus::Collectable {
 public:
  explicit CoordinatorMetrics(const Coordinator& coordinator) : coordinator_(coordinator) {}

  // A scrape that finds no memory is empty: an exception would end the server's thread.
  std::vector<MetricFamily> Collect() const override {
    return Guarded("metrics", [this] { return absl::StatusOr<std::vector<MetricFamily>>(All()); })
        .value_or(std::vector<MetricFamily>());
  }

 private:
  std::vector<MetricFamily> All() const {
    const FleetMetrics fleet = coordinator_.Metrics();
    std::vector<MetricFamily> families;
    AddStepFamilies(fleet, &families);
    AddGainFamilies(fleet, &families);
    AddWindowFamilies(fleet, &families);
    AddStabilityEvents(fleet, &families);
    AddStepDuration(fleet, &families);
    AddTimes(fleet, &families);
    AddJobFamilies(fleet, &families);
    AddFleet(fleet, &families);
    std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
    return families;
  }

  const Coordinator& coordinator_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> NewCoordinatorMetrics(const Coordinator& coordinator) {
  return std::make_shared<CoordinatorMetrics>(coordinator);
}

}  // namespace birkhoff
