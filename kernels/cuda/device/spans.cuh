// Walks over all parameters of a rank as one row of elements, of which each block owns a stretch
// that may begin and end anywhere in a span.
#pragma once

#include "kernels/adamw.h"

namespace birkhoff::cuda {

// The span that holds element `position` of all.
template <typename T>
__device__ inline int FindSpan(const ParameterSpans<T>& parameters, int64_t position) {
  int low = 0, high = parameters.num - 1;
  while (low < high) {
    const int middle = high - (high - low) / 2;
    if (parameters.spans[middle].begin <= position) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// visit(span, first, last) for each part of a span in [begin, end): its elements [first, last).
template <typename T, typename Visit>
__device__ inline void ForPieces(const ParameterSpans<T>& parameters, int64_t begin, int64_t end,
                                 Visit visit) {
  int64_t position = begin;
  for (int i = FindSpan(parameters, begin); i < parameters.num && position < end; ++i) {
    const ParameterSpan<T> span = parameters.spans[i];
    const int64_t last = min(end - span.begin, span.count);
    visit(span, position - span.begin, last);
    position = span.begin + last;
  }
}

// The block's share of elements [first, last) of a span: four(i) for elements i to i + 3 with i a
// multiple of 4, one(i) at the ends, and everywhere unless `aligned`.
template <int kThreads, typename Four, typename One>
__device__ inline void ForElements(int64_t first, int64_t last, bool aligned, Four four, One one) {
  const int64_t head = aligned ? min((first + 3) / 4 * 4, last) : last;
  const int64_t tail = max(head, last / 4 * 4);
  for (int64_t i = first + threadIdx.x; i < head; i += kThreads) one(i);
  for (int64_t i = head + 4 * int64_t{threadIdx.x}; i < tail; i += 4 * kThreads) four(i);
  for (int64_t i = tail + threadIdx.x; i < last; i += kThreads) one(i);
}

}  // namespace birkhoff::cuda
