// What one rank brings to the end of a step, as a row of doubles that stands in the device's
// memory:
//
//   loss, target tokens, squared gradient norm, non-finite gradient elements        StepShare
//   for each sub-layer of the model: sums over tokens of the gains of
//     H_l             forward, backward, smallest row sum, smallest column sum      GainSums
//     H_l ... H_0     the same four
//     H_{L-1} ... H_l the same four
//     and [n, n] sums over tokens of the two products                               row-major
//     and how the streams are mixed, over a sample of the tokens
//       as it opens   tokens, saturation, off-diagonal mass, column residual,
//                     read saturation, write saturation                      CoefficientMeasures
//       as it merges  tokens, distance from the identity, from the uniform
//                     matrix, similarity                                     StreamMeasures
//
// (the structs are those of kernels/adamw.h, kernels/gain.h and kernels/mixing.h).  Sums start at 0, minima at
// infinity.  All ranks' rows, gathered, are what a step is decided and reported from.
#pragma once

#include <cstdint>
#include <span>

#include "core/spec/model.h"

namespace birkhoff {

enum class GainOf { kSingle = 0, kPrefix = 1, kSuffix = 2 };

class ShareLayout {
 public:
  explicit ShareLayout(const ModelSpec& model)
      : sublayers_(NumSubLayers(model)), matrix_(int64_t{NumStreams(model)} * NumStreams(model)) {}

  static constexpr int64_t kLoss = 0, kTargets = 1, kSquaredNorm = 2, kNonFinite = 3, kHead = 4;
  static constexpr int64_t kGains = 4;  // doubles of one GainSums
  enum Gain { kForward = 0, kBackward = 1, kRowSumMin = 2, kColumnSumMin = 3 };

  static constexpr int64_t kOpened = 6,
                           kMerged = 4;  // doubles of CoefficientMeasures, StreamMeasures
  enum Opened {
    kOpenedTokens = 0,
    kSaturation = 1,
    kOffDiagonal = 2,
    kColumnResidual = 3,
    kRead = 4,
    kWrite = 5
  };
  enum Merged { kMergedTokens = 0, kFromIdentity = 1, kFromUniform = 2, kSimilarity = 3 };

  int64_t length() const { return kHead + sublayers_ * PerSubLayer(); }
  int64_t GainsAt(int sublayer, GainOf of) const {
    return kHead + sublayer * PerSubLayer() + static_cast<int>(of) * kGains;
  }
  // Of the products alone: kPrefix or kSuffix.
  int64_t MatrixAt(int sublayer, GainOf of) const {
    return GainsAt(sublayer, GainOf::kSingle) + 3 * kGains +
           (of == GainOf::kSuffix ? matrix_ : int64_t{0});
  }
  int64_t OpenedAt(int sublayer) const { return MatrixAt(sublayer, GainOf::kSuffix) + matrix_; }
  int64_t MergedAt(int sublayer) const { return OpenedAt(sublayer) + kOpened; }
  int64_t matrix_elements() const { return matrix_; }
  int num_sublayers() const { return sublayers_; }

  // Fills `row` with what every step starts from.
  void Clear(std::span<double> row) const;

 private:
  int64_t PerSubLayer() const { return 3 * kGains + 2 * matrix_ + kOpened + kMerged; }

  const int sublayers_;
  const int64_t matrix_;
};

}  // namespace birkhoff
