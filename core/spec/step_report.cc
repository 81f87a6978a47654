// Ordered JSON: keys stand in the row as they are put in here.
#include "core/spec/step_report.h"

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
}

}  // namespace

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
