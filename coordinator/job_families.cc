// One function per group of families; a job without a value for a family has no series in it.
#include "coordinator/job_families.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/net/metric_family.h"
#include "core/plan/schedule.h"
#include "core/spec/field.h"

namespace birkhoff {
namespace {

using Jobs = std::vector<JobMetrics>;
using Families = std::vector<prometheus::MetricFamily>;

MetricLabels LabelsOf(const JobMetrics& job, MetricLabels more = {}) {
  more.insert(more.begin(), {"job_id", std::string(absl::StripPrefix(job.job, "jobs/"))});
  return more;
}

// As job files write it.
const std::string& NameOf(ResidualKind kind) {
  static const auto& field = std::get<ChoiceField>(FindField("model.residual.kind")->kind);
  return field.names[static_cast<size_t>(kind)];
}

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

// A family with at most one series per job.
struct Plain {
  const char* name;
  const char* help;
  std::optional<double> (*value)(const JobMetrics&);
};

using Value = std::optional<double>;

constexpr Plain kGauges[] = {
    {"birkhoff_training_step", "Number of the last step.",
     [](const JobMetrics& j) { return j.last_step ? Value(j.last_step->step) : Value(); }},
    {"birkhoff_training_steps_planned", "Steps that the job shall do.",
     [](const JobMetrics& j) { return Value(j.total_steps); }},
    {"birkhoff_training_loss", "Loss of the last step, nats per target token.",
     [](const JobMetrics& j) { return j.last_step ? Value(j.last_step->loss) : Value(); }},
    {"birkhoff_training_loss_window_max", "Largest loss in 60 s.",
     [](const JobMetrics& j) { return j.window ? Value(j.window->loss) : Value(); }},
    {"birkhoff_validation_loss", "Loss of the last validation, nats per target token.",
     [](const JobMetrics& j) { return j.validation_loss; }},
    {"birkhoff_gradient_norm", "Global gradient norm of the last step, before clipping.",
     [](const JobMetrics& j) { return j.last_step ? Value(j.last_step->grad_norm) : Value(); }},
    {"birkhoff_gradient_norm_window_max", "Largest gradient norm in 60 s.",
     [](const JobMetrics& j) { return j.window ? Value(j.window->grad_norm) : Value(); }},
    {"birkhoff_learning_rate", "Learning rate of the last step.",
     [](const JobMetrics& j) { return j.last_step ? Value(j.last_step->lr) : Value(); }},
    {"birkhoff_amax_gain_bound", "Composite Amax gain above which a step is an event.",
     [](const JobMetrics& j) { return Value(j.max_gain); }},
    {"birkhoff_sinkhorn_residual", "Largest distance of a row or column sum of H_res from 1.",
     [](const JobMetrics& j) { return j.sinkhorn_residual; }},
    {"birkhoff_sinkhorn_residual_window_max", "Largest Sinkhorn residual in 60 s.",
     [](const JobMetrics& j) {
       return j.window && j.residual == ResidualKind::kMhc ? Value(j.window->sinkhorn_residual)
                                                           : Value();
     }},
    {"birkhoff_last_step_timestamp_seconds", "When the last step was reported, Unix time.",
     [](const JobMetrics& j) {
       return j.last_step_time == absl::InfinitePast() ? Value()
                                                       : Value(UnixSeconds(j.last_step_time));
     }},
    {"birkhoff_pipeline_bubble_ratio", "Share of rank time of the last step without compute.",
     [](const JobMetrics& j) { return j.last_step ? Value(j.last_step->bubble) : Value(); }},
    {"birkhoff_exposed_transfer_ratio",
     "Share of rank time of the last step without compute but with a transfer under way.",
     [](const JobMetrics& j) {
       return j.last_step ? Value(j.last_step->exposed_transfer) : Value();
     }},
    {"birkhoff_model_flops_utilization", "MFU of the last step, 0 to 1.",
     [](const JobMetrics& j) { return j.last_step ? j.last_step->mfu : Value(); }},
    {"birkhoff_checkpoint_last_success_timestamp_seconds",
     "When the last checkpoint was committed, Unix time.",
     [](const JobMetrics& j) {
       return j.last_checkpoint_time == absl::InfinitePast()
                  ? Value()
                  : Value(UnixSeconds(j.last_checkpoint_time));
     }},
    {"birkhoff_checkpoint_last_step", "Step of the last committed checkpoint.",
     [](const JobMetrics& j) {
       return j.last_checkpoint_step ? Value(*j.last_checkpoint_step) : Value();
     }},
    {"birkhoff_checkpoint_interval_steps", "Steps between checkpoints; 0: at the end only.",
     [](const JobMetrics& j) { return Value(j.checkpoint_interval); }},
};
constexpr Plain kCounters[] = {
    {"birkhoff_steps_total", "Steps done, those that were done again included.",
     [](const JobMetrics& j) { return Value(j.steps); }},
    {"birkhoff_tokens_total", "Target tokens trained on.",
     [](const JobMetrics& j) { return Value(j.tokens_total); }},
    {"birkhoff_restarts_total", "Attempts lost.",
     [](const JobMetrics& j) { return Value(j.restarts); }},
    {"birkhoff_checkpoints_total", "Checkpoints committed.",
     [](const JobMetrics& j) { return Value(j.checkpoints); }},
    {"birkhoff_checkpoint_failures_total", "Checkpoints that a rank could not write.",
     [](const JobMetrics& j) { return Value(j.failed_checkpoints); }},
    {"birkhoff_productive_seconds_total", "Time in steps that no attempt had done before.",
     [](const JobMetrics& j) { return Value(j.productive_seconds); }},
};

// How the streams of the last step are mixed (docs/metrics.md); jobs with streams alone.
struct Mixing {
  const char* name;
  const char* help;
  Value (*value)(const MixingReport&);
};

Value LastOf(const std::vector<float>& by_sublayer) {
  if (by_sublayer.empty()) return std::nullopt;
  return static_cast<double>(by_sublayer.back());
}

constexpr Mixing kMixing[] = {
    {"birkhoff_mixing_saturation", "Mean over sub-layers of the largest softmax weight of H_res.",
     [](const MixingReport& m) {
       const Value mean = MixingReport::Mean(m.saturation_by_sublayer);
       return mean && std::isnan(*mean) ? Value() : mean;  // it forms no softmax
     }},
    {"birkhoff_off_diagonal_mass", "Mean over sub-layers of the mass of H_res off its diagonal.",
     [](const MixingReport& m) { return MixingReport::Mean(m.off_diagonal_mass_by_sublayer); }},
    {"birkhoff_column_residual", "Largest distance of a column sum of H_res from 1.",
     [](const MixingReport& m) { return Value(m.column_residual); }},
    {"birkhoff_identity_distance", "Of the composite of all sub-layers, from the identity.",
     [](const MixingReport& m) { return LastOf(m.identity_distance_by_sublayer); }},
    {"birkhoff_uniform_distance", "Of the composite of all sub-layers, from the uniform matrix.",
     [](const MixingReport& m) { return LastOf(m.uniform_distance_by_sublayer); }},
    {"birkhoff_stream_similarity", "Mean cosine of the streams after the last sub-layer.",
     [](const MixingReport& m) { return LastOf(m.stream_similarity_by_sublayer); }},
    {"birkhoff_read_saturation", "Share of the gates H_pre at an end of their range.",
     [](const MixingReport& m) { return m.read_saturation; }},
    {"birkhoff_write_saturation", "Share of the gates H_post at an end of their range.",
     [](const MixingReport& m) { return m.write_saturation; }},
};

void AddMixing(const Jobs& jobs, Families* out) {
  for (const Mixing& mixing : kMixing) {
    MetricFamily family = MetricFamily::Gauge(mixing.name, mixing.help);
    for (const JobMetrics& job : jobs) {
      if (!job.last_step || !job.last_step->mixing) continue;
      if (const Value value = mixing.value(*job.last_step->mixing)) {
        family.Add(LabelsOf(job), *value);
      }
    }
    family.MoveTo(out);
  }
}

void AddPlainFamilies(const Jobs& jobs, Families* out) {
  const auto add = [&](MetricFamily family, const Plain& plain) {
    for (const JobMetrics& job : jobs) {
      if (const Value value = plain.value(job)) family.Add(LabelsOf(job), *value);
    }
    family.MoveTo(out);
  };
  for (const Plain& plain : kGauges) add(MetricFamily::Gauge(plain.name, plain.help), plain);
  for (const Plain& plain : kCounters) add(MetricFamily::Counter(plain.name, plain.help), plain);
}

void AddStates(const Jobs& jobs, Families* out) {
  MetricFamily info = MetricFamily::Gauge("birkhoff_job_info", "1; what the job is, by labels.");
  MetricFamily state =
      MetricFamily::Gauge("birkhoff_job_state", "1 for the state that the job is in.");
  MetricFamily time =
      MetricFamily::Counter("birkhoff_job_time_seconds_total", "Time of the job's life by state.");
  MetricFamily goodput = MetricFamily::Gauge(
      "birkhoff_goodput_ratio", "Share of productive time of all time with or without workers.");
  for (const JobMetrics& job : jobs) {
    info.Add(LabelsOf(job, {{"attempt", absl::StrCat(job.attempt)},
                            {"residual", NameOf(job.residual)},
                            {"schedule", ScheduleName(job.schedule)}}),
             1.0);
    double since_start = 0.0;
    for (int s = static_cast<int>(JobState::kQueued); s < kNumJobStates; ++s) {
      const auto candidate = static_cast<JobState>(s);
      const char* name = JobStateName(candidate);
      state.Add(LabelsOf(job, {{"state", name}}), candidate == job.state ? 1.0 : 0.0);
      if (IsOver(candidate)) continue;
      time.Add(LabelsOf(job, {{"state", name}}), job.seconds_in[s]);
      if (candidate != JobState::kQueued) since_start += job.seconds_in[s];
    }
    if (since_start > 0.0) {
      goodput.Add(LabelsOf(job), std::min(job.productive_seconds / since_start, 1.0));
    }
  }
  for (MetricFamily* family : {&info, &state, &time, &goodput}) family->MoveTo(out);
}

void AddEvents(const Jobs& jobs, Families* out) {
  MetricFamily events = MetricFamily::Counter(
      "birkhoff_stability_events_total", "Steps that were skipped or stood out, by what they did.");
  for (const JobMetrics& job : jobs) {
    for (int kind = 0; kind < kNumStabilityEvents; ++kind) {
      const char* name = StabilityEventName(static_cast<StabilityEvent>(kind));
      events.Add(LabelsOf(job, {{"kind", name}}), static_cast<double>(job.events[kind]));
    }
  }
  events.MoveTo(out);
}

void AddStepDuration(const Jobs& jobs, Families* out) {
  MetricFamily duration =
      MetricFamily::Histograms("birkhoff_step_duration_seconds", "How long steps took.");
  for (const JobMetrics& job : jobs) {
    if (job.steps > 0) duration.Add(LabelsOf(job), job.step_seconds);
  }
  duration.MoveTo(out);
}

void AddGains(const JobMetrics& job, const ShownSeries& shown, const char* direction,
              const std::vector<double>& gains, MetricFamily* family) {
  for (const int sublayer : shown.sublayers) {
    if (sublayer >= static_cast<int>(gains.size())) continue;
    family->Add(LabelsOf(job, {{"direction", direction}, {"sublayer", absl::StrCat(sublayer)}}),
                gains[sublayer]);
  }
}

void AddSizedFamilies(const Jobs& jobs, int64_t most_series, Families* out) {
  MetricFamily composite =
      MetricFamily::Gauge("birkhoff_amax_gain", "Composite Amax gain of the last step.");
  MetricFamily single =
      MetricFamily::Gauge("birkhoff_amax_gain_single", "Amax gain of each sub-layer alone.");
  MetricFamily window =
      MetricFamily::Gauge("birkhoff_amax_gain_window_max", "Largest composite Amax gain in 60 s.");
  MetricFamily memory =
      MetricFamily::Gauge("birkhoff_memory_bytes", "What a rank has allocated, by kind.");
  MetricFamily compute =
      MetricFamily::Gauge("birkhoff_compute_seconds", "Compute time of a rank in its last step.");
  MetricFamily left_out = MetricFamily::Gauge(
      "birkhoff_series_left_out", "Series that the job's bound on series has left out.");
  for (const JobMetrics& job : jobs) {
    const GainReport gain = job.last_step ? job.last_step->gain : GainReport();
    const ShownSeries shown = ChooseSeries(static_cast<int>(gain.forward_by_sublayer.size()),
                                           static_cast<int>(job.ranks.size()), most_series);
    AddGains(job, shown, "forward", gain.forward_by_sublayer, &composite);
    AddGains(job, shown, "backward", gain.backward_by_sublayer, &composite);
    AddGains(job, shown, "forward", gain.single_forward_by_sublayer, &single);
    AddGains(job, shown, "backward", gain.single_backward_by_sublayer, &single);
    if (job.window) {
      window.Add(LabelsOf(job, {{"direction", "forward"}}), job.window->gain_forward);
      window.Add(LabelsOf(job, {{"direction", "backward"}}), job.window->gain_backward);
    }
    for (int rank = 0; rank < shown.workers; ++rank) {
      const RankMetrics& of = job.ranks[rank];
      for (const auto& [kind, bytes] : of.memory) {
        memory.Add(LabelsOf(job, {{"worker", of.worker}, {"kind", kind}}),
                   static_cast<double>(bytes));
      }
      if (of.compute_seconds) {
        compute.Add(LabelsOf(job, {{"worker", of.worker}}), *of.compute_seconds);
      }
    }
    left_out.Add(LabelsOf(job), static_cast<double>(shown.left_out));
  }
  for (MetricFamily* family : {&composite, &single, &window, &memory, &compute, &left_out}) {
    family->MoveTo(out);
  }
}

}  // namespace

ShownSeries ChooseSeries(int sublayers, int workers, int64_t most_series) {
  // Sub-layers first: what the workers leave, and half of the room at least.
  const int64_t room = most_series - kSeriesOfAnyJob;
  const int64_t left_by_workers = std::max(room / 2, room - workers * kSeriesOfAWorker);
  const int64_t shown = std::clamp<int64_t>(left_by_workers / kSeriesOfASublayer, 0, sublayers);
  ShownSeries series;
  for (int64_t i = 0; i < shown; ++i) {
    const int64_t last = sublayers - 1;
    series.sublayers.push_back(static_cast<int>(shown == 1 ? last : i * last / (shown - 1)));
  }
  // Workers get what is left then.
  series.workers = static_cast<int>(
      std::clamp<int64_t>((room - shown * kSeriesOfASublayer) / kSeriesOfAWorker, 0, workers));
  series.left_out = (sublayers - shown) * kSeriesOfASublayer +
                    int64_t{workers - series.workers} * kSeriesOfAWorker;
  return series;
}

void AddJobFamilies(const std::vector<JobMetrics>& jobs, int64_t most_series,
                    std::vector<prometheus::MetricFamily>* out) {
  AddStates(jobs, out);
  AddPlainFamilies(jobs, out);
  AddMixing(jobs, out);
  AddEvents(jobs, out);
  AddStepDuration(jobs, out);
  AddSizedFamilies(jobs, most_series, out);
}

}  // namespace birkhoff
