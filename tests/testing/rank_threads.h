// All ranks of an attempt as threads of a test, with the part of the coordinator that commits
// checkpoints.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/disk.h"
#include "core/protocol/messages.h"
#include "core/spec/job_spec.h"
#include "worker/rank.h"

namespace birkhoff::testing {

// A directory for this test alone.
std::string NewTestDirectory();

// A small job whose programs run in milliseconds: 8 sub-layers of 16 columns, 16 sequences of 16
// tokens.  Two ranks; where the tests' device is a GPU one, in fp32 and deterministic.  Writes its
// token files into `directory`.
JobSpec SmallJob(const std::string& directory);

struct RunOptions {
  JobSpec spec;
  std::string directory;            // output
  Disk* disk = nullptr;             // null: the operating system's
  std::string transport = "local";  // local | gloo
  int attempt = 1;
  bool fresh = false;
  bool graphs = true;         // Rank::Environment
  GemmChoices products = {};  // Rank::Environment
  double peak_flops = 0.0;    // of each rank's device; 0: not known
  // Falsifies what the ranks are told.
  std::function<void(Assignment& assignment)> change_assignment;
  // Before every step of every rank, with the number of steps it has finished in this attempt.
  std::function<void(int rank, int64_t steps, Rank& self, Transport& transport)> before_step;
  // Puts something around a rank's transport, or takes it as it is.
  std::function<std::unique_ptr<Transport>(int rank, std::unique_ptr<Transport> inner)>
      wrap_transport;
  // Gives a rank another device; null: the tests' (test_device.h).
  std::function<std::unique_ptr<Device>(int rank, Transport& transport)> make_device;
};

struct RunResult {
  std::vector<absl::Status> statuses;            // by rank
  std::vector<std::vector<StepReport>> reports;  // by rank
  std::vector<RankReady> ready;                  // of ranks that came so far
  std::vector<CheckpointCommitted> committed;
  std::vector<Noticed> notices;
  std::vector<std::string> log;  // lines of all ranks
  std::vector<bool> stopped;     // by rank

  // The first that is not OK; ranks that were only ended with another come last.
  absl::Status status() const;
  std::vector<double> losses() const;
};

// Compiles the plan and runs it to its end.  A rank that fails ends the attempt for all.
RunResult RunRanks(const RunOptions& options);

// The steps that OUT/metrics.jsonl holds, in its order.
std::vector<int64_t> MetricsSteps(Disk& disk, const std::string& out);

// Bytes of the manifest's tensors, by checksum: equal strings are equal weights and moments.
std::string TensorChecksums(Disk& disk, const std::string& checkpoint);

}  // namespace birkhoff::testing
