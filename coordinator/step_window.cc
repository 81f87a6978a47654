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

void StepWindow::Add(Instant now, const StepReport& report) {
  while (!entries_.empty() && now - entries_.front().time >= length_) entries_.pop_front();
  entries_.push_back({now,
                      {OrInfinity(report.loss), OrInfinity(report.grad_norm),
                       OrInfinity(report.gain.forward), OrInfinity(report.gain.backward)}});
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
  }
  return largest;
}

}  // namespace birkhoff
