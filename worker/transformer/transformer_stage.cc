#include "worker/transformer/transformer_stage.h"

#include <algorithm>
#include <limits>

#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "worker/transformer/connection.h"
#include "worker/transformer/linear.h"

namespace birkhoff {
namespace {

// The layout's formula must cover what the kernels ask for.
void CheckWorkspace(const StageLayout& layout, const LayoutRequest& request) {
  const StoredTensor* workspace = layout.Find(layout.units.first, Home::kScratch, "workspace");
  if (workspace == nullptr) return;
  const int32_t starts[] = {
      0, static_cast<int32_t>(std::min<int64_t>(request.sequence_length, request.tokens))};
  const int64_t attention =
      AttentionWorkspaceElements({.tokens = starts[1],
                                  .heads = request.model.num_attention_heads,
                                  .kv_heads = request.model.num_key_value_heads,
                                  .head_dim = HeadDim(request.model),
                                  .num_sequences = 1,
                                  .sequence_starts = starts});
  const int64_t boundary =
      BoundaryWorkspaceElements(BoundaryShapeOf(request.model, request.tokens));
  BIRKHOFF_CHECK(workspace->bytes >= std::max(attention, boundary) * request.element_bytes,
                 "footprint.cc gives the kernels too small a workspace");
}

}  // namespace

template <typename T>
TransformerStage<T>::TransformerStage(const LayoutRequest& request, const WeightLookup<T>& lookup)
    : model_(request.model),
      layout_(MakeStageLayout(request)),
      sublayers_(SubLayersOf(model_, request.units)),
      forward_(FindPlaces(layout_, model_, Pass::kForward)),
      evaluate_(FindPlaces(layout_, model_, Pass::kEvaluate)),
      backward_(FindPlaces(layout_, model_, Pass::kBackward)),
      split_gradients_(FindGradientPlaces(layout_, model_, /*split=*/true)),
      full_gradients_(FindGradientPlaces(layout_, model_, /*split=*/false)),
      received_p_(FindStagePlace(layout_, Home::kInput, "p")),
      p_(FindStagePlace(layout_, HasHead() ? Home::kScratch : Home::kOutput, "p")),
      dx_in_(FindStagePlace(layout_, Home::kGradientIn, "dx")),
      s_in_(FindStagePlace(layout_, Home::kGradientIn, "s")),
      dx_(FindStagePlace(layout_, Home::kGradientOut, "dx")),
      s_(FindStagePlace(layout_, Home::kGradientOut, "s")),
      norm_scratch_(FindStagePlace(layout_, Home::kScratch, "norm")),
      attention_scratch_(FindStagePlace(layout_, Home::kScratch, "attention")),
      hidden_scratch_(FindStagePlace(layout_, Home::kScratch, "hidden")),
      workspace_(FindStagePlace(layout_, Home::kScratch, "workspace")) {
  BIRKHOFF_CHECK(request.element_bytes == static_cast<int>(sizeof(T)), "element size of the stage");
  CheckWorkspace(layout_, request);
  for (int unit = sublayers_.first; unit < sublayers_.last; ++unit) {
    weights_.push_back(FindSubLayerWeights<T>(model_, unit, lookup));
  }
  if (HasEmbedding()) embedding_ = lookup("embedding.weight");
  if (HasHead()) {
    head_ = FindHeadWeights<T>(model_, lookup);
    const StoredTensor* rows = layout_.Find(layout_.units.first, Home::kScratch, "vocabulary");
    evaluation_rows_ = rows->bytes / (int64_t{model_.vocab_size} * int64_t{sizeof(T)});
  }
  sums_.sublayers.resize(NumStageSubLayers());
  ResetSums();
}

template <typename T>
void TransformerStage<T>::ResetSums() {
  const size_t elements = size_t(NumStreams(model_)) * NumStreams(model_);
  for (StageSums::SubLayer& sums : sums_.sublayers) {
    sums = {};
    sums.mean_forward.assign(elements, 0.0);
    sums.mean_backward.assign(elements, 0.0);
    sums.row_sum_min = sums.column_sum_min = std::numeric_limits<double>::infinity();
  }
  sums_.loss = 0.0;
  sums_.target_tokens = 0;
}

template <typename T>
typename TransformerStage<T>::Call TransformerStage<T>::Begin(const StageBuffers& buffers,
                                                              const StagePlaces& places,
                                                              bool split) const {
  const Microbatch batch = ViewMicrobatch(layout_, buffers.Of(Home::kBatch));
  return {buffers, places, split ? split_gradients_ : full_gradients_, batch,
          BoundaryShapeOf(model_, batch.tokens)};
}

template <typename T>
void TransformerStage<T>::Forward(const StageBuffers& buffers, StageMode mode) {
  const bool train = mode == StageMode::kTrain;
  const Call call = Begin(buffers, train ? forward_ : evaluate_);
  for (int i = 0; i < NumStageSubLayers(); ++i) {
    ForwardBoundary(call, i, /*with_gains=*/train);
    ForwardSubLayer(call, i);
  }
  ForwardBoundary(call, NumStageSubLayers(), /*with_gains=*/train);
  if (!HasHead()) return;
  if (train) {
    TrainingLoss(call);
  } else {
    EvaluationLoss(call);
  }
}

template <typename T>
BoundarySourceArgs<T> TransformerStage<T>::SourceOf(const Call& call, int boundary) const {
  BoundarySourceArgs<T> source;
  if (boundary > 0) {
    const SubLayerPlaces& below = call.places.sublayers[boundary - 1];
    source.kind = BoundarySource::kMerge;
    source.x = call.At(call.places.x[boundary - 1]);
    source.y = call.At(below.y);
    source.coefficients = call.At(below.coefficients);
  } else if (HasEmbedding()) {
    source.kind = BoundarySource::kEmbed;
    source.embedding = embedding_.value;
    source.ids = call.batch.inputs;
    source.vocabulary = model_.vocab_size;
    source.expand = ExpandOf(model_);
  } else {
    source.kind = BoundarySource::kReceived;
  }
  return source;
}

template <typename T>
void TransformerStage<T>::SetSink(const Call& call, int boundary,
                                  BoundaryForwardArgs<T>& args) const {
  args.contract = ContractOf(model_);
  if (boundary < NumStageSubLayers()) {
    const SubLayerWeights<T>& weights = weights_[boundary];
    const SubLayerPlaces& places = call.places.sublayers[boundary];
    args.sink = BoundarySink::kSubLayer;
    args.parameters = {weights.projection.value, weights.alpha.value, weights.bias.value,
                       weights.norm.value};
    args.coefficients = call.At(places.coefficients);
    args.logits = call.At(places.logits);
    args.norm_out = call.At(places.norm);
    args.norm_inv_rms = call.At(places.inverse_rms);
  } else if (HasHead()) {
    args.sink = BoundarySink::kHead;
    args.parameters.gamma = head_.norm.value;
    args.contracted = call.At(call.places.contracted);
    args.norm_out = call.At(call.places.head_norm);
    args.norm_inv_rms = call.At(call.places.head_inverse_rms);
  } else {
    args.sink = BoundarySink::kNone;
  }
}

// What was received stays as it is: the first merge moves on to the working P.
template <typename T>
void TransformerStage<T>::SetPrefix(const Call& call, int boundary,
                                    BoundaryForwardArgs<T>& args) const {
  if (args.source.kind == BoundarySource::kReceived) return;
  const bool first_merge = boundary == 1 && received_p_.Present();
  args.prefix_below = call.At(first_merge ? received_p_ : p_);
  args.prefix = call.At(p_);
}

template <typename T>
void TransformerStage<T>::ForwardBoundary(const Call& call, int boundary, bool with_gains) {
  BoundaryForwardArgs<T> args;
  args.shape = call.shape;
  args.source = SourceOf(call, boundary);
  args.x = call.At(call.places.x[boundary]);
  if (with_gains) SetPrefix(call, boundary, args);
  SetSink(call, boundary, args);
  Must(cpu::BoundaryForward(args));
  if (with_gains) AddForwardGains(call, boundary);
}

template <typename T>
SubLayerTensors<T> TransformerStage<T>::TensorsOf(const Call& call, int index) const {
  const SubLayerPlaces& places = call.places.sublayers[index];
  const GradientPlaces& gradients = call.gradients[index];
  return {.norm = call.At(places.norm),
          .y = call.At(places.y),
          .inner = call.At(places.inner),
          .log_sum_exp = call.At(places.log_sum_exp),
          .attention = call.At(places.attention),
          .dy = call.At(gradients.dy),
          .dinner = call.At(gradients.dinner),
          .dnorm = call.At(norm_scratch_),
          .middle = call.At(IsAttention(index) ? attention_scratch_ : hidden_scratch_),
          .workspace = call.At(workspace_)};
}

template <typename T>
void TransformerStage<T>::ForwardSubLayer(const Call& call, int index) {
  const SubLayerTensors<T> tensors = TensorsOf(call, index);
  if (IsAttention(index)) {
    AttentionForward(model_, call.batch, weights_[index], tensors);
  } else {
    FeedForwardForward(model_, call.batch, weights_[index], tensors);
  }
}

template <typename T>
void TransformerStage<T>::TrainingLoss(const Call& call) {
  const int64_t tokens = call.batch.tokens, vocabulary = model_.vocab_size;
  T* logits = call.At(call.places.vocabulary);
  const T* norm = call.At(call.places.head_norm);
  LinearForward({tokens, model_.hidden_size, vocabulary}, norm, head_.vocabulary, logits);
  CrossEntropySums sums;
  Must(cpu::CrossEntropyForward<T>({tokens, vocabulary, logits, call.batch.targets}, sums));
  sums_.loss += sums.loss;
  sums_.target_tokens += sums.targets;
}

// A few rows at a time: evaluation keeps no logits.
template <typename T>
void TransformerStage<T>::EvaluationLoss(const Call& call) {
  const int64_t vocabulary = model_.vocab_size, width = model_.hidden_size;
  T* logits = call.At(call.places.vocabulary);
  const T* norm = call.At(call.places.head_norm);
  CrossEntropySums sums;
  for (int64_t row = 0; row < call.batch.tokens; row += evaluation_rows_) {
    const int64_t rows = std::min(evaluation_rows_, call.batch.tokens - row);
    LinearForward({rows, width, vocabulary}, norm + row * width, head_.vocabulary, logits);
    Must(cpu::CrossEntropyForward<T>({rows, vocabulary, logits, call.batch.targets + row}, sums));
  }
  sums_.loss += sums.loss;
  sums_.target_tokens += sums.targets;
}

template <typename T>
void TransformerStage<T>::Recompute(UnitRange block, const StageBuffers& buffers) {
  const Call call = Begin(buffers, backward_);
  const int first = BottomOf(block);
  for (int i = first; i < TopOf(block); ++i) {
    BoundaryRecomputeArgs<T> args;
    args.shape = call.shape;
    if (i > first) args.source = SourceOf(call, i);
    args.x = call.At(call.places.x[i]);
    args.gamma = weights_[i].norm.value;
    args.coefficients = call.At(call.places.sublayers[i].coefficients);
    args.norm_inv_rms = call.At(call.places.sublayers[i].inverse_rms);
    args.norm_out = call.At(call.places.sublayers[i].norm);
    Must(cpu::BoundaryRecompute(args));
  }
}

template class TransformerStage<float>;
template class TransformerStage<double>;

}  // namespace birkhoff
