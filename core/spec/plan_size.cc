// Three limits, each with its estimate and a field that is to change; the value that is offered for
// it is what the limit has room for.
#include "core/spec/plan_size.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

// Of one micro-batch in one stage: load, passes, sends and receives, hand-offs, frees.
constexpr int64_t kTrainInstructions = 16;
constexpr int64_t kEvaluationInstructions = 8;
constexpr int64_t kRecomputeInstructions = 3;  // and of one recompute block
constexpr double kFloatBytes = 4.0;

// Chunks of all ranks together.
int64_t NumChunks(const ParallelismSpec& parallelism) {
  const int64_t per_rank = parallelism.schedule == ScheduleKind::k1F1B ? 1 : 2;
  return per_rank * parallelism.pipeline_parallel_degree;
}

// Of the whole model; `auto` may choose blocks of about the root of what is in flight.
int64_t NumRecomputeBlocks(const JobSpec& spec) {
  const int sublayers = NumSubLayers(spec.model);
  int block = spec.parallelism.recompute;
  if (block == ParallelismSpec::kRecomputeNone) return 0;
  if (block == ParallelismSpec::kRecomputeAuto) {
    block = std::max(1, static_cast<int>(std::sqrt(sublayers / 3.0)));
  }
  return sublayers / block + NumChunks(spec.parallelism);
}

int64_t InstructionsPerMicrobatch(const JobSpec& spec) {
  return kTrainInstructions * NumChunks(spec.parallelism) +
         kRecomputeInstructions * NumRecomputeBlocks(spec);
}

// The fewest micro-batches that the schedule runs with.
int64_t FewestMicrobatches(const ParallelismSpec& parallelism) {
  return parallelism.schedule == ScheduleKind::k1F1B
             ? 1
             : int64_t{2} * parallelism.pipeline_parallel_degree;
}

void CheckTraining(const JobSpec& spec, std::vector<Problem>* problems) {
  const int64_t instructions = EstimateInstructions(spec);
  if (instructions <= kMostInstructions) return;
  const int64_t most = kMostInstructions / InstructionsPerMicrobatch(spec);
  const std::string allowed =
      absl::StrCat("a plan of at most ", kMostInstructions, " instructions, not ", instructions);
  if (most < FewestMicrobatches(spec.parallelism)) {
    problems->push_back({"parallelism.pipeline_parallel_degree",
                         absl::StrCat(spec.parallelism.pipeline_parallel_degree), allowed,
                         "use fewer workers per replica, parallelism.schedule 1f1b, or larger "
                         "recompute blocks"});
    return;
  }
  const int64_t even =
      spec.parallelism.schedule == ScheduleKind::kDualPipe ? most - most % 2 : most;
  const int64_t batch =
      even * spec.training.micro_batch_size * spec.parallelism.data_parallel_degree;
  problems->push_back({"training.global_batch_size", absl::StrCat(spec.training.global_batch_size),
                       allowed,
                       absl::StrCat("nearest: ", batch, "; or raise training.micro_batch_size")});
}

void CheckEvaluation(const JobSpec& spec, std::vector<Problem>* problems) {
  const int64_t instructions = EstimateEvaluationInstructions(spec);
  if (instructions <= kMostEvaluationInstructions) return;
  int64_t most =
      kMostEvaluationInstructions / (kEvaluationInstructions * NumChunks(spec.parallelism));
  if (spec.parallelism.schedule == ScheduleKind::kDualPipe) most -= most % 2;
  problems->push_back({"training.validation_batches",
                       absl::StrCat(spec.training.validation_batches),
                       absl::StrCat("an evaluation of at most ", kMostEvaluationInstructions,
                                    " instructions, not ", instructions),
                       absl::StrCat("nearest: ", most * spec.parallelism.data_parallel_degree)});
}

void CheckBytes(const JobSpec& spec, std::vector<Problem>* problems) {
  const double bytes = EstimateMicrobatchBytes(spec);
  if (bytes <= kMostMicrobatchBytes) return;
  const double share = kMostMicrobatchBytes / bytes;
  const auto batch = static_cast<int64_t>(spec.training.micro_batch_size * share);
  const auto length = static_cast<int64_t>(spec.training.sequence_length * share);
  const bool batch_suffices = batch >= 1;
  problems->push_back({batch_suffices ? "training.micro_batch_size" : "training.sequence_length",
                       absl::StrCat(batch_suffices ? spec.training.micro_batch_size
                                                   : spec.training.sequence_length),
                       absl::StrCat("at most 128 TiB for one micro-batch in all stages, not ",
                                    std::ceil(bytes / 0x1p40), " TiB"),
                       batch_suffices || length >= 1
                           ? absl::StrCat("nearest: ", batch_suffices ? batch : length)
                           : "make the model smaller"});
}

}  // namespace

int64_t EstimateInstructions(const JobSpec& spec) {
  return InstructionsPerMicrobatch(spec) * MicrobatchesPerStep(spec);
}

int64_t EstimateEvaluationInstructions(const JobSpec& spec) {
  return kEvaluationInstructions * NumChunks(spec.parallelism) * EvaluationMicrobatches(spec);
}

// Streams, norms and gradients; queries, keys, values and theirs; gate, up and theirs;
// coefficients.
double EstimateMicrobatchBytes(const JobSpec& spec) {
  const ModelSpec& model = spec.model;
  const double n = NumStreams(model), width = model.hidden_size;
  const double heads = 2.0 * model.num_key_value_heads + model.num_attention_heads;
  const double of_sublayer = (3.0 * n + 8.0) * width + 4.0 * heads * HeadDim(model) +
                             8.0 * model.intermediate_size + 8.0 * n * n;
  const double tokens = double{1} * spec.training.micro_batch_size * spec.training.sequence_length;
  return kFloatBytes * tokens * (NumUnits(model) * of_sublayer + 2.0 * model.vocab_size);
}

std::vector<Problem> CheckPlanSize(const JobSpec& spec) {
  std::vector<Problem> problems;
  CheckTraining(spec, &problems);
  CheckEvaluation(spec, &problems);
  CheckBytes(spec, &problems);
  return problems;
}

}  // namespace birkhoff
