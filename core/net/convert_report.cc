// StepReport <-> v1::StepReport, and times.
#include "core/net/convert.h"

namespace birkhoff {
namespace {

using Doubles = google::protobuf::RepeatedField<double>;
using Floats = google::protobuf::RepeatedField<float>;

void Write(const std::vector<double>& in, Doubles* out) { out->Add(in.begin(), in.end()); }
std::vector<double> Read(const Doubles& in) { return {in.begin(), in.end()}; }
void Write(const std::vector<float>& in, Floats* out) { out->Add(in.begin(), in.end()); }
std::vector<float> Read(const Floats& in) { return {in.begin(), in.end()}; }

void Write(const GainReport& in, v1::GainReport* out) {
  out->set_forward(in.forward);
  out->set_backward(in.backward);
  Write(in.forward_by_sublayer, out->mutable_forward_by_sublayer());
  Write(in.backward_by_sublayer, out->mutable_backward_by_sublayer());
  Write(in.single_forward_by_sublayer, out->mutable_single_forward_by_sublayer());
  Write(in.single_backward_by_sublayer, out->mutable_single_backward_by_sublayer());
  out->set_mean_matrix_forward(in.mean_matrix_forward);
  out->set_mean_matrix_backward(in.mean_matrix_backward);
  out->set_row_sum_min(in.row_sum_min);
  out->set_column_sum_min(in.column_sum_min);
}

GainReport Read(const v1::GainReport& in) {
  GainReport out;
  out.forward = in.forward();
  out.backward = in.backward();
  out.forward_by_sublayer = Read(in.forward_by_sublayer());
  out.backward_by_sublayer = Read(in.backward_by_sublayer());
  out.single_forward_by_sublayer = Read(in.single_forward_by_sublayer());
  out.single_backward_by_sublayer = Read(in.single_backward_by_sublayer());
  out.mean_matrix_forward = in.mean_matrix_forward();
  out.mean_matrix_backward = in.mean_matrix_backward();
  out.row_sum_min = in.row_sum_min();
  out.column_sum_min = in.column_sum_min();
  return out;
}

void Write(const MixingReport& in, v1::MixingReport* out) {
  Write(in.saturation_by_sublayer, out->mutable_saturation_by_sublayer());
  Write(in.off_diagonal_mass_by_sublayer, out->mutable_off_diagonal_mass_by_sublayer());
  Write(in.identity_distance_by_sublayer, out->mutable_identity_distance_by_sublayer());
  Write(in.uniform_distance_by_sublayer, out->mutable_uniform_distance_by_sublayer());
  Write(in.stream_similarity_by_sublayer, out->mutable_stream_similarity_by_sublayer());
  out->set_column_residual(in.column_residual);
  if (in.read_saturation) out->set_read_saturation(*in.read_saturation);
  if (in.write_saturation) out->set_write_saturation(*in.write_saturation);
}

MixingReport Read(const v1::MixingReport& in) {
  MixingReport out;
  out.saturation_by_sublayer = Read(in.saturation_by_sublayer());
  out.off_diagonal_mass_by_sublayer = Read(in.off_diagonal_mass_by_sublayer());
  out.identity_distance_by_sublayer = Read(in.identity_distance_by_sublayer());
  out.uniform_distance_by_sublayer = Read(in.uniform_distance_by_sublayer());
  out.stream_similarity_by_sublayer = Read(in.stream_similarity_by_sublayer());
  out.column_residual = in.column_residual();
  if (in.has_read_saturation()) out.read_saturation = in.read_saturation();
  if (in.has_write_saturation()) out.write_saturation = in.write_saturation();
  return out;
}

}  // namespace

void ToProto(const StepReport& report, v1::StepReport* out) {
  out->set_step(report.step);
  out->set_loss(report.loss);
  out->set_grad_norm(report.grad_norm);
  out->set_lr(report.lr);
  out->set_tokens(report.tokens);
  out->set_total_tokens(report.total_tokens);
  out->set_step_seconds(report.step_seconds);
  out->set_tokens_per_second(report.tokens_per_second);
  if (report.mfu.has_value()) out->set_mfu(*report.mfu);
  out->set_bubble(report.bubble);
  out->set_exposed_transfer(report.exposed_transfer);
  out->set_compute_seconds(report.compute_seconds);
  out->set_skipped(report.skipped);
  out->set_skipped_total(report.skipped_total);
  if (report.validation_loss.has_value()) out->set_validation_loss(*report.validation_loss);
  Write(report.gain, out->mutable_gain());
  if (report.mixing) Write(*report.mixing, out->mutable_mixing());
  out->set_memory_bytes(report.memory_bytes);
}

StepReport FromProto(const v1::StepReport& in) {
  StepReport report;
  report.step = in.step();
  report.loss = in.loss();
  report.grad_norm = in.grad_norm();
  report.lr = in.lr();
  report.tokens = in.tokens();
  report.total_tokens = in.total_tokens();
  report.step_seconds = in.step_seconds();
  report.tokens_per_second = in.tokens_per_second();
  if (in.has_mfu()) report.mfu = in.mfu();
  report.bubble = in.bubble();
  report.exposed_transfer = in.exposed_transfer();
  report.compute_seconds = in.compute_seconds();
  report.skipped = in.skipped();
  report.skipped_total = in.skipped_total();
  if (in.has_validation_loss()) report.validation_loss = in.validation_loss();
  report.gain = Read(in.gain());
  if (in.has_mixing()) report.mixing = Read(in.mixing());
  report.memory_bytes = in.memory_bytes();
  return report;
}

void ToProto(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  out->set_nanos(
      static_cast<int32_t>((time - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
}

absl::Time FromProto(const google::protobuf::Timestamp& in) {
  return absl::FromUnixSeconds(in.seconds()) + absl::Nanoseconds(in.nanos());
}

ExitCode ExitCodeFromNumber(int number) {
  switch (static_cast<ExitCode>(number)) {
    case ExitCode::kDone:
    case ExitCode::kBadSpec:
    case ExitCode::kInternal:
    case ExitCode::kInfrastructure:
    case ExitCode::kFenced:
    case ExitCode::kNumerics:
    case ExitCode::kStopped:
      return static_cast<ExitCode>(number);
  }
  return ExitCode::kInternal;
}

}  // namespace birkhoff
