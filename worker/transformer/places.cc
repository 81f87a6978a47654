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

Place FindEvaluated(const StageLayout& layout, const std::string& name) {
  return FindStagePlace(layout, Home::kSaved, ("evaluation." + name).c_str());
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
  const Place leaving =
      unit == sublayers.last ? FindStagePlace(layout, Home::kOutput, "x") : Place{};
  if (pass == Pass::kEvaluate) return FirstPresent({leaving, FindEvaluated(layout, "x")});
  return FirstPresent({leaving, saved, FindStagePlace(layout, Home::kScratch, "x")});
}

Place FindNorm(const StageLayout& layout, int unit, Pass pass) {
  if (pass == Pass::kEvaluate) return FindEvaluated(layout, "norm");
  const Place kept = Find(layout, unit, Home::kKept, "norm");
  if (pass == Pass::kForward) {
    return FirstPresent({kept, FindStagePlace(layout, Home::kScratch, "norm")});
  }
  return FirstPresent({Find(layout, unit, Home::kRecompute, "norm"), kept});
}

const char* InnerName(const ModelSpec& model, int unit) {
  return KindOfUnit(model, unit) == UnitKind::kAttention ? "qkv" : "gate_up";
}

SubLayerPlaces FindEvaluatedSubLayer(const StageLayout& layout, const ModelSpec& model, int unit) {
  const auto find = [&layout](const char* name) { return FindEvaluated(layout, name); };
  // A boundary reads the coefficients below while it writes those above: they take turns.
  return {.coefficients = find(unit % 2 == 0 ? "coefficients.0" : "coefficients.1"),
          .logits = find("logits"),
          .norm = find("norm"),
          .inverse_rms = find("inverse_rms"),
          .y = find("y"),
          .inner = find(InnerName(model, unit)),
          .log_sum_exp = find("log_sum_exp"),
          .attention = find("attention")};
}

SubLayerPlaces FindSubLayer(const StageLayout& layout, const ModelSpec& model, int unit,
                            Pass pass) {
  if (pass == Pass::kEvaluate) return FindEvaluatedSubLayer(layout, model, unit);
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
  const bool backward = pass == Pass::kBackward;
  places.hidden = FindStagePlace(layout, Home::kScratch, backward ? "dhidden" : "hidden");
  places.attention_workspace = FindStagePlace(
      layout, Home::kScratch, backward ? "workspace.dattention" : "workspace.attention");
  if (layout.units.last < NumUnits(model)) return places;
  const int head = layout.units.last - 1;
  const auto find = [&](const char* name) {
    return pass == Pass::kEvaluate ? FindEvaluated(layout, name)
                                   : Find(layout, head, Home::kSaved, name);
  };
  places.head_norm = FindNorm(layout, head, pass);
  places.contracted = find("contracted");
  places.head_inverse_rms = find("inverse_rms");
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
      // Gate and up are read for the last time where their gradients are formed.
      const bool attention = KindOfUnit(model, unit) == UnitKind::kAttention;
      places.push_back({FindStagePlace(layout, Home::kScratch, "dy"),
                        attention ? FindStagePlace(layout, Home::kScratch, "dqkv")
                                  : Find(layout, unit, Home::kKept, inner),
                        kept});
    }
  }
  return places;
}

}  // namespace birkhoff
