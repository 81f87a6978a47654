// Temperature, top-k and top-p in double, one uniform draw per token.
#include "worker/inference/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status Refuse(const char* flag, double given, const char* needed) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", given, " is not allowed; need ", needed));
}

absl::Status CheckFinite(std::span<const float> logits) {
  for (size_t token = 0; token < logits.size(); ++token) {
    if (std::isfinite(logits[token])) continue;
    return WithExitCode(absl::OutOfRangeError(absl::StrCat(
                            "the model gives token ", token, " the logit ", logits[token],
                            ": its weights do not compute; take an earlier checkpoint")),
                        ExitCode::kNumerics);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const SamplingOptions& options) {
  if (!(options.temperature >= 0.0 && std::isfinite(options.temperature))) {  // NaN neither
    return Refuse("--temperature", options.temperature, "0 (the likeliest token) or more");
  }
  if (options.top_k < 0) return Refuse("--top-k", options.top_k, "1 or more, or 0 for all tokens");
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) {
    return Refuse("--top-p", options.top_p, "more than 0, up to 1 for all tokens");
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> Sampler::Next(std::span<const float> logits) {
  RETURN_IF_ERROR(CheckFinite(logits));
  if (options_.temperature == 0.0) {
    return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  }
  KeepLikeliest(logits);
  return Draw();
}

// Fills candidates_, the likeliest first where top-k or top-p asks for an order.
void Sampler::KeepLikeliest(std::span<const float> logits) {
  candidates_.clear();
  for (size_t token = 0; token < logits.size(); ++token) {
    candidates_.push_back({double{logits[token]}, static_cast<int32_t>(token)});
  }
  const bool limited = options_.top_k > 0 && static_cast<size_t>(options_.top_k) < logits.size();
  const size_t kept = limited ? static_cast<size_t>(options_.top_k) : logits.size();
  if (limited || options_.top_p < 1.0) {
    std::ranges::partial_sort(candidates_, candidates_.begin() + static_cast<ptrdiff_t>(kept),
                              [](const Candidate& a, const Candidate& b) {
                                return a.weight != b.weight ? a.weight > b.weight
                                                            : a.token < b.token;
                              });
    candidates_.resize(kept);
  }
  const double largest = double{*std::ranges::max_element(logits)};
  double sum = 0.0;
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp((candidate.weight - largest) / options_.temperature);
    sum += candidate.weight;
  }
  if (options_.top_p == 1.0) return;
  double share = 0.0;
  size_t nucleus = 0;
  while (nucleus < candidates_.size() && share < options_.top_p * sum) {
    share += candidates_[nucleus++].weight;
  }
  candidates_.resize(nucleus);
}

int32_t Sampler::Draw() {
  double sum = 0.0;
  for (const Candidate& candidate : candidates_) sum += candidate.weight;
  double left = rng_.Uniform() * sum;
  for (const Candidate& candidate : candidates_) {
    if (left < candidate.weight) return candidate.token;
    left -= candidate.weight;
  }
  // Rounding has left a crumb: the likeliest that can be.
  return std::ranges::max_element(candidates_, {}, &Candidate::weight)->token;
}

}  // namespace birkhoff
