// The backward half of TransformerStage.  Boundaries and sub-layers are walked downwards; dX stands
// in kGradientOut after each boundary, dy of the sub-layer below in its gradient place.
#include <algorithm>

#include "worker/transformer/connection.h"
#include "worker/transformer/linear.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {

template <typename T>
int TransformerStage<T>::TopOf(UnitRange segment) const {
  return std::min(segment.last, sublayers_.last) - sublayers_.first;
}

template <typename T>
int TransformerStage<T>::BottomOf(UnitRange segment) const {
  return std::max(segment.first, sublayers_.first) - sublayers_.first;
}

template <typename T>
void TransformerStage<T>::BackwardInput(Stream& stream, UnitRange segment,
                                        const StageBuffers& buffers) {
  const Call call = Begin(stream, buffers, backward_, /*split=*/true);
  BackwardSegment(call, segment, /*split=*/true);
}

template <typename T>
void TransformerStage<T>::Backward(Stream& stream, UnitRange segment, const StageBuffers& buffers) {
  const Call call = Begin(stream, buffers, backward_, /*split=*/false);
  BackwardSegment(call, segment, /*split=*/false);
}

template <typename T>
void TransformerStage<T>::BackwardWeight(Stream& stream, UnitRange segment,
                                         const StageBuffers& buffers) {
  const Call call = Begin(stream, buffers, backward_, /*split=*/true);
  for (int i = TopOf(segment) - 1; i >= BottomOf(segment); --i) WeightGradient(call, i);
}

template <typename T>
void TransformerStage<T>::BackwardSegment(const Call& call, UnitRange segment, bool split) {
  if (TouchesHead(segment)) {
    BackwardHead(call, segment);
  } else {
    BackwardTop(call, segment, TopOf(segment));
  }
  for (int i = TopOf(segment) - 1; i >= BottomOf(segment); --i) {
    BackwardSubLayer(call, i, split);
    if (!split) WeightGradient(call, i);
    beside_.Join(call.launch.stream);  // S is written again
    BackwardBoundary(call, segment, i);
    AddBackwardGains(call, i);
  }
  beside_.Join(call.launch.stream);
}

// The source's half of a boundary: what lies below it, as far as the segment reaches.  At the
// segment's lower end dX is all there is to do; the next segment goes on from it.
template <typename T>
void TransformerStage<T>::SetSource(const Call& call, UnitRange segment, int boundary,
                                    BoundaryBackwardArgs<T>& args) const {
  const int unit_below = UnitOf(boundary) - 1;
  if (unit_below < segment.first) {
    args.source = BoundarySource::kReceived;
  } else if (boundary > 0) {
    args.source = BoundarySource::kMerge;
    args.coefficients_below = call.ScalarsAt(call.places.sublayers[boundary - 1].coefficients);
    args.dy_below = call.At(call.gradients[boundary - 1].dy);
  } else {
    args.source = BoundarySource::kEmbed;
    args.dembedding = embedding_.gradient.address();
    args.ids = call.batch.inputs;
    args.vocabulary = model_.vocab_size;
    args.expand = ExpandOf(model_);
  }
}

template <typename T>
void TransformerStage<T>::BackwardHead(const Call& call, UnitRange segment) {
  const int boundary = NumStageSubLayers();
  BoundaryBackwardArgs<T> args;
  args.shape = call.shape;
  args.sink = BoundarySink::kHead;
  args.contract = ContractOf(model_);
  args.contracted = call.At(call.places.contracted);
  args.norm_inv_rms = call.ScalarsAt(call.places.head_inverse_rms);
  args.dnorm = call.At(call.places.dnorm);
  args.parameters.gamma = head_.norm.value.address();
  args.gradients.gamma = head_.norm.gradient.address();
  args.suffix = call.ScalarsAt(s_);
  args.dx = call.At(dx_);
  args.workspace = call.launch.workspace;
  SetSource(call, segment, boundary, args);
  Must(backend_.BoundaryBackward(call.launch.stream, args));
}

// Where a segment begins below the head: dX comes from the next stage, or from the segment above.
template <typename T>
void TransformerStage<T>::BackwardTop(const Call& call, UnitRange segment, int boundary) {
  const bool from_next_stage = !HasHead() && boundary == NumStageSubLayers();
  BoundaryBackwardArgs<T> args;
  args.shape = call.shape;
  args.sink = BoundarySink::kNone;
  args.dx = call.At(from_next_stage ? dx_in_ : dx_);
  args.workspace = call.launch.workspace;
  SetSource(call, segment, boundary, args);
  Must(backend_.BoundaryBackward(call.launch.stream, args));
}

template <typename T>
void TransformerStage<T>::BackwardBoundary(const Call& call, UnitRange segment, int boundary) {
  const bool from_next_stage = !HasHead() && boundary + 1 == NumStageSubLayers();
  const SubLayerWeights<T>& weights = weights_[boundary];
  const SubLayerPlaces& places = call.places.sublayers[boundary];
  BoundaryBackwardArgs<T> args;
  args.shape = call.shape;
  args.sink = BoundarySink::kSubLayer;
  args.dx_above = call.At(from_next_stage ? dx_in_ : dx_);
  args.x = call.At(call.places.x[boundary]);
  args.y = call.At(places.y);
  args.dnorm = call.At(dnorm_);
  args.norm_inv_rms = call.ScalarsAt(places.inverse_rms);
  args.coefficients = call.ScalarsAt(places.coefficients);
  args.logits = call.ScalarsAt(places.logits);
  // Of the model's first sub-layer, whichever stage holds it.
  args.equal_streams = UnitOf(boundary) == 1 && ExpandOf(model_) == StreamExpand::kCopy;
  args.parameters = ParametersOf(weights);
  args.gradients = GradientsOf(weights);
  args.suffix_above = call.ScalarsAt(from_next_stage ? s_in_ : s_);
  args.suffix = call.ScalarsAt(s_);
  args.dx = call.At(dx_);
  args.workspace = call.launch.workspace;
  SetSource(call, segment, boundary, args);
  Must(backend_.BoundaryBackward(call.launch.stream, args));
  if (call.shape.kind != BoundaryKind::kResidual) {
    FreezeUnlearned(call.launch.stream, model_, weights);
  }
}

template <typename T>
void TransformerStage<T>::BackwardSubLayer(const Call& call, int index, bool split) {
  const SubLayerCall<T> sublayer = SubLayerOf(call, index);
  IsAttention(index) ? AttentionBackwardInput(sublayer) : FeedForwardBackwardInput(sublayer);
  // What recompute has rebuilt goes with its segment; the weight gradient comes later.
  T* operand = call.At(call.gradients[index].norm);
  if (split && operand != sublayer.tensors.norm) {
    Copy(call.launch.stream, DevicePtr<T>(operand), DevicePtr<const T>(sublayer.tensors.norm),
         call.tokens() * model_.hidden_size);
  }
}

template <typename T>
void TransformerStage<T>::WeightGradient(const Call& call, int index) {
  SubLayerCall<T> sublayer = SubLayerOf(call, index);
  sublayer.add = adds_[index];
  adds_[index] = true;
  sublayer.tensors.norm = call.At(call.gradients[index].norm);
  IsAttention(index) ? AttentionBackwardWeight(sublayer) : FeedForwardBackwardWeight(sublayer);
}

#define BIRKHOFF_INSTANTIATE(T)                                                               \
  template int TransformerStage<T>::TopOf(UnitRange) const;                                   \
  template int TransformerStage<T>::BottomOf(UnitRange) const;                                \
  template void TransformerStage<T>::BackwardInput(Stream&, UnitRange, const StageBuffers&);  \
  template void TransformerStage<T>::BackwardWeight(Stream&, UnitRange, const StageBuffers&); \
  template void TransformerStage<T>::Backward(Stream&, UnitRange, const StageBuffers&)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
