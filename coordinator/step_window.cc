// Keeps the values of every step in the window; old ones fall out as new ones come, and each look
// takes the maxima anew.
#include "coordinator/step_window.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace birkhoff {
namespace {

double OrInfinity(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::infinity();
}

}  // namespace

double SinkhornResidual(const GainReport& gain) {
  double largest = 0.0;
  for (const auto* gains : {&gain.single_forward_by_sublayer, &gain.single_backward_by_sublayer}) {
    for (const double value : *gains) {
      const double distance = std::abs(value - 1.0);
      if (!std::isfinite(distance)) return distance;
      largest = std::max(largest, distance);
    }
  }
  return largest;
}

void StepWindow::Add(Instant now, const StepReport& report) {
  while (!entries_.empty() && now - entries_.front().time >= length_) entries_.pop_front();
  entries_.push_back(
      {now,
       {OrInfinity(report.loss), OrInfinity(report.grad_norm), OrInfinity(report.gain.forward),
        OrInfinity(report.gain.backward), OrInfinity(SinkhornResidual(report.gain))}});
}

std::optional<StepMaxima> StepWindow::Largest(Instant now) const {
  std::optional<StepMaxima> largest;
  for (const auto& [time, values] : entries_) {
    if (now - time >= length_) continue;
    if (!largest.has_value()) largest = values;
    largest->loss = std::max(largest->loss, values.loss);
    largest->grad_norm = std::max(largest->grad_norm, values.grad_norm);
    largest->gain_forward = std::max(largest->gain_forward, values.gain_forward);
    largest->gain_backward = std::max(largest->gain_backward, values.gain_backward);
    largest->sinkhorn_residual = std::max(largest->sinkhorn_residual, values.sinkhorn_residual);
  }
  return largest;
}

}  // namespace birkhoff
