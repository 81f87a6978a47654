// What a rank holds in memory from its start to its end, by name: the list that the plan carries,
// the checker recomputes, people read, and the worker allocates from.
//
// On the device, in this order (an item of 0 bytes is left out):
//   buffers            the arena: RankPlan::buffers, each rounded up to 64 bytes
//   weights, gradients, first moments, second moments    masters in fp32, each padded to 64 bytes
//   weight copies      parameters that products read in another type, each padded to 64 bytes
//   parameter table    a ParameterSpan (kernels/adamw.h) for each parameter
//   accumulators       shares of a step (core/spec/step_share.h): the one that the step adds to,
//                      its copy, those of all ranks; and the step's scalars
//   norm workspace     of the norm over all gradients
// On the host:
//   checkpoint snapshot   weights and both moments of what this rank writes
//   token staging         batches on their way to the device: of the steps in flight, or of one
//                         validation
//   initial values        where weights are made
//   share                 this rank's share and those of all, for each report still to be made
//   all-reduce staging    parts of others' gradients; only where the host sums, on a CPU
// On a CPU both are one memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/alignment.h"
#include "core/plan/plan.h"
#include "core/spec/footprint.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

inline constexpr int64_t kMasterPadding = 16;           // elements of fp32 in that
inline constexpr int64_t kCopyPadding = 32;             // elements of bf16 in that
inline constexpr int64_t kParameterSpanBytes = 72;      // sizeof ParameterSpan, kernels/adamw.h
inline constexpr int64_t kStepScalarBytes = 64;         // StepScalars, kernels/adamw.h, padded
inline constexpr int64_t kInitialValueBytes = 4 << 20;  // a chunk in which weights are made

// The items that the worker asks for by name.
inline constexpr char kBuffersItem[] = "buffers";
inline constexpr char kWeightsItem[] = "weights";
inline constexpr char kGradientsItem[] = "gradients";
inline constexpr char kFirstMomentsItem[] = "first moments";
inline constexpr char kSecondMomentsItem[] = "second moments";
inline constexpr char kWeightCopiesItem[] = "weight copies";
inline constexpr char kParameterTableItem[] = "parameter table";
inline constexpr char kAccumulatorsItem[] = "accumulators";
inline constexpr char kNormWorkspaceItem[] = "norm workspace";
inline constexpr char kCheckpointSnapshotItem[] = "checkpoint snapshot";
inline constexpr char kTokenStagingItem[] = "token staging";
inline constexpr char kInitialValuesItem[] = "initial values";
inline constexpr char kShareItem[] = "share";
inline constexpr char kAllReduceStagingItem[] = "all-reduce staging";

// ---- Sizes that planner and worker share.

int64_t PaddedBufferBytes(int64_t bytes);     // of one buffer in the arena
int64_t PaddedMasterElements(int64_t count);  // of one parameter among the masters
int64_t PaddedCopyElements(int64_t count);    // of one parameter among the copies
bool HasCopy(const PlannedParameter& parameter);
bool HoldsParameter(const PlannedParameter& parameter, int rank);
bool OwnsParameter(const PlannedParameter& parameter, int rank);  // writes it and counts its norm

int64_t ArenaBytes(const RankPlan& rank_plan);

// What a rank holds of the parameters; in elements but for `parameters`.
struct Holding {
  int64_t parameters = 0;
  int64_t elements = 0;
  int64_t masters = 0;  // padded: of weights, and of each of the others
  int64_t copies = 0;   // padded
  int64_t owned = 0;    // not padded
};
std::vector<Holding> HoldingsByRank(const Plan& plan);

int64_t AccumulatorBytes(const ModelSpec& model, int world_size);
// Steps that a rank has enqueued at a time: a GPU begins one before the host has read the last.
int StepsInFlight(Processor processor);
int64_t ShareBytes(const ModelSpec& model, int world_size);  // of one step in flight

// ---- The list.

// Needs the plan's tables and all buffers; `layouts` by stage.
std::vector<std::vector<MemoryItem>> MemoryByRank(const Plan& plan, const ModelSpec& model,
                                                  const std::vector<StageLayout>& layouts);

int64_t BytesOf(const RankPlan& rank_plan, const char* name);  // 0: no such item
int64_t DeviceBytes(const RankPlan& rank_plan);
int64_t HostBytes(const RankPlan& rank_plan);
// What counts against a worker's memory: the device's on a GPU, both on a CPU.
int64_t WorkerBytes(const Plan& plan, const RankPlan& rank_plan);

const char* MemoryPlaceName(MemoryPlace place);  // "device" | "host"

}  // namespace birkhoff
