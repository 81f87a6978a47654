// What workers there are, as far as planning needs to know.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/spec/card_rates.h"

namespace birkhoff {

struct WorkerResources {
  std::string name;              // "workers/host-0"
  std::string device = "cpu";    // cpu | cuda
  int64_t memory_bytes = 0;      // 0: unknown, no limit is checked
  double peak_flops = 0.0;       // in bf16 (PeakFlops); 0: unknown
  double product_flops = 0.0;    // per second that a CPU's products reach (ProductRate); 0: unknown
  std::string description = {};  // for people: card, driver, libraries; plans do not depend on it
};

// A name goes into logs, messages and metrics: "workers/" and what a host may be called.
inline constexpr char kWorkerNames[] =
    "workers/NAME, letters, digits and inner '-', '_' or '.', at most 253";
bool IsWorkerName(std::string_view name);

struct ClusterSpec {
  std::vector<WorkerResources> workers;
  std::optional<CardRates> card = {};  // what was measured on cards as these workers have
  // In place of what the workers say and of what cost_model.cc has for the processor.
  std::optional<double> flops_per_second = {};
  std::optional<double> link_bytes_per_second = {};
  std::optional<double> link_latency_seconds = {};
};

}  // namespace birkhoff
