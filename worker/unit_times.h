// From the kernels of one step to the times of units, as planning wants them (core/spec/card_rates.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/spec/card_rates.h"

namespace birkhoff {

// What a kernel is part of.
enum class StepPhase { kNone, kForward, kBackward, kNorm, kUpdate, kRecompute };

struct KernelTime {
  StepPhase phase = StepPhase::kNone;
  std::string kernel;  // the contract's name
  std::string shape;   // what its time depends on
  int64_t ns = 0;      // from the end of what was before it: its own time where the stream is busy
};

// Names that say where a unit ends, and what of it is a gradient of weights.
inline constexpr char kBoundaryForward[] = "boundary forward";
inline constexpr char kBoundaryBackward[] = "boundary backward";
inline constexpr char kWideProduct[] = "wide product";  // beside the head: a gradient of weights
inline constexpr char kGain[] = "gain";

inline constexpr int kMeasuredLayers = 2;

// `step`: the kernels, in their order, of one training step of one micro-batch of a model of
// kMeasuredLayers layers in one stage, and of its recompute in blocks of two sub-layers.
// `elements`: of its parameters.
ShapeTimes TimesOfUnits(const std::vector<KernelTime>& step, int64_t elements);

// The kernels of a step by phase, contract and shape, a line each:
//   "kernel: forward product 4096 x 2560 x 6912 b^T, 2 times 181.25 us"
std::string KernelTable(const std::vector<KernelTime>& step);

}  // namespace birkhoff
