// One boundary, or a short chain of them, with buffers of its own: what the boundary tests drive.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/boundary.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {

// The parameters of one boundary, drawn away from every special point: phi ~ N(0, 1 / (n C)),
// alpha ~ 1, bias ~ N(0, scale^2), gamma away from 1.
template <typename T>
struct BoundaryWeights {
  BoundaryWeights() = default;
  BoundaryWeights(const BoundaryShape& shape, uint64_t seed, double scale = 1.0)
      : projection(Normal<T>(ProjectionElements(shape), seed,
                             1.0 / std::sqrt(double(shape.streams * shape.channels)))),
        alpha(Normal<T>(ProjectionElements(shape) == 0 ? 0 : 3, seed + 1, 0.1, scale)),
        bias(Normal<T>(BiasElements(shape), seed + 2, scale)),
        gamma(Normal<T>(shape.channels, seed + 3, 0.2, 1.3)) {}

  BoundaryParameters<T> view() const {
    return {projection.data(), alpha.data(), bias.data(), gamma.data()};
  }
  BoundaryGradients<T> gradient_view() {
    return {projection.data(), alpha.data(), bias.data(), gamma.data()};
  }
  // Zeros of the same sizes, for gradients.
  BoundaryWeights Zeros() const {
    BoundaryWeights zeros = *this;
    for (std::vector<T>* each : {&zeros.projection, &zeros.alpha, &zeros.bias, &zeros.gamma}) {
      each->assign(each->size(), T(0));
    }
    return zeros;
  }

  std::vector<T> projection, alpha, bias, gamma;
};

// What the forward pass of one sub-layer boundary writes.
template <typename T>
struct BoundaryState {
  BoundaryState() = default;
  explicit BoundaryState(const BoundaryShape& shape)
      : x(size_t(shape.tokens * shape.streams * shape.channels), T(-7)),
        coefficients(size_t(shape.tokens * CoefficientsPerToken(shape)), T(-7)),
        logits(size_t(shape.tokens * LogitsPerToken(shape)), T(-7)),
        contracted(size_t(shape.tokens * shape.channels), T(-7)),
        norm_out(size_t(shape.tokens * shape.channels), T(-7)),
        norm_inv_rms(size_t(shape.tokens), T(-7)),
        prefix(size_t(shape.tokens * shape.streams * shape.streams), T(-7)) {}

  std::vector<T> x, coefficients, logits, contracted, norm_out, norm_inv_rms, prefix;
};

template <typename T>
BoundaryForwardArgs<T> ForwardArgs(const BoundaryShape& shape, BoundarySink sink,
                                   const BoundaryWeights<T>& weights, BoundaryState<T>& state) {
  BoundaryForwardArgs<T> args;
  args.shape = shape;
  args.sink = sink;
  args.parameters = weights.view();
  args.x = state.x.data();
  args.coefficients = state.coefficients.data();
  args.logits = state.logits.data();
  args.contracted = state.contracted.data();
  args.norm_out = state.norm_out.data();
  args.norm_inv_rms = state.norm_inv_rms.data();
  return args;
}

// The merge of sub-layer l, whose input and coefficients stand in `below`.
template <typename T>
BoundarySourceArgs<T> MergeOf(const BoundaryState<T>& below, const std::vector<T>& y) {
  BoundarySourceArgs<T> source;
  source.kind = BoundarySource::kMerge;
  source.x = below.x.data();
  source.y = y.data();
  source.coefficients = below.coefficients.data();
  return source;
}

struct BoundaryCase {
  BoundaryKind kind = BoundaryKind::kMhc;
  MappingKind mapping = MappingKind::kSinkhorn;
  int streams = 4;
  int64_t tokens = 5;
  int64_t channels = 6;
  double scale = 1.0;  // of the logits

  BoundaryShape shape() const {
    return {.kind = kind,
            .mapping = mapping,
            .streams = streams,
            .tokens = tokens,
            .channels = channels,
            .mix_eps = 1e-3,
            .norm_eps = 1e-3};
  }
};

inline std::ostream& operator<<(std::ostream& out, const BoundaryCase& c) {
  return out << "kind " << int(c.kind) << " mapping " << TraitsOf(c.mapping).name << " n "
             << c.streams << " tokens " << c.tokens << " C " << c.channels << " scale " << c.scale;
}

// Every kind, every row of the mappings' table at three and at four streams, n of 1 to 8, odd sizes,
// more tokens than a block holds.
inline std::vector<BoundaryCase> BoundaryCases() {
  constexpr BoundaryKind kHc = BoundaryKind::kHc, kMhc = BoundaryKind::kMhc;
  constexpr MappingKind kSinkhorn = MappingKind::kSinkhorn;
  std::vector<BoundaryCase> cases = {{BoundaryKind::kResidual, kSinkhorn, 1, 5, 7, 1},
                                     {BoundaryKind::kResidual, kSinkhorn, 1, 67, 3, 1},
                                     {kHc, kSinkhorn, 1, 3, 5, 1},
                                     {kHc, kSinkhorn, 4, 5, 6, 1},
                                     {kHc, kSinkhorn, 4, 70, 3, 1},
                                     {kHc, kSinkhorn, 7, 2, 9, 1},
                                     {kMhc, kSinkhorn, 2, 3, 5, 1},
                                     {kMhc, kSinkhorn, 4, 11, 17, 1},
                                     {kMhc, kSinkhorn, 4, 5, 6, 4},
                                     {kMhc, kSinkhorn, 4, 66, 3, 1},
                                     {kMhc, kSinkhorn, 8, 3, 4, 1},
                                     {kMhc, MappingKind::kPermutations, 3, 5, 6, 4}};
  for (size_t mapping = 0; mapping < kMappings.size(); ++mapping) {
    cases.push_back({kMhc, static_cast<MappingKind>(mapping), 3, 3, 5, 1});
    cases.push_back({kMhc, static_cast<MappingKind>(mapping), 4, 5, 6, 1});
  }
  return cases;
}

}  // namespace birkhoff
