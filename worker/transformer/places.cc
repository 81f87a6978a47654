// What a pass reads and writes decides in which homes a tensor may stand; each Find tries them in
// order.
#include "worker/transformer/places.h"

#include <algorithm>
#include <initializer_list>
#include <string>

namespace birkhoff {
namespace {

Place Find(const StageLayout& layout, int unit, Home home, const std::string& name) {
  const StoredTensor* tensor = layout.Find(unit, home, name);
  return tensor == nullptr ? Place{} : Place{home, tensor->offset};
}

Place FirstPresent(std::initializer_list<Place> places) {
  for (const Place& place : places) {
    if (place.Present()) return place;
  }
  return {};
}

// X at boundary `unit`: a sub-layer's, or the stage's end.
Place FindX(const StageLayout& layout, UnitRange sublayers, int unit, Pass pass) {
  if (unit == sublayers.first) {
    const Place received = FindStagePlace(layout, Home::kInput, "x");
    if (received.Present()) return received;
  }
  if (unit == sublayers.last && pass == Pass::kBackward) return {};
  const Place saved = Find(layout, unit, Home::kSaved, "x");
  if (pass == Pass::kBackward) {
    return FirstPresent({Find(layout, unit, Home::kRecompute, "x"), saved});
  }
  const Place scratch = FindStagePlace(layout, Home::kScratch, "x");
  const Place leaving =
      unit == sublayers.last ? FindStagePlace(layout, Home::kOutput, "x") : Place{};
  if (pass == Pass::kEvaluate) return FirstPresent({leaving, scratch});
  return FirstPresent({leaving, saved, scratch});
}

Place FindNorm(const StageLayout& layout, int unit, Pass pass) {
  const Place scratch = FindStagePlace(layout, Home::kScratch, "norm");
  if (pass == Pass::kEvaluate) return scratch;
  const Place kept = Find(layout, unit, Home::kKept, "norm");
  if (pass == Pass::kForward) return FirstPresent({kept, scratch});
  return FirstPresent({Find(layout, unit, Home::kRecompute, "norm"), kept});
}

const char* InnerName(const ModelSpec& model, int unit) {
  return KindOfUnit(model, unit) == UnitKind::kAttention ? "qkv" : "gate_up";
}

SubLayerPlaces FindScratch(const StageLayout& layout, const ModelSpec& model, int unit) {
  const auto scratch = [&layout](const char* name) {
    return FindStagePlace(layout, Home::kScratch, name);
  };
  // A boundary reads the coefficients below while it writes those above: they take turns.
  return {.coefficients = scratch(unit % 2 == 0 ? "coefficients.0" : "coefficients.1"),
          .logits = scratch("logits"),
          .norm = scratch("norm"),
          .inverse_rms = scratch("inverse_rms"),
          .y = scratch("y"),
          .inner = scratch(InnerName(model, unit)),
          .log_sum_exp = scratch("log_sum_exp"),
          .attention = scratch("attention")};
}

SubLayerPlaces FindSubLayer(const StageLayout& layout, const ModelSpec& model, int unit,
                            Pass pass) {
  if (pass == Pass::kEvaluate) return FindScratch(layout, model, unit);
  const bool attention = KindOfUnit(model, unit) == UnitKind::kAttention;
  return {
      .coefficients = Find(layout, unit, Home::kSaved, "coefficients"),
      .logits = Find(layout, unit, Home::kSaved, "logits"),
      .norm = FindNorm(layout, unit, pass),
      .inverse_rms = Find(layout, unit, Home::kSaved, "inverse_rms"),
      .y = Find(layout, unit, Home::kSaved, "y"),
      .inner = Find(layout, unit, attention ? Home::kSaved : Home::kKept, InnerName(model, unit)),
      .log_sum_exp = Find(layout, unit, Home::kSaved, "log_sum_exp"),
      .attention = Find(layout, unit, Home::kKept, "attention")};
}

}  // namespace

Place FindStagePlace(const StageLayout& layout, Home home, const char* name) {
  return Find(layout, layout.units.first, home, name);
}

UnitRange SubLayersOf(const ModelSpec& model, UnitRange units) {
  const int end = NumUnits(model) - 1;
  return {std::clamp(units.first, 1, end), std::clamp(units.last, 1, end)};
}

StagePlaces FindPlaces(const StageLayout& layout, const ModelSpec& model, Pass pass) {
  const UnitRange sublayers = SubLayersOf(model, layout.units);
  StagePlaces places;
  for (int unit = sublayers.first; unit <= sublayers.last; ++unit) {
    places.x.push_back(FindX(layout, sublayers, unit, pass));
    if (unit < sublayers.last) {
      places.sublayers.push_back(FindSubLayer(layout, model, unit, pass));
    }
  }
  if (layout.units.last < NumUnits(model)) return places;
  const int head = layout.units.last - 1;
  const auto find = [&](Home home, const char* name) {
    return pass == Pass::kEvaluate ? FindStagePlace(layout, Home::kScratch, name)
                                   : Find(layout, head, home, name);
  };
  places.head_norm = FindNorm(layout, head, pass);
  places.contracted = find(Home::kSaved, "contracted");
  places.head_inverse_rms = find(Home::kSaved, "inverse_rms");
  places.dnorm = Find(layout, head, Home::kSaved, "dnorm");
  return places;
}

std::vector<GradientPlaces> FindGradientPlaces(const StageLayout& layout, const ModelSpec& model,
                                               bool split) {
  const UnitRange sublayers = SubLayersOf(model, layout.units);
  std::vector<GradientPlaces> places;
  for (int unit = sublayers.first; unit < sublayers.last; ++unit) {
    const std::string inner = InnerName(model, unit);
    const Place kept = FindNorm(layout, unit, Pass::kBackward);
    if (split) {
      places.push_back({Find(layout, unit, Home::kPending, "dy"),
                        Find(layout, unit, Home::kPending, "d" + inner),
                        FirstPresent({Find(layout, unit, Home::kPending, "norm"), kept})});
    } else {
      places.push_back({FindStagePlace(layout, Home::kScratch, "y"),
                        FindStagePlace(layout, Home::kScratch, inner.c_str()), kept});
    }
  }
  return places;
}

}  // namespace birkhoff
