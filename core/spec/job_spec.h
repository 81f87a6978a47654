// The job spec: what a person asks for.  Plain values with their defaults; load.h reads them,
// validate.h judges them.
//
// Fields that change what is computed and fields that change only how fast are marked [result] and
// [speed].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/mapping.h"

namespace birkhoff {

enum class ResidualKind { kResidual, kHc, kMhc };          // YAML: residual | hc | mhc
enum class ScheduleKind { k1F1B, kDualPipeV, kDualPipe };  // kScheduleNames
enum class LrScheduleKind { kConstant, kLinear, kCosine, kWsd, kStep };
enum class DeviceKind { kAuto, kCpu, kCuda };
enum class PrecisionKind { kAuto, kFp32, kBf16 };  // auto | fp32 | bf16; what auto is: resolve.h
enum class ExpandKind { kCopy, kOneHot };          // embedding -> streams
enum class ContractKind { kMean, kSum };           // streams -> head
enum class Toggle { kAuto, kTrue, kFalse };

// By ScheduleKind.
inline constexpr const char* kScheduleNames[] = {"1f1b", "dualpipev", "dualpipe"};
const char* ScheduleName(ScheduleKind kind);  // "unknown" for a number that is none

struct ResidualSpec {  // [result]
  ResidualKind kind = ResidualKind::kMhc;
  int streams = 4;  // n, 1..8; residual has exactly one and ignores this
  MappingKind mapping = MappingKind::kSinkhorn;  // of mhc
  int sinkhorn_iterations = 20;                  // 1..1000; of mappings that iterate
  double alpha_init = 0.01;                      // mhc: a_pre, a_post, a_res; hc: the same three
  double phi_init_std = 0.0;                     // mhc: phi; hc: theta
  double bias_on = 1.0;                          // b_pre, b_post at stream (l mod n)
  double bias_off = -1.0;               //   and elsewhere (mhc only; hc starts as its paper says)
  double bias_res_off_diagonal = -4.0;  // b_res off the diagonal (mhc only)
  double norm_eps = 1.0e-6;             // added to the streams' mean square
  ExpandKind expand = ExpandKind::kCopy;
  ContractKind contract = ContractKind::kMean;
  // hc, mhc: what is not learned stays what changes nothing: H_pre at 1/n, H_post at 1, H_res at
  // the identity (hc only; mhc has a mapping for it).
  bool learn_pre = true;
  bool learn_post = true;
  bool learn_res = true;
};

struct ModelSpec {            // [result]
  int vocab_size = 0;         // 0: the tokenizer's, filled in by ResolveVocabulary
  int hidden_size = 128;      // C
  int num_hidden_layers = 8;  // blocks; two sub-layers each
  int num_attention_heads = 4;
  int num_key_value_heads = 4;  // divides num_attention_heads
  int intermediate_size = 384;  // of SwiGLU
  bool tie_embeddings = false;
  double rms_norm_eps = 1.0e-6;
  double rope_theta = 10000.0;
  double init_std = 0.02;
  ResidualSpec residual;
};

struct WeightedPath {
  std::string path;     // token file without extension, or with .bin
  double weight = 1.0;  // > 0; shares of the blend
};

// data.tokenizer of tokens that were made elsewhere: model.vocab_size says how many there are.
inline constexpr char kNoTokenizer[] = "none";

struct DataSpec {  // [result]
  std::vector<WeightedPath> train;
  std::string validation;           // empty: none
  double validation_split = 0.0;    // share of train held out when validation is empty, [0, 0.5]
  std::string tokenizer = "bytes";  // "bytes", "none", or a SentencePiece .model
  uint64_t seed = 42;
};

struct TrainingSpec {  // [result] except deterministic
  int64_t steps = 200;
  int sequence_length = 128;
  int micro_batch_size = 2;    // sequences
  int global_batch_size = 32;  // sequences over all replicas
  double clip_grad = 1.0;      // global norm; 0: none
  uint64_t seed = 42;
  PrecisionKind precision = PrecisionKind::kAuto;
  Toggle deterministic = Toggle::kAuto;
  int64_t validation_interval = 50;  // steps; 0: never
  int validation_batches = 4;        // micro-batches of a validation, over all replicas
};

struct OptimizerSpec {  // [result]
  std::string name = "adamw";
  double lr = 1.0e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1.0e-15;
  double weight_decay = 0.1;
};

struct LrScheduleSpec {  // [result]
  LrScheduleKind kind = LrScheduleKind::kCosine;
  int64_t warmup_steps = 20;
  double min_lr = 1.0e-4;
  int64_t decay_steps = 0;  // wsd: length of the final decay; 0: a tenth of the steps
  std::vector<double> step_at = {0.8, 0.9};        // step: shares of the steps ...
  std::vector<double> step_factor = {0.316, 0.1};  //   ... from which lr is multiplied by this
};

struct ParallelismSpec {  // [speed]
  int pipeline_parallel_degree = 2;
  int data_parallel_degree = 1;
  ScheduleKind schedule = ScheduleKind::kDualPipeV;
  int recompute = kRecomputeAuto;  // auto | none | L_r
  static constexpr int kRecomputeAuto = -1;
  static constexpr int kRecomputeNone = 0;
};

struct CheckpointSpec {
  std::string directory;  // empty: OUT/checkpoints
  int64_t interval = 50;  // steps; 0: only at the end and on request
  int keep_last = 3;      // >= 1
};

struct StabilitySpec {
  double max_gain = 10.0;      // composite gain above which an event is recorded
  int max_skipped_steps = 20;  // non-finite ones in a row after which the job fails: exit code 73
  int max_restarts = 10;  // attempts lost in a row without a new checkpoint before the job fails
};

struct JobSpec {
  std::string name = "job";  // [a-z0-9]([-a-z0-9]*[a-z0-9])?, at most 63
  ModelSpec model;
  DataSpec data;
  TrainingSpec training;
  OptimizerSpec optimizer;
  LrScheduleSpec lr_schedule;
  ParallelismSpec parallelism;
  CheckpointSpec checkpoint;
  StabilitySpec stability;
  DeviceKind device = DeviceKind::kAuto;
};

// Micro-batches that one replica runs in one step.  Needs a valid spec.
int MicrobatchesPerStep(const JobSpec& spec);
// Micro-batches of one validation on one replica; in pairs for dualpipe; 0: there is none.
int EvaluationMicrobatches(const JobSpec& spec);
// Workers that the job needs: pipeline x data.
int NumRanks(const JobSpec& spec);

}  // namespace birkhoff
