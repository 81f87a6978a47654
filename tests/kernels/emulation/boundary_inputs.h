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
  std::vector<bf16> x_rounded;  // of fp32 arithmetic in the order of the streaming kernels
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

  std::vector<bf16> MergeInFloat() const {
    const int n = shape.streams;
    const int64_t C = shape.channels;
    std::vector<bf16> out(x.size());
    for (int64_t t = 0; t < shape.tokens; ++t) {
      for (int i = 0; i < n; ++i) {
        for (int64_t c = 0; c < C; ++c) {
          const auto h = [&](int k) {
            const int64_t stride = CoefficientsPerToken(shape);
            return stride == 0 ? 1.0f : coefficients_below[size_t(t * stride + k)];
          };
          float sum = h(n + i) * ToFloat(y[size_t(t * C + c)]);
          for (int j = 0; j < n; ++j) {
            sum = std::fma(h(2 * n + i * n + j), ToFloat(x[size_t((t * n + j) * C + c)]), sum);
          }
          out[size_t((t * n + i) * C + c)] = ToBf16(sum);
        }
      }
    }
    return out;
  }

  ForwardReference Forward(bool merge) const {
    ForwardReference out;
    out.x_rounded = merge ? MergeInFloat() : x;
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
};

}  // namespace emulation
}  // namespace birkhoff
