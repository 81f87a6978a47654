// The computation of one stage, on any backend:
//
//   [Boundary_0, F_0, Boundary_1, F_1, ..., Boundary_k]
//
// Boundary_0 reads the embedding or what was received, the ones between merge a sub-layer's output
// and open the next, Boundary_k feeds the head or what leaves the stage.
#pragma once

#include <cstdint>
#include <vector>

#include "core/spec/footprint.h"
#include "core/spec/step_share.h"
#include "kernels/backend.h"
#include "worker/stage.h"
#include "worker/transformer/beside.h"
#include "worker/transformer/key_value_cache.h"
#include "worker/transformer/launch.h"
#include "worker/transformer/places.h"
#include "worker/transformer/sublayer.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

// Not thread-safe.  Allocates nothing after construction.
template <typename T>
class TransformerStage final : public StageModule {
 public:
  using S = ScalarOf<T>;
  // Backend, weights and `beside` must outlive the stage; `share` is the rank's row of ShareLayout
  // in the device's memory.  `request.precision` must be that of T.
  TransformerStage(const LayoutRequest& request, const WeightLookup<T>& lookup, Backend<T>& backend,
                   DevicePtr<double> share, Beside& beside);

  const StageLayout& layout() const override { return layout_; }

  void Forward(Stream& stream, const StageBuffers& buffers, StageMode mode,
               int64_t target_tokens) override;
  // Of a stage that is the whole model: the batch is one sequence that goes on with that of
  // `cache`, its positions too, and is added to it.  `logits` [V]: of what follows its last token.
  // Needs the buffers of evaluation.
  void Extend(Stream& stream, const StageBuffers& buffers, KeyValueCache<T>& cache,
              DevicePtr<S> logits);
  void Recompute(Stream& stream, UnitRange block, const StageBuffers& buffers) override;
  void BackwardInput(Stream& stream, UnitRange segment, const StageBuffers& buffers) override;
  void BackwardWeight(Stream& stream, UnitRange segment, const StageBuffers& buffers) override;
  void Backward(Stream& stream, UnitRange segment, const StageBuffers& buffers) override;
  void StartGradients() override;

 private:
  // One call: its buffers, its micro-batch, where it finds things and where its kernels go.
  struct Call {
    const StageBuffers& buffers;
    const StagePlaces& places;
    const std::vector<GradientPlaces>& gradients;
    Microbatch batch;
    BoundaryShape shape;
    Launch<T> launch;
    bool at_once = false;                     // backward: not split
    const KeyValueCache<T>* cache = nullptr;  // of Extend alone

    int64_t tokens() const { return shape.tokens; }
    // Addresses for kernel arguments: of activations, and of what is never rounded.
    T* At(const Place& place) const { return place.template In<T>(buffers).address(); }
    S* ScalarsAt(const Place& place) const { return place.template In<S>(buffers).address(); }
  };

  bool HasEmbedding() const { return layout_.units.first == 0; }
  bool HasHead() const { return layout_.units.last == NumUnits(model_); }
  int NumStageSubLayers() const { return sublayers_.last - sublayers_.first; }
  int UnitOf(int index) const { return sublayers_.first + index; }
  bool IsAttention(int index) const {
    return KindOfUnit(model_, UnitOf(index)) == UnitKind::kAttention;
  }

  Call Begin(Stream& stream, const StageBuffers& buffers, const StagePlaces& places,
             bool split = false) const;
  void CheckWorkspace(const LayoutRequest& request) const;
  BoundarySourceArgs<T> SourceOf(const Call& call, int boundary) const;
  SubLayerCall<T> SubLayerOf(const Call& call, int index) const;

  void Walk(const Call& call, bool with_gains);
  void ForwardBoundary(const Call& call, int boundary, bool with_gains);
  void SetSink(const Call& call, int boundary, BoundaryForwardArgs<T>& args) const;
  void SetPrefix(const Call& call, int boundary, BoundaryForwardArgs<T>& args) const;
  void ForwardSubLayer(const Call& call, int index);
  void Loss(const Call& call, StageMode mode, int64_t target_tokens);
  void HeadGradient(const Call& call, int64_t row, int64_t rows);

  void BackwardSegment(const Call& call, UnitRange segment, bool split);
  void BackwardHead(const Call& call, UnitRange segment);
  void BackwardTop(const Call& call, UnitRange segment, int boundary);
  void BackwardBoundary(const Call& call, UnitRange segment, int boundary);
  void BackwardSubLayer(const Call& call, int index, bool split);
  void WeightGradient(const Call& call, int index);
  void SetSource(const Call& call, UnitRange segment, int boundary,
                 BoundaryBackwardArgs<T>& args) const;
  // Boundaries of a segment: backward starts at `top` and ends with `bottom`.
  int TopOf(UnitRange segment) const;
  int BottomOf(UnitRange segment) const;
  bool TouchesHead(UnitRange segment) const { return segment.last > sublayers_.last; }

  // The same, for measures: beside the compute stream.
  Call Measures(const Call& call) const;
  void AddForwardGains(const Call& call, int boundary);
  void AddBackwardGains(const Call& call, int index);
  void AddSingleGain(const Call& call, int index);
  void AddGain(const Call& call, int index, GainOf of, const S* matrices, int64_t stride);
  void AddMixing(const Call& call, int boundary);

  const ModelSpec model_;
  const StageLayout layout_;
  const UnitRange sublayers_;  // units
  Backend<T>& backend_;
  const ShareLayout share_layout_;
  const DevicePtr<double> share_;
  Beside& beside_;
  std::vector<SubLayerWeights<T>> weights_;
  HeadWeights<T> head_;
  Weight<T> embedding_;
  StagePlaces forward_, evaluate_, backward_;
  std::vector<GradientPlaces> split_gradients_, full_gradients_;
  Place received_p_, p_;  // P below the stage (absent with the embedding), and the working P
  Place dx_in_, s_in_;    // from the next stage; absent with the head
  Place dx_, s_;          // the working gradient, what leaves the stage in the end
  Place dnorm_, workspace_, measures_workspace_;
  Place logits_, dlogits_;  // of some rows; the second absent where one type serves both
  int64_t head_rows_ = 0;   // that they hold
  // Whether the next gradient of a product is added: by sub-layer, and of the head.
  std::vector<bool> adds_;
  bool head_adds_ = false;
};

}  // namespace birkhoff
