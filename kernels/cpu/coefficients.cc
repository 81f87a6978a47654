// mhc, then hc: products with X, the gates made of them, and both backwards.  The residual logits
// of mhc go through the mapping kMixLanes tokens at a time; alpha and bias are summed in double.
#include "kernels/cpu/coefficients.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/mix_lanes.h"
#include "kernels/cpu/norm_rows.h"
#include "kernels/cpu/sigmoid.h"

namespace birkhoff::cpu {
namespace {

// The tokens of one turn of lanes: `count` of them from `first` on; the other lanes are padding.
struct LaneTokens {
  int64_t first;
  int count;
};

// work(LaneTokens) for all tokens, kMixLanes at a time.
template <typename Work>
void ForLanes(int64_t tokens, Work&& work) {
  for (int64_t first = 0; first < tokens; first += kMixLanes) {
    work(LaneTokens{first, int(std::min<int64_t>(kMixLanes, tokens - first))});
  }
}

// Gradients of alpha and bias over one block, in double.
struct BlockSums {
  double alpha[3] = {};
  double bias[2 * kMaxStreams + kMaxMixLogits] = {};

  template <typename T>
  void AddTo(int64_t bias_elements, const BoundaryGradients<T>& gradients) const {
    for (int k = 0; k < 3 && gradients.alpha != nullptr; ++k) gradients.alpha[k] += T(alpha[k]);
    for (int64_t k = 0; k < bias_elements; ++k) gradients.bias[k] += T(bias[k]);
  }
};

// ---- mhc ----------------------------------------------------------------------------------------

// The part of column k: H_pre, H_post or H_res.
int PartOf(int n, int64_t k) { return k < n ? 0 : k < 2 * n ? 1 : 2; }

template <typename T>
T ReadWeight(ReadGate gate, T argument) {
  const T weight = Sigmoid(argument);
  return gate == ReadGate::kSigmoidPlusEps ? weight + T(kDeepSeekEps) : weight;
}
template <typename T>
T WriteWeight(WriteGate gate, T argument) {
  return gate == WriteGate::kScalar ? argument : T(2) * Sigmoid(argument);
}

// Gradients of their arguments, from the weights themselves.
template <typename T>
T ReadGradient(ReadGate gate, T weight, T gradient) {
  const T h = gate == ReadGate::kSigmoidPlusEps ? weight - T(kDeepSeekEps) : weight;
  return gradient * h * (T(1) - h);
}
template <typename T>
T WriteGradient(WriteGate gate, T weight, T gradient) {
  return gate == WriteGate::kScalar ? gradient : gradient * weight * (T(1) - weight / T(2));
}

template <typename T>
void MhcProducts(const BoundaryShape& shape, const T* phi, int64_t tokens, const T* x, T* logits) {
  const int64_t width = shape.streams * shape.channels, stride = LogitsPerToken(shape);
  const int64_t columns = stride - 1;
  // v phi of all tokens in one product, then each row by its 1 / r, which is kept behind it.
  if (columns > 0) {
    Multiply({tokens, columns, width}, T(1), {x, width}, {phi, columns}, T(0), logits, stride);
  }
  for (int64_t t = 0; t < tokens; ++t) {
    T* row = logits + t * stride;
    const T inverse = InverseRms(x + t * width, width, shape.mix_eps);
    for (int64_t k = 0; k < columns; ++k) row[k] *= inverse;
    row[columns] = inverse;
  }
}

// The argument of column k: a token's own where the column is one of the first `dynamic`.
template <typename T>
T ArgumentOf(const BoundaryParameters<T>& parameters, int n, int64_t dynamic, const T* logits,
             int64_t k) {
  if (k >= dynamic) return parameters.bias[k];
  return parameters.alpha[PartOf(n, k)] * logits[k] + parameters.bias[k];
}

template <typename T>
void MhcResLanes(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                 const T* logits, LaneTokens tokens, Lane<T>* lanes) {
  const int n = shape.streams, columns = NumMixLogits(MixShapeOf(shape));
  const int64_t stride = LogitsPerToken(shape), dynamic = DynamicColumns(shape);
  for (int k = 0; k < columns; ++k) {
    for (int lane = 0; lane < kMixLanes; ++lane) {
      const bool here = lane < tokens.count;
      const T* row = logits + (tokens.first + (here ? lane : 0)) * stride;
      lanes[k][lane] = ArgumentOf(parameters, n, dynamic, row, 2 * n + k);
    }
  }
}

template <typename T>
void MhcForward(const BoundaryShape& shape, const BoundaryParameters<T>& parameters, int64_t tokens,
                const T* logits, T* coefficients) {
  const int n = shape.streams;
  const int64_t logits_stride = LogitsPerToken(shape), stride = CoefficientsPerToken(shape);
  const int64_t dynamic = DynamicColumns(shape);
  const MappingTraits& traits = TraitsOf(shape.mapping);
  ForLanes(tokens, [&](LaneTokens group) {
    // H_res, for all lanes at once.
    Lane<T> lanes[kMaxMixLogits], matrix[kMaxMixLogits];
    MhcResLanes(shape, parameters, logits, group, lanes);
    MixLanesForward(MixShapeOf(shape), lanes, matrix);
    // H_pre and H_post, and all three scattered to their tokens.
    for (int lane = 0; lane < group.count; ++lane) {
      const T* in = logits + (group.first + lane) * logits_stride;
      T* out = coefficients + (group.first + lane) * stride;
      for (int k = 0; k < n; ++k) {
        out[k] = ReadWeight(traits.read, ArgumentOf(parameters, n, dynamic, in, k));
      }
      for (int k = n; k < 2 * n; ++k) {
        out[k] = WriteWeight(traits.write, ArgumentOf(parameters, n, dynamic, in, k));
      }
      for (int k = 0; k < n * n; ++k) out[2 * n + k] = matrix[k][lane];
    }
  });
}

// One token: sums for alpha and bias, then the gradients of the arguments of its gates -> those of
// the raw products, of the columns that have one.
template <typename T>
void MhcTokenBackward(const BoundaryShape& shape, const T* alpha, const T* logits, const T* dgates,
                      T* dproducts, T* norm, BlockSums& sums) {
  const int n = shape.streams;
  const int64_t columns = BiasElements(shape), dynamic = DynamicColumns(shape);
  const T inverse = logits[dynamic];
  T through_norm = 0;
  for (int64_t k = 0; k < columns; ++k) sums.bias[k] += double(dgates[k]);
  const int64_t ends[] = {std::min<int64_t>(n, dynamic), std::min<int64_t>(2 * n, dynamic),
                          dynamic};
  int64_t k = 0;
  for (int part = 0; part < 3; ++part) {
    double sum = sums.alpha[part];
    for (; k < ends[part]; ++k) {
      sum += double(dgates[k]) * double(logits[k]);
      const T dlogit = alpha[part] * dgates[k];
      through_norm += dlogit * logits[k];
      dproducts[k] = dlogit * inverse;
    }
    sums.alpha[part] = sum;
  }
  const T factor = inverse * inverse * through_norm / T(n * shape.channels);
  std::fill_n(norm, n, factor);
}

template <typename T>
void MhcBackward(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                 const CoefficientBackward<T>& args, BlockSums& sums) {
  const int n = shape.streams, columns = NumMixLogits(MixShapeOf(shape));
  const int64_t stride = CoefficientsPerToken(shape), products = ProductsPerToken(shape);
  const MappingTraits& traits = TraitsOf(shape.mapping);
  const bool vanishes = args.equal_streams && traits.rows_sum_to_1;
  ForLanes(args.tokens, [&](LaneTokens group) {
    // The logits of H_res again, its gradient gathered into lanes, and back through the mapping.
    Lane<T> lanes[kMaxMixLogits], dmatrix[kMaxMixLogits], dlogits[kMaxMixLogits];
    MhcResLanes(shape, parameters, args.logits, group, lanes);
    for (int k = 0; k < n * n; ++k) {
      for (int lane = 0; lane < kMixLanes; ++lane) {
        const int64_t at = (group.first + lane) * stride + 2 * n + k;
        dmatrix[k][lane] = lane < group.count ? args.dcoefficients[at] : T(0);
      }
    }
    MixLanesBackward(MixShapeOf(shape), lanes, dmatrix, dlogits, args.workspace);
    // Token by token: through the gates, then through alpha and r.
    for (int lane = 0; lane < group.count; ++lane) {
      const int64_t t = group.first + lane;
      const T *h = args.coefficients + t * stride, *dh = args.dcoefficients + t * stride;
      T dgates[2 * kMaxStreams + kMaxMixLogits];
      for (int k = 0; k < n; ++k) dgates[k] = ReadGradient(traits.read, h[k], dh[k]);
      for (int k = n; k < 2 * n; ++k) dgates[k] = WriteGradient(traits.write, h[k], dh[k]);
      for (int k = 0; k < columns; ++k) dgates[2 * n + k] = vanishes ? T(0) : dlogits[k][lane];
      MhcTokenBackward(shape, parameters.alpha, args.logits + t * LogitsPerToken(shape), dgates,
                       args.dproducts + t * products, args.norm + t * n, sums);
    }
  });
}

// ---- hc -----------------------------------------------------------------------------------------

template <typename T>
void HcProducts(const BoundaryShape& shape, const T* theta, int64_t tokens, const T* x, T* logits) {
  const int64_t rows = tokens * shape.streams, width = shape.channels;
  const int64_t columns = shape.streams + 2, stride = columns + 1;
  // theta against every stream in one product, then each row by its stream's 1 / rms.
  Multiply({rows, columns, width}, T(1), {x, width}, {theta, width, Transpose::kYes}, T(0), logits,
           stride);
  for (int64_t r = 0; r < rows; ++r) {
    T* row = logits + r * stride;
    const T inverse = InverseRms(x + r * width, width, shape.mix_eps);
    for (int64_t k = 0; k < columns; ++k) row[k] *= inverse;
    row[columns] = inverse;
  }
}

// Where product k of stream j stands among the coefficients: H_pre[j], H_post[j], H_res[k - 2][j].
int HcSlot(int n, int j, int k) { return k * n + j; }

template <typename T>
void HcForward(const BoundaryShape& shape, const BoundaryParameters<T>& parameters, int64_t tokens,
               const T* logits, T* coefficients) {
  const int n = shape.streams, stride = n + 3;
  for (int64_t t = 0; t < tokens; ++t) {
    T* out = coefficients + t * CoefficientsPerToken(shape);
    for (int j = 0; j < n; ++j) {
      const T* in = logits + (t * n + j) * stride;
      for (int k = 0; k < n + 2; ++k) {
        const int slot = HcSlot(n, j, k);
        out[slot] = parameters.alpha[std::min(k, 2)] * std::tanh(in[k]) + parameters.bias[slot];
      }
    }
  }
}

template <typename T>
void HcBackward(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                const CoefficientBackward<T>& args, BlockSums& sums) {
  const int n = shape.streams, stride = n + 3;
  for (int64_t t = 0; t < args.tokens; ++t) {
    const T* dh = args.dcoefficients + t * CoefficientsPerToken(shape);
    for (int j = 0; j < n; ++j) {
      const T* in = args.logits + (t * n + j) * stride;
      T* out = args.dproducts + (t * n + j) * (n + 2);
      const T inverse = in[n + 2];
      T through_norm = 0;
      for (int k = 0; k < n + 2; ++k) {
        const int part = std::min(k, 2), slot = HcSlot(n, j, k);
        const T tanh = std::tanh(in[k]);
        sums.alpha[part] += double(dh[slot]) * double(tanh);
        sums.bias[slot] += double(dh[slot]);
        const T ddot = parameters.alpha[part] * dh[slot] * (T(1) - tanh * tanh);
        through_norm += ddot * in[k];
        out[k] = ddot * inverse;
      }
      args.norm[t * n + j] = inverse * inverse * through_norm / T(shape.channels);
    }
  }
}

}  // namespace

int64_t ProductsPerToken(const BoundaryShape& shape) {
  const int64_t n = shape.streams;
  if (shape.kind == BoundaryKind::kResidual) return 0;
  return shape.kind == BoundaryKind::kHc ? n * (n + 2) : DynamicColumns(shape);
}

template <typename T>
void FormCoefficients(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                      int64_t tokens, const T* x, T* logits, T* coefficients) {
  OnBestIsa<T>([&] {
    if (shape.kind == BoundaryKind::kMhc) {
      MhcProducts(shape, parameters.projection, tokens, x, logits);
      MhcForward(shape, parameters, tokens, logits, coefficients);
    } else if (shape.kind == BoundaryKind::kHc) {
      HcProducts(shape, parameters.projection, tokens, x, logits);
      HcForward(shape, parameters, tokens, logits, coefficients);
    }
  });
}

template <typename T>
void CoefficientsBackward(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                          const BoundaryGradients<T>& gradients,
                          const CoefficientBackward<T>& args) {
  BlockSums sums;
  OnBestIsa<T>([&] {
    if (shape.kind == BoundaryKind::kMhc) {
      MhcBackward(shape, parameters, args, sums);
    } else {
      HcBackward(shape, parameters, args, sums);
    }
  });
  sums.AddTo(BiasElements(shape), gradients);
}

template <typename T>
void ProjectionBackwardInput(const BoundaryShape& shape, int64_t tokens, const T* projection,
                             const T* dproducts, T* dx) {
  const int64_t n = shape.streams, C = shape.channels;
  if (shape.kind == BoundaryKind::kMhc) {
    const int64_t columns = ProductsPerToken(shape), width = n * C;
    if (columns == 0) return;
    Multiply({tokens, width, columns}, T(1), {dproducts, columns},
             {projection, columns, Transpose::kYes}, T(1), dx, width);
  } else {
    const int64_t columns = n + 2;
    Multiply({tokens * n, C, columns}, T(1), {dproducts, columns}, {projection, C}, T(1), dx, C);
  }
}

template <typename T>
void ProjectionBackwardWeight(const BoundaryShape& shape, const T* x, const T* dproducts,
                              T* dprojection) {
  if (shape.tokens == 0) return;
  constexpr Transpose kYes = Transpose::kYes;
  const int64_t n = shape.streams, C = shape.channels;
  if (shape.kind == BoundaryKind::kMhc) {
    const int64_t columns = ProductsPerToken(shape), width = n * C;
    if (columns == 0) return;
    MultiplyShared<T>({width, columns, shape.tokens}, T(1), {x, width, kYes}, {dproducts, columns},
                      T(1), dprojection, columns);
  } else {
    const int64_t columns = n + 2, rows = shape.tokens * n;
    MultiplyShared<T>({columns, C, rows}, T(1), {dproducts, columns, kYes}, {x, C}, T(1),
                      dprojection, C);
  }
}

template void FormCoefficients(const BoundaryShape&, const BoundaryParameters<float>&, int64_t,
                               const float*, float*, float*);
template void CoefficientsBackward(const BoundaryShape&, const BoundaryParameters<float>&,
                                   const BoundaryGradients<float>&,
                                   const CoefficientBackward<float>&);
template void ProjectionBackwardInput(const BoundaryShape&, int64_t, const float*, const float*,
                                      float*);
template void ProjectionBackwardWeight(const BoundaryShape&, const float*, const float*, float*);
template void FormCoefficients(const BoundaryShape&, const BoundaryParameters<double>&, int64_t,
                               const double*, double*, double*);
template void CoefficientsBackward(const BoundaryShape&, const BoundaryParameters<double>&,
                                   const BoundaryGradients<double>&,
                                   const CoefficientBackward<double>&);
template void ProjectionBackwardInput(const BoundaryShape&, int64_t, const double*, const double*,
                                      double*);
template void ProjectionBackwardWeight(const BoundaryShape&, const double*, const double*, double*);

}  // namespace birkhoff::cpu
