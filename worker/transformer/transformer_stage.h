// The computation of one stage, synchronous and sequential:
//
//   [Boundary_0, F_0, Boundary_1, F_1, ..., Boundary_k]
//
// Boundary_0 reads the embedding or what was received, the ones between merge a sub-layer's output
// and open the next, Boundary_k feeds the head or what leaves the stage.  stage.cc puts the float
// instance behind StageModule; the double instance is the reference of the tests.
#pragma once

#include <cstdint>
#include <vector>

#include "core/spec/footprint.h"
#include "kernels/boundary.h"
#include "worker/microbatch.h"
#include "worker/stage.h"
#include "worker/transformer/places.h"
#include "worker/transformer/sublayer.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

// The contract of each call is StageModule's (worker/stage.h), without the stream.  Not
// thread-safe.  Allocates nothing after construction.
template <typename T>
class TransformerStage {
 public:
  // The weights must outlive the stage.  `request.element_bytes` must be sizeof(T).
  TransformerStage(const LayoutRequest& request, const WeightLookup<T>& lookup);

  const StageLayout& layout() const { return layout_; }
  const StageSums& sums() const { return sums_; }
  void ResetSums();

  void Forward(const StageBuffers& buffers, StageMode mode);
  void Recompute(UnitRange block, const StageBuffers& buffers);
  void BackwardInput(UnitRange segment, const StageBuffers& buffers, int64_t target_tokens);
  void BackwardWeight(UnitRange segment, const StageBuffers& buffers);
  void Backward(UnitRange segment, const StageBuffers& buffers, int64_t target_tokens);

 private:
  // One call: its buffers, its micro-batch and where it finds things.
  struct Call {
    const StageBuffers& buffers;
    const StagePlaces& places;
    const std::vector<GradientPlaces>& gradients;
    Microbatch batch;
    BoundaryShape shape;

    T* At(const Place& place) const { return place.template In<T>(buffers); }
  };

  bool HasEmbedding() const { return layout_.units.first == 0; }
  bool HasHead() const { return layout_.units.last == NumUnits(model_); }
  int NumStageSubLayers() const { return sublayers_.last - sublayers_.first; }
  int UnitOf(int index) const { return sublayers_.first + index; }
  bool IsAttention(int index) const {
    return KindOfUnit(model_, UnitOf(index)) == UnitKind::kAttention;
  }

  Call Begin(const StageBuffers& buffers, const StagePlaces& places, bool split = false) const;
  BoundarySourceArgs<T> SourceOf(const Call& call, int boundary) const;
  SubLayerTensors<T> TensorsOf(const Call& call, int index) const;

  void ForwardBoundary(const Call& call, int boundary, bool with_gains);
  void SetSink(const Call& call, int boundary, BoundaryForwardArgs<T>& args) const;
  void SetPrefix(const Call& call, int boundary, BoundaryForwardArgs<T>& args) const;
  void ForwardSubLayer(const Call& call, int index);
  void TrainingLoss(const Call& call);
  void EvaluationLoss(const Call& call);

  void BackwardSegment(const Call& call, UnitRange segment, bool split, int64_t target_tokens);
  void BackwardHead(const Call& call, UnitRange segment, int64_t target_tokens);
  void BackwardTop(const Call& call, UnitRange segment, int boundary);
  void BackwardBoundary(const Call& call, UnitRange segment, int boundary);
  void BackwardSubLayer(const Call& call, int index, bool split);
  void WeightGradient(const Call& call, int index);
  void HeadWeightGradient(const Call& call);
  void SetSource(const Call& call, UnitRange segment, int boundary,
                 BoundaryBackwardArgs<T>& args) const;
  // Boundaries of a segment: backward starts at `top` and ends with `bottom`.
  int TopOf(UnitRange segment) const;
  int BottomOf(UnitRange segment) const;
  bool TouchesHead(UnitRange segment) const { return segment.last > sublayers_.last; }

  void AddForwardGains(const Call& call, int boundary);
  void AddBackwardGains(const Call& call, int index);
  void AddSingleGain(const Call& call, int index);

  const ModelSpec model_;
  const StageLayout layout_;
  const UnitRange sublayers_;  // units
  std::vector<SubLayerWeights<T>> weights_;
  HeadWeights<T> head_;
  Weight<T> embedding_;
  StagePlaces forward_, evaluate_, backward_;
  std::vector<GradientPlaces> split_gradients_, full_gradients_;
  Place received_p_, p_;  // P below the stage (absent with the embedding), and the working P
  Place dx_in_, s_in_;    // from the next stage; absent with the head
  Place dx_, s_;          // the working gradient, what leaves the stage in the end
  Place norm_scratch_, attention_scratch_, hidden_scratch_, workspace_;
  int64_t evaluation_rows_ = 0;  // logits that scratch holds
  StageSums sums_;
};

}  // namespace birkhoff
