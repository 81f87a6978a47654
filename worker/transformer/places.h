// Where each kind of pass finds its tensors: StageLayout's names resolved once, so that a call is
// pointer arithmetic alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/spec/footprint.h"
#include "core/spec/model.h"
#include "worker/stage.h"

namespace birkhoff {

// A tensor's home and offset; absent where the stage has no such tensor.
struct Place {
  Home home = Home::kScratch;
  int64_t offset = -1;

  bool Present() const { return offset >= 0; }
  // Null where the tensor is absent, or its buffer is none of the instruction's.
  template <typename T>
  DevicePtr<T> In(const StageBuffers& buffers) const {
    const DevicePtr<std::byte> start = buffers.Of(home);
    if (!Present() || start == nullptr) return nullptr;
    return (start + offset).template As<T>();
  }
};

struct SubLayerPlaces {
  Place coefficients, logits;  // of the boundary that opens it
  Place norm;                  // norm(u), what F reads
  Place inverse_rms;           // of that norm
  Place y, inner, log_sum_exp, attention;
};

// What the backward pass makes for one sub-layer, and the operand of its weight gradient.
struct GradientPlaces {
  Place dy, dinner, norm;
};

enum class Pass {
  kForward,   // of training: fills what is kept
  kEvaluate,  // keeps nothing: sub-layers take turns where it would stand
  kBackward,  // reads what is kept, or rebuilt by recompute
};

// The sub-layers of a stage are counted from 0; boundary i opens sub-layer i, the last boundary is
// the stage's end: the head, or the output.
struct StagePlaces {
  std::vector<Place> x;  // by boundary; absent in kBackward at the end of a stage with sub-layers
  std::vector<SubLayerPlaces> sublayers;
  Place head_norm;         // [T, C]
  Place contracted;        // [T, C], what the head's norm reads
  Place head_inverse_rms;  // [T]
  Place dnorm;             // [T, C], gradient of the head's norm; not written in kEvaluate
  Place hidden;            // [T, F], a feed-forward's
  Place attention_workspace;
};

StagePlaces FindPlaces(const StageLayout& layout, const ModelSpec& model, Pass pass);

// `split`: backward-input and backward-weight are two instructions, so gradients wait in kPending.
std::vector<GradientPlaces> FindGradientPlaces(const StageLayout& layout, const ModelSpec& model,
                                               bool split);

// A tensor that belongs to the stage as a whole: scratch and message parts.
Place FindStagePlace(const StageLayout& layout, Home home, const char* name);

// The sub-layer units of a run of units.
UnitRange SubLayersOf(const ModelSpec& model, UnitRange units);

}  // namespace birkhoff
