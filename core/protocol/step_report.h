// What one optimizer step looked like: the row of metrics.jsonl, of the watch stream and of
// Prometheus.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace birkhoff {

// Gains over all tokens of all micro-batches and replicas of one step; definitions in
// docs/metrics.md.
struct GainReport {
  double forward = 1.0;  // largest composite gain over sub-layers
  double backward = 1.0;
  // Means over tokens of the per-token gain, one value per sub-layer; composite, and of H_res
  // alone.
  std::vector<double> forward_by_sublayer;
  std::vector<double> backward_by_sublayer;
  std::vector<double> single_forward_by_sublayer;
  std::vector<double> single_backward_by_sublayer;
  // Largest gain over sub-layers of the token-mean composite matrix.
  double mean_matrix_forward = 1.0;
  double mean_matrix_backward = 1.0;
  double row_sum_min = 1.0;     // smallest composite row sum (forward) of any token and sub-layer
  double column_sum_min = 1.0;  // smallest composite column sum (backward)
};

// How streams are mixed; definitions in docs/metrics.md.  Of a sample of the step's tokens.
struct MixingReport {
  // One value per sub-layer; the first are NaN where the mapping forms no softmax.
  std::vector<float> saturation_by_sublayer;
  std::vector<float> off_diagonal_mass_by_sublayer;
  std::vector<float> identity_distance_by_sublayer;  // of the composite H_l ... H_0
  std::vector<float> uniform_distance_by_sublayer;   // the same
  std::vector<float> stream_similarity_by_sublayer;  // after the sub-layer
  // Over all sub-layers.
  double column_residual = 0.0;           // the largest
  std::optional<double> read_saturation;  // means; empty where the gate is no sigmoid
  std::optional<double> write_saturation;

  // Mean over sub-layers; empty where they have none.
  static std::optional<double> Mean(const std::vector<float>& by_sublayer);
};

struct StepReport {
  int64_t step = 0;        // 1-based: the number of the step that has been finished
  double loss = 0.0;       // nats per target token
  double grad_norm = 0.0;  // before clipping
  double lr = 0.0;
  int64_t tokens = 0;        // target tokens of this step
  int64_t total_tokens = 0;  // since step 1
  double step_seconds = 0.0;
  double tokens_per_second = 0.0;
  std::optional<double> mfu;  // empty where no peak is known
  double bubble = 0.0;        // share of rank time between first load and agree without compute
  // Share of rank time without compute but with a transfer under way, posted receives included.
  double exposed_transfer = 0.0;
  double compute_seconds = 0.0;  // of this rank
  bool skipped = false;          // a non-finite loss or gradient: the weights were left alone
  int64_t skipped_total = 0;
  std::optional<double> validation_loss;
  GainReport gain;
  std::optional<MixingReport> mixing;  // of models with more than one stream
  int64_t memory_bytes = 0;            // of this rank: what its plan has on the device
};

// One JSON object, no newline, keys as in docs/metrics.md; non-finite numbers become null.
std::string StepReportToJson(const StepReport& report);
// A row of metrics.jsonl: the same with `time`, when the step was reported, in UTC.
std::string StepRowToJson(const StepReport& report, absl::Time time);

}  // namespace birkhoff
