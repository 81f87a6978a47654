// The measures of mixing.h of one token, written once for both processors.
#pragma once

#include <cmath>

#include "kernels/mappings/token.h"
#include "kernels/mixing.h"

namespace birkhoff {

// The rules of a mapping that the measures go by, resolved on the host.
struct MixingRules {
  int dynamic = 0;          // the first columns, those that depend on the token
  int softmax_rows = 0;     // rows of arguments that are each a softmax; 0: there is none
  int softmax_columns = 0;  // arguments of each
  double most_read = 0.0;   // H_pre lies in [0, most_read]; 0: it has no ends
  double most_write = 0.0;
};

inline MixingRules MixingRulesOf(const BoundaryShape& shape) {
  MixingRules rules;
  if (shape.kind != BoundaryKind::kMhc) return rules;
  const MappingTraits& traits = TraitsOf(shape.mapping);
  rules.dynamic = int(DynamicColumns(shape));
  if (traits.logits == MixLogits::kFactorial) {
    rules.softmax_rows = 1;
    rules.softmax_columns = NumMixLogits(MixShapeOf(shape));
  } else if (traits.most_iterations > 0) {
    rules.softmax_rows = rules.softmax_columns = shape.streams;
  }
  rules.most_read = 1.0;
  if (traits.write == WriteGate::kTwiceSigmoid) rules.most_write = 2.0;
  return rules;
}

// Mean over the softmaxes of their largest weight; argument(k) of column 2n + k.
template <typename Argument>
BIRKHOFF_HOST_DEVICE double LargestWeights(const MixingRules& rules, const Argument& argument) {
  double total = 0.0;
  for (int row = 0; row < rules.softmax_rows; ++row) {
    const int first = row * rules.softmax_columns;
    auto largest = argument(first), sum = largest - largest;  // 0, or NaN
    for (int k = 1; k < rules.softmax_columns; ++k) {
      const auto value = argument(first + k);
      largest = value > largest ? value : largest;
    }
    for (int k = 0; k < rules.softmax_columns; ++k) sum += std::exp(argument(first + k) - largest);
    total += 1.0 / double(sum);
  }
  return total / rules.softmax_rows;  // NaN where there is none
}

// Share of N gates within a hundredth of an end of [0, most].
template <int N, typename S>
BIRKHOFF_HOST_DEVICE double ShareAtAnEnd(const S* gates, double most) {
  const double margin = 0.01 * most;
  int at_end = 0;
  for (int i = 0; i < N; ++i) at_end += gates[i] < margin || gates[i] > most - margin ? 1 : 0;
  return most > 0.0 ? double(at_end) / N : double(NAN);
}

// coefficients: H_pre [N], H_post [N], H_res [N, N] of the token; logits: what its boundary saved.
template <int N, typename S>
BIRKHOFF_HOST_DEVICE CoefficientMeasures MeasureCoefficients(const MixingRules& rules,
                                                             const S* coefficients, const S* logits,
                                                             const S* alpha, const S* bias) {
  CoefficientMeasures sums;
  sums.tokens = 1.0;
  sums.saturation = LargestWeights(rules, [&](int k) {
    const int column = 2 * N + k;
    return column < rules.dynamic ? alpha[2] * logits[column] + bias[column] : bias[column];
  });
  const S* matrix = coefficients + 2 * N;
  for (int i = 0; i < N; ++i) {
    double column = 0.0;
    for (int j = 0; j < N; ++j) {
      column += double(matrix[j * N + i]);
      if (j != i) sums.off_diagonal += std::fabs(double(matrix[i * N + j])) / N;
    }
    const double away = std::fabs(column - 1.0);
    if (!(away <= sums.column_residual)) sums.column_residual = away;  // a NaN stays
  }
  sums.read = ShareAtAnEnd<N>(coefficients, rules.most_read);
  sums.write = ShareAtAnEnd<N>(coefficients + N, rules.most_write);
  return sums;
}

// prefix: P of the token; gram(i, j), i <= j: the inner product of its streams i and j.
template <int N, typename S, typename Gram>
BIRKHOFF_HOST_DEVICE StreamMeasures MeasureStreams(const S* prefix, const Gram& gram) {
  double from_identity = 0.0, from_uniform = 0.0, similarity = 0.0;
  for (int k = 0; k < N * N; ++k) {
    const double entry = double(prefix[k]);
    const double to_identity = entry - (k / N == k % N ? 1.0 : 0.0), to_uniform = entry - 1.0 / N;
    from_identity += to_identity * to_identity;
    from_uniform += to_uniform * to_uniform;
  }
  for (int i = 0; i < N; ++i) {
    for (int j = i + 1; j < N; ++j) {
      const double squares = gram(i, i) * gram(j, j);
      if (squares != 0.0) similarity += gram(i, j) / std::sqrt(squares);
    }
  }
  StreamMeasures sums;
  sums.tokens = 1.0;
  sums.from_identity = std::sqrt(from_identity / (N - 1));
  sums.from_uniform = std::sqrt(from_uniform / (N - 1));
  constexpr int kPairs = N * (N - 1) / 2;
  sums.similarity = similarity / kPairs;
  return sums;
}

BIRKHOFF_HOST_DEVICE inline void Add(const CoefficientMeasures& from, CoefficientMeasures* to) {
  to->tokens += from.tokens;
  to->saturation += from.saturation;
  to->off_diagonal += from.off_diagonal;
  to->column_residual += from.column_residual;
  to->read += from.read;
  to->write += from.write;
}
BIRKHOFF_HOST_DEVICE inline void Add(const StreamMeasures& from, StreamMeasures* to) {
  to->tokens += from.tokens;
  to->from_identity += from.from_identity;
  to->from_uniform += from.from_uniform;
  to->similarity += from.similarity;
}

}  // namespace birkhoff
