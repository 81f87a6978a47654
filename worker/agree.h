// The agreed step result, as the hosts know it: read from the shares of all ranks once a step is
// over.
//
// The shares (core/spec/step_share.h) are swapped by one all-gather of doubles on the devices, not
// by an all-reduce: every rank adds the same numbers in the same order, so what the devices decide
// (DecideStep: skip, clip scale) and what the hosts read here has the same bits on all ranks and
// transports, and minima travel with the sums.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/protocol/step_report.h"
#include "core/spec/step_share.h"
#include "worker/executor.h"

namespace birkhoff {

struct Agreement {
  double loss = 0.0;  // nats per target token
  int64_t target_tokens = 0;
  double grad_norm = 0.0;  // each logical parameter counted once; infinite with non_finite > 0
  int64_t non_finite = 0;  // gradient elements
  bool skip = true;        // the loss or a gradient is not finite: nobody has stepped
  GainReport gain;
  std::optional<MixingReport> mixing;  // of models with more than one stream
};

// `all`: the shares of all ranks, back to back.  `total_tokens`: rows of all micro-batches and
// replicas, over which gains are means.
Agreement FoldShares(const ShareLayout& layout, std::span<const double> all, int64_t total_tokens);

// What a host knows of its own step and no device does.
struct HostShare {
  double stop = 0.0;  // 1: this rank was asked to stop
  double busy_ns = 0.0, elapsed_ns = 0.0, exposed_ns = 0.0, span_ns = 0.0;  // Utilization
  double failed_checkpoint = 0.0;  // step of the newest that this rank could not write
};
struct HostAgreement {
  bool stop = false;              // some rank was asked to stop
  double bubble = 0.0;            // 1 - busy / (ranks x longest time)
  double exposed_transfer = 0.0;  // exposed / (ranks x longest span)
  int64_t failed_checkpoint = 0;  // the newest that some rank could not write: nobody needs it
};
HostAgreement FoldHostShares(std::span<const HostShare> all);

}  // namespace birkhoff
