#include "worker/agree.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace birkhoff {
namespace {

// A contribution: the head, then for each sub-layer of the model the fields, then both matrices.
enum Head { kLoss, kTargets, kSquaredNorm, kNonFinite, kStop, kBusy, kElapsed, kHeadLength };
enum Field {
  kForward,
  kBackward,
  kSingleForward,
  kSingleBackward,
  kRowSumMin,
  kColumnSumMin,
  kNumFields
};

int64_t MatrixSize(const ModelSpec& model) {
  const int64_t n = NumStreams(model);
  return n * n;
}
int64_t SubLayerLength(const ModelSpec& model) { return kNumFields + 2 * MatrixSize(model); }
int64_t SubLayerBegin(const ModelSpec& model, int sublayer) {
  return kHeadLength + sublayer * SubLayerLength(model);
}

void Clear(const ModelSpec& model, std::span<double> out) {
  std::fill(out.begin(), out.end(), 0.0);
  for (int l = 0; l < NumSubLayers(model); ++l) {
    double* sublayer = out.data() + SubLayerBegin(model, l);
    sublayer[kRowSumMin] = sublayer[kColumnSumMin] = std::numeric_limits<double>::infinity();
  }
}

// Adds `from` to `to`; minima are kept.  Works on whole contributions.
void Fold(const ModelSpec& model, std::span<const double> from, std::span<double> to) {
  for (int i = 0; i < kHeadLength; ++i) {
    to[i] = i == kElapsed ? std::max(to[i], from[i]) : to[i] + from[i];
  }
  for (int l = 0; l < NumSubLayers(model); ++l) {
    const int64_t begin = SubLayerBegin(model, l);
    for (int64_t i = 0; i < SubLayerLength(model); ++i) {
      const bool minimum = i == kRowSumMin || i == kColumnSumMin;
      const double a = to[begin + i], b = from[begin + i];
      to[begin + i] = minimum ? std::min(a, b) : a + b;
    }
  }
}

void AddSubLayer(const StageSums::SubLayer& sums, int64_t matrix, double* out) {
  out[kForward] += sums.composite_forward;
  out[kBackward] += sums.composite_backward;
  out[kSingleForward] += sums.single_forward;
  out[kSingleBackward] += sums.single_backward;
  out[kRowSumMin] = std::min(out[kRowSumMin], sums.row_sum_min);
  out[kColumnSumMin] = std::min(out[kColumnSumMin], sums.column_sum_min);
  for (int64_t i = 0; i < matrix; ++i) {
    out[kNumFields + i] += sums.mean_forward[i];
    out[kNumFields + matrix + i] += sums.mean_backward[i];
  }
}

void AddStage(const ModelSpec& model, const StageModule& stage, std::span<double> out) {
  const StageSums& sums = stage.sums();
  out[kLoss] += sums.loss;
  out[kTargets] += static_cast<double>(sums.target_tokens);
  const int first = std::max(stage.layout().units.first, 1);  // unit of the first sub-layer
  for (size_t i = 0; i < sums.sublayers.size(); ++i) {
    const int64_t begin = SubLayerBegin(model, first - 1 + static_cast<int>(i));
    AddSubLayer(sums.sublayers[i], MatrixSize(model), out.data() + begin);
  }
}

// Largest absolute row sum of `matrix` [n, n] / count, or column sum.
double Gain(const double* matrix, int64_t n, double count, bool rows) {
  double gain = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0.0;
    for (int64_t j = 0; j < n; ++j) sum += rows ? matrix[i * n + j] : matrix[j * n + i];
    gain = std::max(gain, std::abs(sum) / count);
  }
  return gain;
}

GainReport GainsOf(const ModelSpec& model, std::span<const double> sum, double tokens) {
  const int64_t n = NumStreams(model);
  GainReport gain;
  gain.mean_matrix_forward = gain.mean_matrix_backward = 0.0;
  gain.row_sum_min = gain.column_sum_min = std::numeric_limits<double>::infinity();
  for (int l = 0; l < NumSubLayers(model); ++l) {
    const double* sublayer = sum.data() + SubLayerBegin(model, l);
    gain.forward_by_sublayer.push_back(sublayer[kForward] / tokens);
    gain.backward_by_sublayer.push_back(sublayer[kBackward] / tokens);
    gain.single_forward_by_sublayer.push_back(sublayer[kSingleForward] / tokens);
    gain.single_backward_by_sublayer.push_back(sublayer[kSingleBackward] / tokens);
    const double* forward = sublayer + kNumFields;
    gain.mean_matrix_forward = std::max(gain.mean_matrix_forward, Gain(forward, n, tokens, true));
    gain.mean_matrix_backward =
        std::max(gain.mean_matrix_backward, Gain(forward + n * n, n, tokens, false));
    gain.row_sum_min = std::min(gain.row_sum_min, sublayer[kRowSumMin]);
    gain.column_sum_min = std::min(gain.column_sum_min, sublayer[kColumnSumMin]);
  }
  const auto largest = [](const std::vector<double>& values) {
    return *std::max_element(values.begin(), values.end());
  };
  gain.forward = largest(gain.forward_by_sublayer);
  gain.backward = largest(gain.backward_by_sublayer);
  return gain;
}

}  // namespace

int64_t AgreeLength(const ModelSpec& model) { return SubLayerBegin(model, NumSubLayers(model)); }

void PackShare(const ModelSpec& model, const RankShare& share, std::span<double> out) {
  Clear(model, out);
  for (const StageModule* stage : share.stages) AddStage(model, *stage, out);
  out[kSquaredNorm] = share.norm.squared;
  out[kNonFinite] = static_cast<double>(share.norm.non_finite);
  out[kStop] = share.stop ? 1.0 : 0.0;
  out[kBusy] = static_cast<double>(share.utilization.busy_ns);
  out[kElapsed] = static_cast<double>(share.utilization.elapsed_ns);
}

Agreement FoldShares(const ModelSpec& model, std::span<const double> all,
                     const AgreeOptions& options) {
  const int64_t length = AgreeLength(model);
  const int64_t ranks = static_cast<int64_t>(all.size()) / length;
  std::vector<double> sum(length);
  Clear(model, sum);
  for (int64_t r = 0; r < ranks; ++r) Fold(model, all.subspan(r * length, length), sum);

  Agreement agreement;
  agreement.target_tokens = static_cast<int64_t>(sum[kTargets]);
  agreement.loss = sum[kLoss] / std::max(sum[kTargets], 1.0);
  agreement.grad_norm = std::sqrt(sum[kSquaredNorm]);
  agreement.non_finite = static_cast<int64_t>(sum[kNonFinite]);
  agreement.skip =
      agreement.non_finite > 0 || !std::isfinite(sum[kLoss]) || !std::isfinite(agreement.grad_norm);
  if (options.clip_grad > 0.0 && agreement.grad_norm > options.clip_grad) {
    agreement.clip_scale = options.clip_grad / agreement.grad_norm;
  }
  agreement.stop = sum[kStop] > 0.0;
  if (sum[kElapsed] > 0.0) {
    agreement.bubble =
        std::clamp(1.0 - sum[kBusy] / (sum[kElapsed] * static_cast<double>(ranks)), 0.0, 1.0);
  }
  agreement.gain =
      GainsOf(model, sum, static_cast<double>(std::max<int64_t>(options.total_tokens, 1)));
  return agreement;
}

}  // namespace birkhoff
