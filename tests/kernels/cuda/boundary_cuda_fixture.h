// Inputs, buffers and error limits of the boundary's tests on a GPU.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cuda/boundary_path.h"
#include "kernels/cuda/ops.h"
#include "tests/kernels/boundary_fixture.h"
#include "tests/kernels/cuda/device_buffer.h"

namespace birkhoff {

// Half a unit in the last place, relative.
template <typename T>
inline constexpr double kRounding = 0x1p-24;
template <>
inline constexpr double kRounding<bf16> = 0x1p-8;
inline constexpr double kFloat = kRounding<float>;

// A gradient may be off by this much of its tensor's largest entry: the bar of training in fp32,
// and what sums over channels, tokens and paths that cancel leave of 2^-24.
inline constexpr double kGradientBar = 1e-4;

// The worst value of each group of checks, printed as the program ends.
inline void NoteGroup(const std::string& group, double worst, double limit) {
  struct Groups {
    ~Groups() {
      for (const auto& [name, line] : lines) {
        std::printf("%-60s worst %.3g limit %.3g\n", name.c_str(), line.first, line.second);
      }
    }
    std::map<std::string, std::pair<double, double>> lines;
  };
  static Groups groups;
  auto& line = groups.lines.emplace(group, std::pair(worst, limit)).first->second;
  if (!(worst <= line.first)) line.first = worst;
}

// |got[i] - want[i]| <= limit(i) for all i; the group's figure is the largest ratio of the two.
template <typename T, typename Limit>
void ExpectWithin(const std::string& group, const std::string& where, const std::vector<T>& got,
                  const std::vector<double>& want, const Limit& limit) {
  ASSERT_EQ(got.size(), want.size()) << group << " " << where;
  const auto wide = Widen(got);
  double worst = 0.0;
  size_t at = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(double(wide[i]) - want[i]);
    const double ratio = error == 0.0 ? 0.0 : error / limit(i);
    if (ratio <= worst) continue;
    worst = ratio;
    at = i;
    if (std::isnan(ratio)) break;
  }
  NoteGroup(group + " (of its limit)", worst, 1.0);
  if (worst <= 1.0) return;
  ADD_FAILURE() << group << " of " << where << ": element " << at << " is " << wide[at] << ", want "
                << want[at] << ", limit " << limit(at);
}

// To `bar` of the largest entry, and the one rounding to T.
template <typename T>
void ExpectGradientBar(const std::string& group, const std::string& where,
                       const std::vector<T>& got, const std::vector<double>& want,
                       double bar = kGradientBar) {
  ASSERT_EQ(got.size(), want.size()) << group << " " << where;
  const double largest = LargestAbs(want);
  const auto wide = Widen(got);
  double worst = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double rounding = kRounding<T> * std::abs(want[i]);
    double error = std::abs(double(wide[i]) - want[i]);
    if (error <= rounding) error = 0.0;
    if (error > 0.0) error = (error - rounding) / largest;
    if (!(error <= worst)) worst = error;
  }
  NoteGroup(group + " (of the largest entry)", worst, bar);
  EXPECT_LE(worst, bar) << group << " of " << where;
}

template <typename T>
void ExpectSameBits(const std::string& what, const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size()) << what;
  if (a.empty()) return;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(T)), 0) << what << ": other bits";
}

template <typename T>
std::vector<double> Doubles(const std::vector<T>& values) {
  const auto wide = Widen(values);
  return {wide.begin(), wide.end()};
}
inline std::vector<double> Magnitudes(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  return values;
}
template <typename T>
std::vector<double> Magnitudes(const std::vector<T>& values) {
  return Magnitudes(Doubles(values));
}
inline BoundaryWeights<double> Doubles(const BoundaryWeights<float>& weights) {
  BoundaryWeights<double> wide;
  wide.projection = Doubles(weights.projection);
  wide.alpha = Doubles(weights.alpha);
  wide.bias = Doubles(weights.bias);
  wide.gamma = Doubles(weights.gamma);
  return wide;
}

template <typename T>
std::vector<T> Drawn(int64_t count, uint64_t seed, double scale = 1.0) {
  return Narrow<T>(Normal<float>(count, seed, scale));
}

// What a boundary is given, on the host and on the device.
template <typename T>
struct BoundaryInputs {
  static constexpr int64_t kVocabulary = 11;  // ids repeat

  explicit BoundaryInputs(const BoundaryShape& shape)
      : weights(shape, 1),
        x(Drawn<T>(shape.tokens * shape.streams * shape.channels, 11)),
        y(Drawn<T>(shape.tokens * shape.channels, 12)),
        above(Drawn<T>(shape.tokens * shape.streams * shape.channels, 13)),
        dnorm(Drawn<T>(shape.tokens * shape.channels, 14)),
        embedding(Drawn<T>(kVocabulary * shape.channels, 15)),
        coefficients(Normal<float>(shape.tokens * CoefficientsPerToken(shape), 16, 0.5)),
        matrices(Normal<float>(shape.tokens * shape.streams * shape.streams, 17)) {
    for (int64_t t = 0; t < shape.tokens; ++t) ids.push_back(int32_t((t * t + 3) % 7 + t % 3));
  }

  BoundaryWeights<float> weights;
  std::vector<T> x, y, above, dnorm, embedding;
  std::vector<float> coefficients, matrices;  // of the sub-layer below; products so far
  std::vector<int32_t> ids;
};

template <typename T>
struct DeviceInputs {
  explicit DeviceInputs(const BoundaryInputs<T>& in)
      : projection(in.weights.projection),
        alpha(in.weights.alpha),
        bias(in.weights.bias),
        gamma(in.weights.gamma),
        x(in.x),
        y(in.y),
        above(in.above),
        dnorm(in.dnorm),
        embedding(in.embedding),
        coefficients(in.coefficients),
        matrices(in.matrices),
        ids(in.ids) {}

  BoundaryParameters<T> parameters() const {
    return {projection.data(), alpha.data(), bias.data(), gamma.data()};
  }
  BoundarySourceArgs<T> merge() const {
    BoundarySourceArgs<T> source;
    source.kind = BoundarySource::kMerge;
    source.x = x.data();
    source.y = y.data();
    source.coefficients = coefficients.data();
    return source;
  }
  BoundarySourceArgs<T> embed(StreamExpand expand) const {
    BoundarySourceArgs<T> source;
    source.kind = BoundarySource::kEmbed;
    source.embedding = embedding.data();
    source.ids = ids.data();
    source.vocabulary = BoundaryInputs<T>::kVocabulary;
    source.expand = expand;
    return source;
  }

  DeviceBuffer<float> projection, alpha, bias, gamma;
  DeviceBuffer<T> x, y, above, dnorm, embedding;
  DeviceBuffer<float> coefficients, matrices;
  DeviceBuffer<int32_t> ids;
};

// What a forward pass writes, on the device and, after Fetch, on the host.
template <typename T>
struct ForwardOutputs {
  explicit ForwardOutputs(const BoundaryShape& shape)
      : x(shape.tokens * shape.streams * shape.channels),
        contracted(shape.tokens * shape.channels),
        norm_out(shape.tokens * shape.channels),
        coefficients(shape.tokens * CoefficientsPerToken(shape)),
        logits(shape.tokens * LogitsPerToken(shape)),
        norm_inv_rms(shape.tokens),
        prefix(shape.tokens * shape.streams * shape.streams) {}

  BoundaryForwardArgs<T> args(const BoundaryShape& shape, const BoundarySourceArgs<T>& source,
                              BoundarySink sink, const DeviceInputs<T>& in) const {
    BoundaryForwardArgs<T> args;
    args.shape = shape;
    args.source = source;
    args.x = x.data();
    args.prefix_below = in.matrices.data();
    args.prefix = prefix.data();
    args.sink = sink;
    args.parameters = in.parameters();
    args.coefficients = coefficients.data();
    args.logits = logits.data();
    args.contracted = contracted.data();
    args.norm_out = norm_out.data();
    args.norm_inv_rms = norm_inv_rms.data();
    return args;
  }

  DeviceBuffer<T> x, contracted, norm_out;
  DeviceBuffer<float> coefficients, logits, norm_inv_rms, prefix;
};

// What a backward pass writes.  Gradients of parameters start away from zero: they are added to.
template <typename T>
struct BackwardOutputs {
  explicit BackwardOutputs(const BoundaryShape& shape)
      : dx(shape.tokens * shape.streams * shape.channels),
        dy_below(shape.tokens * shape.channels),
        suffix(shape.tokens * shape.streams * shape.streams),
        projection(Start(ProjectionElements(shape))),
        alpha(Start(3)),
        bias(Start(BiasElements(shape))),
        gamma(Start(shape.channels)),
        dembedding(Start(BoundaryInputs<T>::kVocabulary * shape.channels)),
        workspace(cuda::BoundaryWorkspaceBytes(shape)) {}
  static std::vector<float> Start(int64_t count) { return Normal<float>(count, 21, 0.1); }

  BoundaryBackwardArgs<T> args(const BoundaryShape& shape, const DeviceInputs<T>& in,
                               const ForwardOutputs<T>& forward) const {
    BoundaryBackwardArgs<T> args;
    args.shape = shape;
    args.dx_above = in.above.data();
    args.x = forward.x.data();
    args.contracted = forward.contracted.data();
    args.y = in.y.data();
    args.dnorm = in.dnorm.data();
    args.norm_inv_rms = forward.norm_inv_rms.data();
    args.coefficients = forward.coefficients.data();
    args.logits = forward.logits.data();
    args.parameters = in.parameters();
    args.gradients = {projection.data(), alpha.data(), bias.data(), gamma.data()};
    args.suffix_above = in.matrices.data();
    args.suffix = suffix.data();
    args.dx = dx.data();
    args.source = BoundarySource::kMerge;
    args.coefficients_below = in.coefficients.data();
    args.dy_below = dy_below.data();
    args.dembedding = dembedding.data();
    args.ids = in.ids.data();
    args.vocabulary = BoundaryInputs<T>::kVocabulary;
    args.workspace = workspace.data();
    return args;
  }

  DeviceBuffer<T> dx, dy_below;
  DeviceBuffer<float> suffix, projection, alpha, bias, gamma, dembedding;
  DeviceBuffer<char> workspace;
};

template <typename T>
void ExpectSameBits(const std::string& what, const BackwardOutputs<T>& a,
                    const BackwardOutputs<T>& b) {
  ExpectSameBits(what + ": dx", a.dx.ToHost(), b.dx.ToHost());
  ExpectSameBits(what + ": dy_below", a.dy_below.ToHost(), b.dy_below.ToHost());
  ExpectSameBits(what + ": suffix", a.suffix.ToHost(), b.suffix.ToHost());
  ExpectSameBits(what + ": dprojection", a.projection.ToHost(), b.projection.ToHost());
  ExpectSameBits(what + ": dalpha", a.alpha.ToHost(), b.alpha.ToHost());
  ExpectSameBits(what + ": dbias", a.bias.ToHost(), b.bias.ToHost());
  ExpectSameBits(what + ": dgamma", a.gamma.ToHost(), b.gamma.ToHost());
  ExpectSameBits(what + ": dembedding", a.dembedding.ToHost(), b.dembedding.ToHost());
}

// ---- single steps of the reference, in double

// The coefficients that these logits give, in double, by the formulas of boundary.h.
inline std::vector<double> CoefficientsFrom(const BoundaryShape& shape,
                                            const BoundaryWeights<double>& weights,
                                            const std::vector<double>& logits) {
  const int n = shape.streams, width = 2 * n + n * n;
  const MixShape mix = MixShapeOf(shape);
  const int64_t columns = NumMixLogits(mix), stride = LogitsPerToken(shape);
  std::vector<double> out(size_t(shape.tokens * width));
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const double* in = logits.data() + t * stride;
    double* h = out.data() + t * width;
    if (shape.kind == BoundaryKind::kHc) {
      for (int j = 0; j < n; ++j) {
        for (int k = 0; k < n + 2; ++k) {
          h[k * n + j] = weights.alpha[size_t(std::min(k, 2))] * std::tanh(in[j * (n + 3) + k]) +
                         weights.bias[size_t(k * n + j)];
        }
      }
      continue;
    }
    const MappingTraits& traits = TraitsOf(shape.mapping);
    const auto argument = [&](int64_t k) {
      const double bias = weights.bias[size_t(k)];
      if (k >= DynamicColumns(shape)) return bias;
      return weights.alpha[k < n ? 0 : k < 2 * n ? 1 : 2] * in[k] + bias;
    };
    for (int k = 0; k < 2 * n; ++k) {
      h[k] = (k < n ? 1.0 : 2.0) / (1.0 + std::exp(-argument(k)));
      if (k < n && traits.read == ReadGate::kSigmoidPlusEps) h[k] += kDeepSeekEps;
      if (k >= n && traits.write == WriteGate::kScalar) h[k] = argument(k);
    }
    std::vector<double> res(size_t(columns + 1));
    for (int64_t k = 0; k < columns; ++k) res[size_t(k)] = argument(2 * n + k);
    const absl::Status status = cpu::MixForward<double>({.shape = mix,
                                                         .tokens = 1,
                                                         .logits = res.data(),
                                                         .logits_stride = columns,
                                                         .matrices = h + 2 * n,
                                                         .matrices_stride = n * n});
    EXPECT_TRUE(status.ok()) << status;
  }
  return out;
}

// X of the merge, in double; of magnitudes, the sum of the absolute terms.
inline std::vector<double> MergeReference(const BoundaryShape& shape, const std::vector<double>& x,
                                          const std::vector<double>& y,
                                          const std::vector<double>& coefficients) {
  std::vector<double> out(x.size());
  BoundaryForwardArgs<double> args;
  args.shape = shape;
  args.source.kind = BoundarySource::kMerge;
  args.source.x = x.data();
  args.source.y = y.data();
  args.source.coefficients = coefficients.data();
  args.x = out.data();
  args.sink = BoundarySink::kNone;
  EXPECT_TRUE(cpu::BoundaryForward(args).ok());
  return out;
}

// v phi / r and 1 / r of X, in double; of magnitudes, the sum of the absolute terms over r.
inline std::vector<double> LogitsReference(const BoundaryShape& shape,
                                           const BoundaryWeights<double>& weights,
                                           const std::vector<double>& x) {
  BoundaryState<double> state(shape);
  state.x = x;
  EXPECT_TRUE(
      cpu::BoundaryForward(ForwardArgs(shape, BoundarySink::kSubLayer, weights, state)).ok());
  return state.logits;
}

// sum_j weight_j x_j of every token.
inline std::vector<double> ReadReference(const BoundaryShape& shape, const std::vector<double>& x,
                                         const std::vector<double>& weights) {
  const int64_t n = shape.streams, C = shape.channels;
  std::vector<double> u(size_t(shape.tokens * C));
  for (int64_t t = 0; t < shape.tokens; ++t) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t c = 0; c < C; ++c) {
        u[size_t(t * C + c)] += weights[size_t(t * n + j)] * x[size_t((t * n + j) * C + c)];
      }
    }
  }
  return u;
}

// n numbers a token: H_pre or H_post of the coefficients, ones of a plain residual.
inline std::vector<double> Gates(const BoundaryShape& shape,
                                 const std::vector<double>& coefficients, int first) {
  const int64_t n = shape.streams, stride = CoefficientsPerToken(shape);
  std::vector<double> gates(size_t(shape.tokens * n), 1.0);
  if (stride == 0) return gates;
  for (int64_t i = 0; i < shape.tokens * n; ++i) {
    gates[size_t(i)] = coefficients[size_t(i / n * stride + first + i % n)];
  }
  return gates;
}

// ---- cases

// Kinds x streams x channels x tokens; the largest product of all but n = 4 is left out, the
// reference in double would take most of the time.
inline std::vector<BoundaryCase> CudaCases() {
  constexpr BoundaryKind kResidual = BoundaryKind::kResidual, kHc = BoundaryKind::kHc,
                         kMhc = BoundaryKind::kMhc;
  constexpr MappingKind kSinkhorn = MappingKind::kSinkhorn;
  std::vector<std::pair<BoundaryKind, MappingKind>> kinds = {{kResidual, kSinkhorn},
                                                             {kHc, kSinkhorn},
                                                             {kMhc, kSinkhorn},
                                                             {kMhc, MappingKind::kPermutations},
                                                             {kMhc, MappingKind::kIdentity}};
  std::vector<BoundaryCase> cases;
  for (const auto& [kind, mapping] : kinds) {
    for (const int streams : {1, 2, 3, 4, 8}) {
      if (kind == kResidual && streams > 1) continue;
      if (mapping == MappingKind::kPermutations && streams > 4) continue;
      for (const int64_t channels : {8, 64, 100, 768, 2048}) {
        for (const int64_t tokens : {0, 1, 5, 257}) {
          if (tokens == 257 && channels == 2048 && streams != 4) continue;
          if (SmallSweep() && (streams == 8 || channels > 100 || tokens > 5)) continue;
          cases.push_back({kind, mapping, streams, tokens, channels, 1.0});
        }
      }
    }
  }
  // The other rows of the mappings' table, which differ in the coefficients alone.
  for (size_t row = 0; row < kMappings.size(); ++row) {
    const auto mapping = static_cast<MappingKind>(row);
    const auto swept = [&](const auto& pair) { return pair.second == mapping; };
    if (std::any_of(kinds.begin(), kinds.end(), swept)) continue;
    cases.push_back({kMhc, mapping, 3, 5, 100, 1.0});
    cases.push_back({kMhc, mapping, 4, 70, 64, 1.0});
  }
  if (SmallSweep()) {
    cases.push_back({kMhc, kSinkhorn, 4, 70, 264, 1.0});
    cases.push_back({kMhc, kSinkhorn, 4, 70, 712, 1.0});  // a cluster of 4 in a single pass
    return cases;
  }
  // Rows beyond what a block keeps, and more than one chunk of tokens.
  cases.push_back({kMhc, kSinkhorn, 2, 3, 12288, 1.0});
  cases.push_back({kMhc, kSinkhorn, 4, 1100, 64, 1.0});
  // Clusters of 8 and 16 blocks, each with tiles of its own and an odd one at the end.
  for (const int64_t channels : {2560, 3072, 8192}) {
    cases.push_back({kMhc, kSinkhorn, 4, 301, channels, 1.0});
  }
  return cases;
}

inline std::string Name(const BoundaryCase& c) {
  std::ostringstream out;
  out << c;
  return out.str();
}

}  // namespace birkhoff
