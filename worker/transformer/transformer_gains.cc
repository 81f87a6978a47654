// The gains that TransformerStage sums: of each sub-layer's own mixing, of everything below it up
// to it (P), and of everything from it upwards (S).
#include <algorithm>

#include "kernels/gain.h"
#include "worker/transformer/must.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {

// P is complete for a sub-layer once the boundary above it has merged.
template <typename T>
void TransformerStage<T>::AddForwardGains(const Call& call, int boundary) {
  if (boundary < NumStageSubLayers()) AddSingleGain(call, boundary);
  if (boundary == 0) return;
  StageSums::SubLayer& sums = sums_.sublayers[boundary - 1];
  const int n = NumStreams(model_);
  GainSums gains;
  gains.matrix = sums.mean_forward.data();
  Must(cpu::AccumulateGain<T>({n, call.batch.tokens, call.At(p_), int64_t{n} * n}, gains));
  sums.composite_forward += gains.forward;
  sums.row_sum_min = std::min(sums.row_sum_min, gains.row_sum_min);
}

template <typename T>
void TransformerStage<T>::AddBackwardGains(const Call& call, int index) {
  StageSums::SubLayer& sums = sums_.sublayers[index];
  const int n = NumStreams(model_);
  GainSums gains;
  gains.matrix = sums.mean_backward.data();
  Must(cpu::AccumulateGain<T>({n, call.batch.tokens, call.At(s_), int64_t{n} * n}, gains));
  sums.composite_backward += gains.backward;
  sums.column_sum_min = std::min(sums.column_sum_min, gains.column_sum_min);
}

template <typename T>
void TransformerStage<T>::AddSingleGain(const Call& call, int index) {
  StageSums::SubLayer& sums = sums_.sublayers[index];
  const T* coefficients = call.At(call.places.sublayers[index].coefficients);
  GainSums gains;
  if (coefficients == nullptr) {  // the plain residual passes its one stream on as it is
    gains.forward = gains.backward = static_cast<double>(call.batch.tokens);
  } else {
    const int n = NumStreams(model_);
    Must(cpu::AccumulateGain<T>(
        {n, call.batch.tokens, coefficients + 2 * n, 2 * n + int64_t{n} * n}, gains));
  }
  sums.single_forward += gains.forward;
  sums.single_backward += gains.backward;
}

#define BIRKHOFF_INSTANTIATE(T)                                         \
  template void TransformerStage<T>::AddForwardGains(const Call&, int); \
  template void TransformerStage<T>::AddBackwardGains(const Call&, int)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
