// Shares are added element by element, but for minima; then sums become means, norms and the
// largest gains.  What is not a number stays one through all of it.
#include "worker/agree.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace birkhoff {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What is not a number wins, as it does in a sum: std::max and std::min may lose it.
double Larger(double a, double b) { return std::isnan(a) || std::isnan(b) ? kNan : std::max(a, b); }
double Smaller(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? kNan : std::min(a, b);
}

// Adds `from` to `to`; minima are kept.  Works on whole shares.
void Fold(const ShareLayout& layout, std::span<const double> from, std::span<double> to) {
  for (int64_t i = 0; i < ShareLayout::kHead; ++i) to[i] += from[i];
  // Per sub-layer: sums of largest gains, minima of row and column sums, sums of P and S.
  for (int l = 0; l < layout.num_sublayers(); ++l) {
    for (const GainOf of : {GainOf::kSingle, GainOf::kPrefix, GainOf::kSuffix}) {
      const int64_t at = layout.GainsAt(l, of);
      to[at + ShareLayout::kForward] += from[at + ShareLayout::kForward];
      to[at + ShareLayout::kBackward] += from[at + ShareLayout::kBackward];
      for (const int64_t i : {at + ShareLayout::kRowSumMin, at + ShareLayout::kColumnSumMin}) {
        to[i] = Smaller(to[i], from[i]);
      }
    }
    const int64_t begin = layout.MatrixAt(l, GainOf::kPrefix);
    // With what follows them: how the streams are mixed.
    const int64_t end = layout.MergedAt(l) + ShareLayout::kMerged;
    for (int64_t i = begin; i < end; ++i) to[i] += from[i];
  }
}

// Largest absolute row sum of `matrix` [n, n] / count, or column sum.
double Gain(const double* matrix, int64_t n, double count, bool rows) {
  double gain = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0.0;
    for (int64_t j = 0; j < n; ++j) sum += rows ? matrix[i * n + j] : matrix[j * n + i];
    gain = Larger(gain, std::abs(sum) / count);
  }
  return gain;
}

GainReport GainsOf(const ShareLayout& layout, std::span<const double> sum, double tokens) {
  const auto n = static_cast<int64_t>(std::llround(std::sqrt(double(layout.matrix_elements()))));
  GainReport gain;
  gain.mean_matrix_forward = gain.mean_matrix_backward = 0.0;
  gain.row_sum_min = gain.column_sum_min = std::numeric_limits<double>::infinity();
  for (int l = 0; l < layout.num_sublayers(); ++l) {
    // Means over tokens of each token's gain.
    const double* single = sum.data() + layout.GainsAt(l, GainOf::kSingle);
    const double* prefix = sum.data() + layout.GainsAt(l, GainOf::kPrefix);
    const double* suffix = sum.data() + layout.GainsAt(l, GainOf::kSuffix);
    gain.forward_by_sublayer.push_back(prefix[ShareLayout::kForward] / tokens);
    gain.backward_by_sublayer.push_back(suffix[ShareLayout::kBackward] / tokens);
    gain.single_forward_by_sublayer.push_back(single[ShareLayout::kForward] / tokens);
    gain.single_backward_by_sublayer.push_back(single[ShareLayout::kBackward] / tokens);
    // Gains of the mean matrices, and the smallest sums; each over all sub-layers.
    const double* forward = sum.data() + layout.MatrixAt(l, GainOf::kPrefix);
    const double* backward = sum.data() + layout.MatrixAt(l, GainOf::kSuffix);
    gain.mean_matrix_forward = Larger(gain.mean_matrix_forward, Gain(forward, n, tokens, true));
    gain.mean_matrix_backward = Larger(gain.mean_matrix_backward, Gain(backward, n, tokens, false));
    gain.row_sum_min = Smaller(gain.row_sum_min, prefix[ShareLayout::kRowSumMin]);
    gain.column_sum_min = Smaller(gain.column_sum_min, suffix[ShareLayout::kColumnSumMin]);
  }
  // The composite gain is that of the worst sub-layer.
  const auto largest = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), values.front(), Larger);
  };
  gain.forward = largest(gain.forward_by_sublayer);
  gain.backward = largest(gain.backward_by_sublayer);
  return gain;
}

std::optional<double> FiniteOrNone(double value) {
  return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

// Means over the sample of tokens.
std::optional<MixingReport> MixingOf(const ShareLayout& layout, std::span<const double> sum) {
  if (layout.matrix_elements() == 1) return std::nullopt;
  MixingReport mixing;
  double read = 0.0, write = 0.0;
  for (int l = 0; l < layout.num_sublayers(); ++l) {
    const double* opened = sum.data() + layout.OpenedAt(l);
    const double* merged = sum.data() + layout.MergedAt(l);
    const double of_opened = std::max(opened[ShareLayout::kOpenedTokens], 1.0);
    const double of_merged = std::max(merged[ShareLayout::kMergedTokens], 1.0);
    const auto add = [](std::vector<float>& values, double value) {
      values.push_back(static_cast<float>(value));
    };
    add(mixing.saturation_by_sublayer, opened[ShareLayout::kSaturation] / of_opened);
    add(mixing.off_diagonal_mass_by_sublayer, opened[ShareLayout::kOffDiagonal] / of_opened);
    mixing.column_residual =
        Larger(mixing.column_residual, opened[ShareLayout::kColumnResidual] / of_opened);
    read += opened[ShareLayout::kRead] / of_opened / layout.num_sublayers();
    write += opened[ShareLayout::kWrite] / of_opened / layout.num_sublayers();
    add(mixing.identity_distance_by_sublayer, merged[ShareLayout::kFromIdentity] / of_merged);
    add(mixing.uniform_distance_by_sublayer, merged[ShareLayout::kFromUniform] / of_merged);
    add(mixing.stream_similarity_by_sublayer, merged[ShareLayout::kSimilarity] / of_merged);
  }
  mixing.read_saturation = FiniteOrNone(read);
  mixing.write_saturation = FiniteOrNone(write);
  return mixing;
}

}  // namespace

Agreement FoldShares(const ShareLayout& layout, std::span<const double> all, int64_t total_tokens) {
  // In ascending order of ranks: the same bits on all of them.
  const int64_t length = layout.length();
  std::vector<double> sum(length);
  layout.Clear(sum);
  for (int64_t at = 0; at < static_cast<int64_t>(all.size()); at += length) {
    Fold(layout, all.subspan(at, length), sum);
  }
  Agreement agreement;
  agreement.target_tokens = static_cast<int64_t>(sum[ShareLayout::kTargets]);
  agreement.loss = sum[ShareLayout::kLoss] / std::max(sum[ShareLayout::kTargets], 1.0);
  agreement.grad_norm = std::sqrt(sum[ShareLayout::kSquaredNorm]);
  agreement.non_finite = static_cast<int64_t>(sum[ShareLayout::kNonFinite]);
  agreement.skip = agreement.non_finite > 0 || !std::isfinite(sum[ShareLayout::kLoss]) ||
                   !std::isfinite(agreement.grad_norm);
  // The sum of squares is that of the finite elements.
  if (agreement.non_finite > 0) agreement.grad_norm = kInfinity;
  if (std::isnan(agreement.grad_norm)) agreement.grad_norm = kNan;
  if (std::isnan(agreement.loss)) agreement.loss = kNan;  // without the sign that 0/0 has
  agreement.gain = GainsOf(layout, sum, static_cast<double>(std::max<int64_t>(total_tokens, 1)));
  agreement.mixing = MixingOf(layout, sum);
  return agreement;
}

HostAgreement FoldHostShares(std::span<const HostShare> all) {
  HostAgreement agreement;
  double busy = 0.0, longest = 0.0, exposed = 0.0, span = 0.0;
  for (const HostShare& share : all) {
    agreement.stop = agreement.stop || share.stop > 0.0;
    busy += share.busy_ns;
    exposed += share.exposed_ns;
    span = std::max(span, share.span_ns);
    longest = std::max(longest, share.elapsed_ns);
    agreement.failed_checkpoint =
        std::max(agreement.failed_checkpoint, static_cast<int64_t>(share.failed_checkpoint));
  }
  const auto ranks = static_cast<double>(all.size());
  if (longest > 0.0) {
    agreement.bubble = std::clamp(1.0 - busy / (longest * ranks), 0.0, 1.0);
  }
  if (span > 0.0) agreement.exposed_transfer = std::clamp(exposed / (span * ranks), 0.0, 1.0);
  return agreement;
}

}  // namespace birkhoff
