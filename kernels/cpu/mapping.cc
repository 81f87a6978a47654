// The mappings of mapping.h on the CPU: tokens are gathered into lanes, mapped, and scattered.
#include "kernels/mapping.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/base/status_macros.h"
#include "kernels/cpu/mix_lanes.h"
#include "kernels/mappings/all.h"
#include "kernels/with_streams.h"

namespace birkhoff {

int64_t MixWorkspaceElements(const MixShape& shape) {
  if (TraitsOf(shape.mapping).most_iterations == 0) return 0;
  return int64_t{2} * shape.streams * shape.sinkhorn_iterations * cpu::kMixLanes;
}

namespace cpu {
namespace {

// permutation[k][i]: the column of row i in the k-th permutation, in lexicographic order.
using PermutationTable = std::array<std::array<int, 4>, 24>;

PermutationTable Permutations(int n) {
  PermutationTable table = {};
  std::array<int, 4> order = {};
  std::iota(order.begin(), order.begin() + n, 0);
  size_t k = 0;
  do {
    table[k++] = order;
  } while (std::next_permutation(order.begin(), order.begin() + n));
  return table;
}

template <typename T>
void SoftmaxLanes(int count, const Lane<T>* logits, Lane<T>* weights) {
  for (int lane = 0; lane < kMixLanes; ++lane) {
    T largest = logits[0][lane], sum = 0;
    for (int k = 1; k < count; ++k) largest = std::max(largest, logits[k][lane]);
    for (int k = 0; k < count; ++k) {
      sum += weights[k][lane] = std::exp(logits[k][lane] - largest);
    }
    for (int k = 0; k < count; ++k) weights[k][lane] /= sum;
  }
}

template <typename T>
void PermutationsForward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
  const int n = shape.streams, count = NumMixLogits(shape);
  const PermutationTable table = Permutations(n);
  Lane<T> weights[kMaxMixLogits];
  SoftmaxLanes(count, logits, weights);
  for (int k = 0; k < n * n; ++k) std::fill_n(matrix[k], kMixLanes, T(0));
  for (int k = 0; k < count; ++k) {
    for (int i = 0; i < n; ++i) {
      Lane<T>& entry = matrix[i * n + table[size_t(k)][size_t(i)]];
      for (int lane = 0; lane < kMixLanes; ++lane) entry[lane] += weights[k][lane];
    }
  }
}

template <typename T>
void PermutationsBackward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                          Lane<T>* dlogits) {
  const int n = shape.streams, count = NumMixLogits(shape);
  const PermutationTable table = Permutations(n);
  Lane<T> weights[kMaxMixLogits], dweights[kMaxMixLogits] = {};
  SoftmaxLanes(count, logits, weights);
  // Gradients of the weights, each the sum of n entries, and their mean under the weights.
  Lane<T> mean = {};
  for (int k = 0; k < count; ++k) {
    for (int i = 0; i < n; ++i) {
      const Lane<T>& entry = dmatrix[i * n + table[size_t(k)][size_t(i)]];
      for (int lane = 0; lane < kMixLanes; ++lane) dweights[k][lane] += entry[lane];
    }
    for (int lane = 0; lane < kMixLanes; ++lane) mean[lane] += weights[k][lane] * dweights[k][lane];
  }
  // Through the softmax.
  for (int k = 0; k < count; ++k) {
    for (int lane = 0; lane < kMixLanes; ++lane) {
      dlogits[k][lane] = weights[k][lane] * (dweights[k][lane] - mean[lane]);
    }
  }
}

// A mapping on lanes: token by token, but for those that have lanes of their own.
template <MappingKind kKind, typename Mapping>
struct Lanes {
  template <typename T>
  static void Forward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
    WithStreams(shape.streams, [&](auto n) {
      constexpr int kLogits = NumMixLogits(kKind, n()), kEntries = n() * n();
      T in[kLogits + 1] = {}, out[kEntries];
      for (int lane = 0; lane < kMixLanes; ++lane) {
        for (int k = 0; k < kLogits; ++k) in[k] = logits[k][lane];
        Mapping::template Forward<n()>(in, shape.sinkhorn_iterations, out);
        for (int k = 0; k < kEntries; ++k) matrix[k][lane] = out[k];
      }
    });
  }

  template <typename T>
  static void Backward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                       Lane<T>* dlogits, T* workspace) {
    WithStreams(shape.streams, [&](auto n) {
      constexpr int kLogits = NumMixLogits(kKind, n()), kEntries = n() * n();
      T in[kLogits + 1] = {}, above[kEntries], out[kLogits + 1];
      for (int lane = 0; lane < kMixLanes; ++lane) {
        for (int k = 0; k < kLogits; ++k) in[k] = logits[k][lane];
        for (int k = 0; k < kEntries; ++k) above[k] = dmatrix[k][lane];
        Mapping::template Backward<n()>(in, above, shape.sinkhorn_iterations, workspace, out);
        for (int k = 0; k < kLogits; ++k) dlogits[k][lane] = out[k];
      }
    });
  }
};

template <MappingKind kKind>
struct Lanes<kKind, mappings::Sinkhorn> {
  template <typename T>
  static void Forward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
    SinkhornLanesForward(shape, logits, matrix);
  }
  template <typename T>
  static void Backward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                       Lane<T>* dlogits, T* workspace) {
    SinkhornLanesBackward(shape, logits, dmatrix, dlogits, workspace);
  }
};

template <MappingKind kKind>
struct Lanes<kKind, mappings::Static> : Lanes<kKind, mappings::Sinkhorn> {};

template <MappingKind kKind>
struct Lanes<kKind, mappings::Permutations> {
  template <typename T>
  static void Forward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
    PermutationsForward(shape, logits, matrix);
  }
  template <typename T>
  static void Backward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                       Lane<T>* dlogits, T*) {
    PermutationsBackward(shape, logits, dmatrix, dlogits);
  }
};

// Rows of the tokens [first, first + count) of `rows` into lanes; missing tokens become zeros.
template <typename T>
void Gather(const T* rows, int64_t stride, int count, int columns, Lane<T>* lanes) {
  for (int k = 0; k < columns; ++k) {
    for (int lane = 0; lane < kMixLanes; ++lane) {
      lanes[k][lane] = lane < count ? rows[lane * stride + k] : T(0);
    }
  }
}

template <typename T>
void Scatter(const Lane<T>* lanes, int columns, int count, int64_t stride, T* rows) {
  for (int lane = 0; lane < count; ++lane) {
    for (int k = 0; k < columns; ++k) rows[lane * stride + k] = lanes[k][lane];
  }
}

}  // namespace

template <typename T>
void MixLanesForward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
  WithMappingType(shape.mapping, [&](auto mapping) {
    using Of = decltype(mapping);
    Lanes<Of::kKind, typename Of::Type>::Forward(shape, logits, matrix);
  });
}

template <typename T>
void MixLanesBackward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                      Lane<T>* dlogits, T* workspace) {
  WithMappingType(shape.mapping, [&](auto mapping) {
    using Of = decltype(mapping);
    Lanes<Of::kKind, typename Of::Type>::Backward(shape, logits, dmatrix, dlogits, workspace);
  });
}

template <typename T>
absl::Status MixForward(const MixForwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  const int logits_columns = NumMixLogits(args.shape);
  const int matrix_columns = args.shape.streams * args.shape.streams;
  Lane<T> logits[kMaxMixLogits], matrix[kMaxMixLogits];
  for (int64_t first = 0; first < args.tokens; first += kMixLanes) {
    const int count = int(std::min<int64_t>(kMixLanes, args.tokens - first));
    Gather(args.logits + first * args.logits_stride, args.logits_stride, count, logits_columns,
           logits);
    MixLanesForward(args.shape, logits, matrix);
    Scatter(matrix, matrix_columns, count, args.matrices_stride,
            args.matrices + first * args.matrices_stride);
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status MixBackward(const MixBackwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  const int logits_columns = NumMixLogits(args.shape);
  const int matrix_columns = args.shape.streams * args.shape.streams;
  if (logits_columns == 0) return absl::OkStatus();
  Lane<T> logits[kMaxMixLogits], dmatrix[kMaxMixLogits], dlogits[kMaxMixLogits];
  for (int64_t first = 0; first < args.tokens; first += kMixLanes) {
    const int count = int(std::min<int64_t>(kMixLanes, args.tokens - first));
    const int64_t offset = first * args.logits_stride;
    Gather(args.logits + offset, args.logits_stride, count, logits_columns, logits);
    Gather(args.dmatrices + first * args.dmatrices_stride, args.dmatrices_stride, count,
           matrix_columns, dmatrix);
    MixLanesBackward(args.shape, logits, dmatrix, dlogits, args.workspace);
    Scatter(dlogits, logits_columns, count, args.logits_stride, args.dlogits + offset);
  }
  return absl::OkStatus();
}

template void MixLanesForward(const MixShape&, const Lane<float>*, Lane<float>*);
template void MixLanesForward(const MixShape&, const Lane<double>*, Lane<double>*);
template void MixLanesBackward(const MixShape&, const Lane<float>*, const Lane<float>*,
                               Lane<float>*, float*);
template void MixLanesBackward(const MixShape&, const Lane<double>*, const Lane<double>*,
                               Lane<double>*, double*);
template absl::Status MixForward(const MixForwardArgs<float>&);
template absl::Status MixForward(const MixForwardArgs<double>&);
template absl::Status MixBackward(const MixBackwardArgs<float>&);
template absl::Status MixBackward(const MixBackwardArgs<double>&);

}  // namespace cpu
}  // namespace birkhoff
