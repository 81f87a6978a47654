// Ordered JSON: keys stand in the row as they are put in here.
#include "core/protocol/step_report.h"

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

void AddGains(const GainReport& gain, Json& json) {
  json["gain_forward"] = gain.forward;
  json["gain_backward"] = gain.backward;
  json["gain_forward_by_sublayer"] = gain.forward_by_sublayer;
  json["gain_backward_by_sublayer"] = gain.backward_by_sublayer;
  json["gain_single_forward_by_sublayer"] = gain.single_forward_by_sublayer;
  json["gain_single_backward_by_sublayer"] = gain.single_backward_by_sublayer;
  json["gain_mean_matrix_forward"] = gain.mean_matrix_forward;
  json["gain_mean_matrix_backward"] = gain.mean_matrix_backward;
  json["row_sum_min"] = gain.row_sum_min;
  json["column_sum_min"] = gain.column_sum_min;
}

// Five digits are all that a sample of tokens can tell; a float would print as seventeen.
std::vector<double> Short(const std::vector<float>& values) {
  std::vector<double> shortened;
  for (const float value : values) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.5g", static_cast<double>(value));
    shortened.push_back(std::strtod(text, nullptr));
  }
  return shortened;
}

double Last(const std::vector<float>& by_sublayer) {
  return by_sublayer.empty() ? std::numeric_limits<double>::quiet_NaN() : by_sublayer.back();
}

void AddMixing(const MixingReport& mixing, Json& json) {
  json["mixing_saturation"] = OrNull(MixingReport::Mean(mixing.saturation_by_sublayer));
  json["off_diagonal_mass"] = OrNull(MixingReport::Mean(mixing.off_diagonal_mass_by_sublayer));
  json["column_residual"] = mixing.column_residual;
  json["read_saturation"] = OrNull(mixing.read_saturation);
  json["write_saturation"] = OrNull(mixing.write_saturation);
  json["identity_distance"] = Last(mixing.identity_distance_by_sublayer);
  json["uniform_distance"] = Last(mixing.uniform_distance_by_sublayer);
  json["stream_similarity"] = Last(mixing.stream_similarity_by_sublayer);
  json["mixing_saturation_by_sublayer"] = Short(mixing.saturation_by_sublayer);
  json["off_diagonal_mass_by_sublayer"] = Short(mixing.off_diagonal_mass_by_sublayer);
  json["identity_distance_by_sublayer"] = Short(mixing.identity_distance_by_sublayer);
  json["uniform_distance_by_sublayer"] = Short(mixing.uniform_distance_by_sublayer);
  json["stream_similarity_by_sublayer"] = Short(mixing.stream_similarity_by_sublayer);
}

// All but the step.  The library writes non-finite numbers as null.
void AddReport(const StepReport& report, Json& json) {
  json["loss"] = report.loss;
  json["grad_norm"] = report.grad_norm;
  json["lr"] = report.lr;
  json["tokens"] = report.tokens;
  json["total_tokens"] = report.total_tokens;
  json["tokens_per_second"] = report.tokens_per_second;
  json["mfu"] = OrNull(report.mfu);
  json["step_seconds"] = report.step_seconds;
  json["bubble"] = report.bubble;
  json["exposed_transfer"] = report.exposed_transfer;
  json["skipped"] = report.skipped;
  json["skipped_total"] = report.skipped_total;
  json["memory_bytes"] = report.memory_bytes;
  if (report.validation_loss) json["validation_loss"] = *report.validation_loss;
  AddGains(report.gain, json);
  if (report.mixing) AddMixing(*report.mixing, json);
}

}  // namespace

std::optional<double> MixingReport::Mean(const std::vector<float>& by_sublayer) {
  if (by_sublayer.empty()) return std::nullopt;
  double sum = 0.0;
  for (const float value : by_sublayer) sum += static_cast<double>(value);
  return sum / static_cast<double>(by_sublayer.size());
}

std::string StepRowToJson(const StepReport& report, absl::Time time) {
  // The step comes first: worker/metrics_file.cc looks for it there.
  Json json = {{"step", report.step},
               {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone())}};
  AddReport(report, json);
  return json.dump();
}

std::string StepReportToJson(const StepReport& report) {
  Json json = {{"step", report.step}};
  AddReport(report, json);
  return json.dump();
}

}  // namespace birkhoff
