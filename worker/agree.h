// The agreed step result: what every rank knows of a step, swapped once and folded alike.
//
// One all-gather of doubles and a fold in ascending rank order, not an all-reduce: every rank adds
// the same numbers in the same order, so the decisions (skip, clip scale, stop) have the same bits
// on all ranks and transports, and minima and flags travel with the sums.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/spec/model.h"
#include "core/spec/step_report.h"
#include "kernels/adamw.h"
#include "worker/executor.h"
#include "worker/stage.h"

namespace birkhoff {

// What one rank brings.
struct RankShare {
  std::vector<const StageModule*> stages;  // of this rank, the streams that fed them idle
  GradientNorm norm;                       // of the parameters that this rank owns
  bool stop = false;                       // this rank was asked to stop
  Utilization utilization;
};

struct Agreement {
  double loss = 0.0;  // nats per target token
  int64_t target_tokens = 0;
  double grad_norm = 0.0;  // each logical parameter counted once
  int64_t non_finite = 0;  // gradient elements
  bool skip = true;        // the loss or a gradient is not finite: nobody steps
  double clip_scale = 1.0;
  bool stop = false;    // some rank was asked to stop
  double bubble = 0.0;  // 1 - busy / (ranks x longest time)
  GainReport gain;
};

struct AgreeOptions {
  double clip_grad = 0.0;    // 0: none
  int64_t total_tokens = 0;  // rows of all micro-batches and replicas, over which gains are means
};

// Doubles that one rank contributes.
int64_t AgreeLength(const ModelSpec& model);
void PackShare(const ModelSpec& model, const RankShare& share, std::span<double> out);
// `all`: the contributions of all ranks, back to back.
Agreement FoldShares(const ModelSpec& model, std::span<const double> all,
                     const AgreeOptions& options);

}  // namespace birkhoff
