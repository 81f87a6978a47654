// The gains that TransformerStage sums: of each sub-layer's own mixing, of everything below it up
// to it (P), and of everything from it upwards (S); and how the streams are mixed.
#include "worker/transformer/connection.h"
#include "worker/transformer/must.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {

template <typename T>
typename TransformerStage<T>::Call TransformerStage<T>::Measures(const Call& call) const {
  return {call.buffers,
          call.places,
          call.gradients,
          call.batch,
          call.shape,
          {backend_, beside_.Begin(call.launch.stream),
           measures_workspace_.In<void>(call.buffers).address()}};
}

template <typename T>
void TransformerStage<T>::AddGain(const Call& call, int index, GainOf of, const S* matrices,
                                  int64_t stride) {
  const int sublayer = UnitOf(index) - 1;
  GainArgs<T> args;
  args.streams = NumStreams(model_);
  args.tokens = call.tokens();
  args.matrices = matrices;
  args.stride = stride;
  args.sums = (share_ + share_layout_.GainsAt(sublayer, of)).template As<GainSums>().address();
  if (of != GainOf::kSingle) {
    args.matrix = (share_ + share_layout_.MatrixAt(sublayer, of)).address();
  }
  args.workspace = call.launch.workspace;
  Must(backend_.AccumulateGain(call.launch.stream, args));
}

// P is complete for a sub-layer once the boundary above it has merged.
template <typename T>
void TransformerStage<T>::AddForwardGains(const Call& compute, int boundary) {
  const Call call = Measures(compute);
  if (NumStreams(model_) > 1) AddMixing(call, boundary);
  if (boundary < NumStageSubLayers()) AddSingleGain(call, boundary);
  if (boundary == 0) return;
  AddGain(call, boundary - 1, GainOf::kPrefix, call.ScalarsAt(p_), share_layout_.matrix_elements());
}

// Of the sub-layer that opens here its coefficients; of the one that was merged what it has made of
// the streams.
template <typename T>
void TransformerStage<T>::AddMixing(const Call& call, int boundary) {
  const auto at = [&](int64_t place) { return share_ + place; };
  MixingArgs<T> args;
  args.shape = call.shape;
  if (boundary < NumStageSubLayers()) {
    const SubLayerPlaces& places = call.places.sublayers[boundary];
    const BoundaryParameters<T> parameters = ParametersOf(weights_[boundary]);
    args.coefficients = call.ScalarsAt(places.coefficients);
    args.logits = call.ScalarsAt(places.logits);
    args.alpha = parameters.alpha;
    args.bias = parameters.bias;
    const int64_t opened = share_layout_.OpenedAt(UnitOf(boundary) - 1);
    args.opened = at(opened).template As<CoefficientMeasures>().address();
  }
  if (boundary > 0) {
    args.prefix = call.ScalarsAt(p_);
    args.x = call.At(call.places.x[boundary]);
    const int64_t merged = share_layout_.MergedAt(UnitOf(boundary - 1) - 1);
    args.merged = at(merged).template As<StreamMeasures>().address();
  }
  if (args.coefficients == nullptr && args.prefix == nullptr) return;
  args.workspace = call.launch.workspace;
  Must(backend_.AccumulateMixing(call.launch.stream, args));
}

template <typename T>
void TransformerStage<T>::AddBackwardGains(const Call& call, int index) {
  AddGain(Measures(call), index, GainOf::kSuffix, call.ScalarsAt(s_),
          share_layout_.matrix_elements());
}

template <typename T>
void TransformerStage<T>::AddSingleGain(const Call& call, int index) {
  const S* coefficients = call.ScalarsAt(call.places.sublayers[index].coefficients);
  const int64_t n = NumStreams(model_);
  if (coefficients != nullptr) {
    return AddGain(call, index, GainOf::kSingle, coefficients + 2 * n, 2 * n + n * n);
  }
  // The plain residual passes its one stream on as it is: its P is 1 everywhere.
  const bool received = index == 0 && received_p_.Present();
  AddGain(call, index, GainOf::kSingle, call.ScalarsAt(received ? received_p_ : p_), 1);
}

#define BIRKHOFF_INSTANTIATE(T)                                         \
  template void TransformerStage<T>::AddForwardGains(const Call&, int); \
  template void TransformerStage<T>::AddBackwardGains(const Call&, int)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
