// Inputs of a boundary with streams in bf16, and what the reference in double makes of them.
#pragma once

#include <cstring>
#include <vector>

#include "kernels/boundary.h"
#include "tests/kernels/boundary_fixture.h"

namespace birkhoff {

inline std::vector<float> Widen(const std::vector<bf16>& values) {
  std::vector<float> wide;
  for (const bf16 value : values) wide.push_back(ToFloat(value));
  return wide;
}

namespace emulation {

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

inline std::vector<bf16> Drawn(int64_t count, uint64_t seed, double scale = 1.0) {
  std::vector<bf16> values;
  for (const float value : Normal<float>(count, seed, scale)) values.push_back(ToBf16(value));
  return values;
}
template <typename T>
std::vector<double> Doubles(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}
inline std::vector<double> Doubles(const std::vector<bf16>& values) {
  return Doubles(Widen(values));
}
inline BoundaryWeights<double> Doubles(const BoundaryWeights<float>& weights) {
  BoundaryWeights<double> wide;
  wide.projection = Doubles(weights.projection);
  wide.alpha = Doubles(weights.alpha);
  wide.bias = Doubles(weights.bias);
  wide.gamma = Doubles(weights.gamma);
  return wide;
}

struct ForwardReference {
  std::vector<bf16> x_rounded;
  std::vector<double> x, logits, coefficients, norm_out, norm_inv_rms, prefix;  // of x_rounded
};

struct BoundaryProblem {
  BoundaryProblem(BoundaryKind kind, MappingKind mapping, int streams, int64_t tokens,
                  int64_t channels, double scale)
      : shape{.kind = kind,
              .mapping = mapping,
              .streams = streams,
              .tokens = tokens,
              .channels = channels,
              .mix_eps = 1e-3,
              .norm_eps = 1e-3},
        weights(shape, 1),
        x(Drawn(tokens * streams * channels, 11, scale)),
        y(Drawn(tokens * channels, 12, scale)),
        above(Drawn(tokens * streams * channels, 13)),
        dnorm(Drawn(tokens * channels, 14)),
        coefficients_below(Normal<float>(tokens * CoefficientsPerToken(shape), 16, 0.5)),
        matrices(Normal<float>(tokens * streams * streams, 17)) {}

  // In the order of the streaming kernels.
  std::vector<bf16> MergeInFloat() const {
    std::vector<bf16> out(x.size());
    for (size_t at = 0; at < x.size(); ++at) {
      float sum = 0.0f;
      ForTerms(at, [&](float h, float value, bool first) {
        sum = first ? h * value : std::fma(h, value, sum);
      });
      out[at] = ToBf16(sum);
    }
    return out;
  }
  // sizes: sums of magnitudes.
  std::vector<double> MergeExactly(std::vector<double>& sizes) const {
    std::vector<double> out(x.size());
    sizes.assign(x.size(), 0.0);
    for (size_t at = 0; at < x.size(); ++at) {
      ForTerms(at, [&](float h, float value, bool) {
        out[at] += double(h) * double(value);
        sizes[at] += std::abs(double(h) * double(value));
      });
    }
    return out;
  }

  ForwardReference Forward(bool merge) const { return ForwardOf(merge ? MergeInFloat() : x); }
  ForwardReference ForwardOf(const std::vector<bf16>& x_rounded) const {
    ForwardReference out;
    out.x_rounded = x_rounded;
    BoundaryState<double> state(shape);
    state.x = Doubles(out.x_rounded);
    const BoundaryWeights<double> wide = Doubles(weights);
    EXPECT_TRUE(
        cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, wide, state)).ok());
    out.x = state.x;
    out.logits = state.logits;
    out.coefficients = state.coefficients;
    out.norm_out = state.norm_out;
    out.norm_inv_rms = state.norm_inv_rms;
    const int n = shape.streams;
    out.prefix.resize(matrices.size());
    for (int64_t t = 0; t < shape.tokens; ++t) {
      for (int k = 0; k < n * n * n; ++k) {
        const int i = k / n / n, j = k / n % n, m = k % n;
        const int64_t stride = CoefficientsPerToken(shape);
        const double h =
            stride == 0 ? 1.0 : double(coefficients_below[size_t(t * stride + 2 * n + i * n + m)]);
        out.prefix[size_t((t * n + i) * n + j)] +=
            h * double(matrices[size_t((t * n + m) * n + j)]);
      }
    }
    return out;
  }

  BoundaryShape shape;
  BoundaryWeights<float> weights;
  std::vector<bf16> x, y, above, dnorm;
  std::vector<float> coefficients_below, matrices;

 private:
  // term(coefficient, what it is multiplied with, whether it is the first) of an element of X.
  template <typename Term>
  void ForTerms(size_t at, const Term& term) const {
    const int64_t C = shape.channels, n = shape.streams, c = int64_t(at) % C;
    const int64_t i = int64_t(at) / C % n, t = int64_t(at) / C / n;
    const int64_t stride = CoefficientsPerToken(shape);
    const auto h = [&](int64_t k) {
      return stride == 0 ? 1.0f : coefficients_below[size_t(t * stride + k)];
    };
    term(h(n + i), ToFloat(y[size_t(t * C + c)]), true);
    for (int64_t j = 0; j < n; ++j) {
      term(h(2 * n + i * n + j), ToFloat(x[size_t((t * n + j) * C + c)]), false);
    }
  }
};

}  // namespace emulation
}  // namespace birkhoff
