// The forward half, and recompute: both walk upwards, boundary by boundary.  A boundary's arguments
// are a source (what lies below it) and a sink (what it opens).
#include "worker/transformer/transformer_stage.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/spec/workspace.h"
#include "worker/transformer/connection.h"
#include "worker/transformer/linear.h"

namespace birkhoff {

template <typename T>
TransformerStage<T>::TransformerStage(const LayoutRequest& request, const WeightLookup<T>& lookup,
                                      Backend<T>& backend, DevicePtr<double> share, Beside& beside)
    : model_(request.model),
      layout_(MakeStageLayout(request)),
      sublayers_(SubLayersOf(model_, request.units)),
      backend_(backend),
      share_layout_(model_),
      share_(share),
      beside_(beside),
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
      dnorm_(FindStagePlace(layout_, Home::kScratch, "norm")),
      workspace_(FindStagePlace(layout_, Home::kScratch, "workspace")),
      measures_workspace_(FindStagePlace(layout_, Home::kScratch, "measures")),
      logits_(FindStagePlace(layout_, Home::kScratch, "vocabulary")),
      dlogits_(FindStagePlace(layout_, Home::kScratch, "dvocabulary")) {
  BIRKHOFF_CHECK(StreamType(request.precision) == kDTypeOf<T>, "element type of the stage");
  for (int unit = sublayers_.first; unit < sublayers_.last; ++unit) {
    weights_.push_back(FindSubLayerWeights<T>(model_, unit, lookup));
  }
  StartGradients();
  if (HasEmbedding()) embedding_ = lookup.product("embedding.weight");
  if (HasHead()) {
    head_ = FindHeadWeights<T>(model_, lookup);
    const StoredTensor* rows = layout_.Find(layout_.units.first, Home::kScratch, "vocabulary");
    head_rows_ = rows->bytes / (int64_t{model_.vocab_size} * int64_t{sizeof(S)});
  }
  CheckWorkspace(request);
}

// The plan's formula must cover what the backend asks for.
template <typename T>
void TransformerStage<T>::CheckWorkspace(const LayoutRequest& request) const {
  const auto bytes = [&](const char* name) {
    const StoredTensor* tensor = layout_.Find(layout_.units.first, Home::kScratch, name);
    return tensor == nullptr ? 0 : tensor->bytes;
  };
  if (!workspace_.Present()) return;
  const int64_t length = std::min<int64_t>(request.sequence_length, request.tokens);
  const std::vector<int> lengths(length > 0 ? request.tokens / length : 0,
                                 static_cast<int>(length));
  const PackedSequences packed(lengths);
  const AttentionShape attention = AttentionShapeOf(model_, packed.shape());
  const int64_t needed = std::max({
      backend_.BoundaryWorkspaceBytes(BoundaryShapeOf(model_, request.tokens)),
      backend_.GemmWorkspaceBytes(),
      backend_.CrossEntropyWorkspaceBytes(head_rows_, model_.vocab_size),
  });
  BIRKHOFF_CHECK(bytes("workspace") >= needed, "core/spec/workspace.cc gives kernels too little");
  BIRKHOFF_CHECK(!forward_.attention_workspace.Present() ||
                     bytes("workspace.attention") >= backend_.AttentionWorkspaceBytes(attention),
                 "core/spec/workspace.cc gives attention too little");
  BIRKHOFF_CHECK(
      bytes("measures") >= std::max(backend_.GainWorkspaceBytes(NumStreams(model_), request.tokens),
                                    backend_.MixingWorkspaceBytes()),
      "core/spec/workspace.cc gives measures too little");
}

template <typename T>
typename TransformerStage<T>::Call TransformerStage<T>::Begin(Stream& stream,
                                                              const StageBuffers& buffers,
                                                              const StagePlaces& places,
                                                              bool split) const {
  return {buffers,
          places,
          split ? split_gradients_ : full_gradients_,
          ViewMicrobatch(layout_, buffers.batch, buffers.Of(Home::kBatch)),
          BoundaryShapeOf(model_, buffers.batch.tokens),
          {backend_, stream, workspace_.In<void>(buffers).address()},
          /*at_once=*/!split};
}

template <typename T>
void TransformerStage<T>::StartGradients() {
  adds_.assign(weights_.size(), false);
  head_adds_ = false;
}

template <typename T>
void TransformerStage<T>::Forward(Stream& stream, const StageBuffers& buffers, StageMode mode,
                                  int64_t target_tokens) {
  const bool train = mode == StageMode::kTrain;
  const Call call = Begin(stream, buffers, train ? forward_ : evaluate_);
  Walk(call, /*with_gains=*/train);
  beside_.Join(stream);  // logits may stand where X has ended
  if (HasHead()) Loss(call, mode, target_tokens);
}

template <typename T>
void TransformerStage<T>::Extend(Stream& stream, const StageBuffers& buffers,
                                 KeyValueCache<T>& cache, DevicePtr<S> logits) {
  BIRKHOFF_CHECK(HasEmbedding() && HasHead(), "only a whole model can be extended");
  Call call = Begin(stream, buffers, evaluate_);
  BIRKHOFF_CHECK(call.tokens() > 0 && cache.length() + call.tokens() <= cache.capacity(),
                 "the cache is full");
  call.cache = &cache;
  Walk(call, /*with_gains=*/false);
  cache.Extend(call.tokens());
  const int64_t width = model_.hidden_size;
  const T* last = call.At(call.places.head_norm) + (call.tokens() - 1) * width;
  LinearForwardWide(call.launch, {1, width, model_.vocab_size}, last, head_.vocabulary,
                    logits.address());
}

template <typename T>
void TransformerStage<T>::Walk(const Call& call, bool with_gains) {
  for (int i = 0; i < NumStageSubLayers(); ++i) {
    ForwardBoundary(call, i, with_gains);
    ForwardSubLayer(call, i);
  }
  ForwardBoundary(call, NumStageSubLayers(), with_gains);
}

template <typename T>
BoundarySourceArgs<T> TransformerStage<T>::SourceOf(const Call& call, int boundary) const {
  BoundarySourceArgs<T> source;
  if (boundary > 0) {
    const SubLayerPlaces& below = call.places.sublayers[boundary - 1];
    source.kind = BoundarySource::kMerge;
    source.x = call.At(call.places.x[boundary - 1]);
    source.y = call.At(below.y);
    source.coefficients = call.ScalarsAt(below.coefficients);
  } else if (HasEmbedding()) {
    source.kind = BoundarySource::kEmbed;
    source.embedding = embedding_.value.address();
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
    args.parameters = ParametersOf(weights);
    args.coefficients = call.ScalarsAt(places.coefficients);
    args.logits = call.ScalarsAt(places.logits);
    args.norm_out = call.At(places.norm);
    args.norm_inv_rms = call.ScalarsAt(places.inverse_rms);
  } else if (HasHead()) {
    args.sink = BoundarySink::kHead;
    args.parameters.gamma = head_.norm.value.address();
    args.contracted = call.At(call.places.contracted);
    args.norm_out = call.At(call.places.head_norm);
    args.norm_inv_rms = call.ScalarsAt(call.places.head_inverse_rms);
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
  args.prefix_below = call.ScalarsAt(first_merge ? received_p_ : p_);
  args.prefix = call.ScalarsAt(p_);
}

template <typename T>
void TransformerStage<T>::ForwardBoundary(const Call& call, int boundary, bool with_gains) {
  beside_.Join(call.launch.stream);  // P and X may be written again
  BoundaryForwardArgs<T> args;
  args.shape = call.shape;
  args.source = SourceOf(call, boundary);
  args.x = call.At(call.places.x[boundary]);
  if (with_gains) SetPrefix(call, boundary, args);
  SetSink(call, boundary, args);
  Must(backend_.BoundaryForward(call.launch.stream, args));
  if (with_gains) AddForwardGains(call, boundary);
}

template <typename T>
SubLayerCall<T> TransformerStage<T>::SubLayerOf(const Call& call, int index) const {
  const SubLayerPlaces& places = call.places.sublayers[index];
  const GradientPlaces& gradients = call.gradients[index];
  return {call.launch,
          model_,
          call.batch,
          weights_[index],
          {.norm = call.At(places.norm),
           .y = call.At(places.y),
           .inner = call.At(places.inner),
           .log_sum_exp = call.ScalarsAt(places.log_sum_exp),
           .attention = call.At(places.attention),
           .dy = call.At(gradients.dy),
           .dinner = call.At(gradients.dinner),
           .dnorm = call.At(dnorm_),
           .middle = call.At(IsAttention(index) ? dnorm_ : call.places.hidden),
           .workspace = call.places.attention_workspace.template In<void>(call.buffers).address()},
          call.at_once};
}

template <typename T>
void TransformerStage<T>::ForwardSubLayer(const Call& call, int index) {
  const SubLayerCall<T> sublayer = SubLayerOf(call, index);
  if (!IsAttention(index)) {
    FeedForwardForward(sublayer);
  } else if (call.cache != nullptr) {
    AttentionForward(sublayer, *call.cache, index / 2);
  } else {
    AttentionForward(sublayer);
  }
}

// A few rows at a time, and in training their gradient at once: no pass holds the logits of all.
template <typename T>
void TransformerStage<T>::Loss(const Call& call, StageMode mode, int64_t target_tokens) {
  const bool train = mode == StageMode::kTrain;
  const int64_t vocabulary = model_.vocab_size, width = model_.hidden_size;
  const T* norm = call.At(call.places.head_norm);
  S* logits = call.ScalarsAt(logits_);
  const double scale = target_tokens > 0 ? 1.0 / static_cast<double>(target_tokens) : 0.0;
  for (int64_t row = 0; row < call.tokens(); row += head_rows_) {
    // Logits of the next rows.
    const int64_t rows = std::min(head_rows_, call.tokens() - row);
    LinearForwardWide(call.launch, {rows, width, vocabulary}, norm + row * width, head_.vocabulary,
                      logits);
    // Their losses into the rank's share, and in training their gradient.
    CrossEntropyArgs<T> args;
    args.tokens = rows;
    args.vocabulary = vocabulary;
    args.logits = logits;
    args.targets = call.batch.targets + row;
    args.sums = (share_ + ShareLayout::kLoss).template As<CrossEntropySums>().address();
    args.scale = scale;
    args.dlogits = train ? call.At(dlogits_.Present() ? dlogits_ : logits_) : nullptr;
    args.workspace = call.launch.workspace;
    Must(backend_.CrossEntropy(call.launch.stream, args));
    if (train) HeadGradient(call, row, rows);
  }
}

template <typename T>
void TransformerStage<T>::HeadGradient(const Call& call, int64_t row, int64_t rows) {
  const int64_t width = model_.hidden_size;
  const LinearShape shape = {rows, width, model_.vocab_size};
  const T* dlogits = call.At(dlogits_.Present() ? dlogits_ : logits_);
  LinearBackwardInput<T>(call.launch, shape, dlogits, head_.vocabulary,
                         call.At(call.places.dnorm) + row * width);
  // A tied table also has the embedding's gradients, which are added to.
  const bool add = model_.tie_embeddings || head_adds_;
  LinearBackwardWeight<T>(call.launch, shape, dlogits, call.At(call.places.head_norm) + row * width,
                          head_.vocabulary, add);
  head_adds_ = true;
}

template <typename T>
void TransformerStage<T>::Recompute(Stream& stream, UnitRange block, const StageBuffers& buffers) {
  const Call call = Begin(stream, buffers, backward_);
  const int first = BottomOf(block);
  for (int i = first; i < TopOf(block); ++i) {
    BoundaryRecomputeArgs<T> args;
    args.shape = call.shape;
    if (i > first) args.source = SourceOf(call, i);
    args.x = call.At(call.places.x[i]);
    args.gamma = weights_[i].norm.value.address();
    args.coefficients = call.ScalarsAt(call.places.sublayers[i].coefficients);
    args.norm_inv_rms = call.ScalarsAt(call.places.sublayers[i].inverse_rms);
    args.norm_out = call.At(call.places.sublayers[i].norm);
    Must(backend_.BoundaryRecompute(stream, args));
  }
}

template class TransformerStage<float>;
template class TransformerStage<double>;
template class TransformerStage<bf16>;

}  // namespace birkhoff
