// A plan: for each pipeline rank the stages it owns, its buffers and its two ordered programs.
// Pure data.
//
// Data-parallel replicas run the same plan: the worker with global rank g has replica g / num_ranks
// and pipeline rank g % num_ranks; channels join pipeline ranks of one replica.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/plan/instruction.h"
#include "core/spec/job_spec.h"
#include "core/spec/model.h"
#include "core/spec/precision.h"

namespace birkhoff {

struct Stage {
  UnitRange units;
  std::vector<int> ranks;  // holders by direction: one, or DualPipe's two
};

enum class ChannelKind { kActivation = 0, kGradient = 1 };

// A directed, ordered pair of pipeline ranks.  The k-th send meets the k-th receive of the same
// program.
struct Channel {
  int source = 0;
  int destination = 0;
  ChannelKind kind = ChannelKind::kActivation;
  int64_t message_bytes = 0;  // all parts, each padded to 64 bytes
  std::vector<MessagePart> parts = {};
  friend bool operator==(const Channel&, const Channel&) = default;
};

// A piece of memory of one rank, reused by successive micro-batches.
struct Buffer {
  Home home = Home::kBatch;
  int stage = -1;  // -1: scratch
  int64_t bytes = 0;
  friend bool operator==(const Buffer&, const Buffer&) = default;
};

enum class ParameterKind { kGradient = 0, kAccumulated = 1 };

struct PlannedParameter {
  ParameterSpec spec;
  std::vector<int> stages;  // that use it (two with tied embeddings)
  // Pipeline ranks that hold it, ascending; the first writes it and counts its norm.
  std::vector<int> ranks;
  int bucket = 0;
  ParameterKind kind = ParameterKind::kGradient;
  // The type in which units read it: kFloat32 the master itself, else a copy made by the optimizer.
  DType copy = DType::kFloat32;
};

// Parameters whose gradients are summed in one go.  On each holder, buckets are reduced in
// ascending order.
struct Bucket {
  std::vector<int> parameters;  // indices into Plan::parameters
  // Holders within a replica; more than one: exchange-copies before reduce-gradient.
  std::vector<int> ranks;
};

// Numbers are on the wire and in stored plans: never change one.
enum class MemoryPlace { kDevice = 1, kHost = 2 };

// What a rank allocates under one name; memory.h has the names.
struct MemoryItem {
  std::string name;
  MemoryPlace place = MemoryPlace::kDevice;
  int64_t bytes = 0;
  friend bool operator==(const MemoryItem&, const MemoryItem&) = default;
};

struct RankPlan {
  std::vector<int> stages;  // ascending
  std::vector<Buffer> buffers;
  std::vector<Instruction> train;
  std::vector<Instruction> evaluate;
  std::vector<MemoryItem> memory;  // everything that the rank allocates
};

struct Plan {
  std::string model_hash;  // of the fields that shape tensors
  // What all ranks compute in and on: resolve.h.
  Precision precision = Precision::kFp32;
  Processor processor = Processor::kCpu;
  bool deterministic = true;
  ScheduleKind schedule = ScheduleKind::k1F1B;
  int num_ranks = 1;  // pipeline ranks
  int num_replicas = 1;
  int num_microbatches = 1;  // per replica and step
  int num_evaluation_microbatches = 0;
  int64_t tokens_per_microbatch = 0;
  int recompute_block = 0;  // L_r; 0: none
  std::vector<Stage> stages;
  std::vector<Channel> channels;
  std::vector<PlannedParameter> parameters;
  std::vector<Bucket> buckets;
  std::vector<RankPlan> ranks;
  int64_t predicted_step_ns = 0;
  double predicted_idle_share = 0.0;

  // Which pipeline rank runs `stage` for `microbatch` of a program with `microbatches` of them:
  // DualPipe sends the first half in direction 0, the second in direction 1.
  int RankOf(int stage, int microbatch, int microbatches) const;
  int NumStages() const { return static_cast<int>(stages.size()); }
};

// A stable hash (64-bit FNV-1a in hex) of the text form: two plans with the same hash are
// the same plan.
std::string PlanHash(const Plan& plan);
std::string ModelHash(const ModelSpec& model);

}  // namespace birkhoff
