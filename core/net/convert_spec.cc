// JobSpec <-> v1::JobSpec, one pair of functions per section.
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/net/convert.h"
#include "core/net/convert_enum.h"

namespace birkhoff {
namespace {

// Copies a scalar that is present.
#define BIRKHOFF_READ(field) \
  if (in.has_##field()) out->field = in.field()

void Write(const ResidualSpec& in, v1::ResidualSpec* out) {
  out->set_kind(WireEnum<v1::ResidualKind>(in.kind));
  out->set_streams(in.streams);
  out->set_mapping(WireEnum<v1::MappingKind>(in.mapping));
  out->set_sinkhorn_iterations(in.sinkhorn_iterations);
  out->set_alpha_init(in.alpha_init);
  out->set_phi_init_std(in.phi_init_std);
  out->set_bias_on(in.bias_on);
  out->set_bias_off(in.bias_off);
  out->set_bias_res_off_diagonal(in.bias_res_off_diagonal);
  out->set_norm_eps(in.norm_eps);
  out->set_expand(WireEnum<v1::ExpandKind>(in.expand));
  out->set_contract(WireEnum<v1::ContractKind>(in.contract));
  out->set_learn_pre(in.learn_pre);
  out->set_learn_post(in.learn_post);
  out->set_learn_res(in.learn_res);
}

absl::Status Read(const v1::ResidualSpec& in, ResidualSpec* out) {
  if (in.has_kind()) {
    RETURN_IF_ERROR(ReadEnum(in.kind(), ResidualKind::kMhc, "model.residual.kind", &out->kind));
  }
  BIRKHOFF_READ(streams);
  if (in.has_mapping()) {
    RETURN_IF_ERROR(ReadEnum(in.mapping(), kLastMapping, "model.residual.mapping", &out->mapping));
  }
  BIRKHOFF_READ(sinkhorn_iterations);
  BIRKHOFF_READ(alpha_init);
  BIRKHOFF_READ(phi_init_std);
  BIRKHOFF_READ(bias_on);
  BIRKHOFF_READ(bias_off);
  BIRKHOFF_READ(bias_res_off_diagonal);
  BIRKHOFF_READ(norm_eps);
  if (in.has_expand()) {
    RETURN_IF_ERROR(
        ReadEnum(in.expand(), ExpandKind::kOneHot, "model.residual.expand", &out->expand));
  }
  if (in.has_contract()) {
    RETURN_IF_ERROR(
        ReadEnum(in.contract(), ContractKind::kSum, "model.residual.contract", &out->contract));
  }
  BIRKHOFF_READ(learn_pre);
  BIRKHOFF_READ(learn_post);
  BIRKHOFF_READ(learn_res);
  return absl::OkStatus();
}

void Write(const ModelSpec& in, v1::ModelSpec* out) {
  out->set_vocab_size(in.vocab_size);
  out->set_hidden_size(in.hidden_size);
  out->set_num_hidden_layers(in.num_hidden_layers);
  out->set_num_attention_heads(in.num_attention_heads);
  out->set_num_key_value_heads(in.num_key_value_heads);
  out->set_intermediate_size(in.intermediate_size);
  out->set_tie_embeddings(in.tie_embeddings);
  out->set_rms_norm_eps(in.rms_norm_eps);
  out->set_rope_theta(in.rope_theta);
  out->set_init_std(in.init_std);
  Write(in.residual, out->mutable_residual());
}

absl::Status Read(const v1::ModelSpec& in, ModelSpec* out) {
  BIRKHOFF_READ(vocab_size);
  BIRKHOFF_READ(hidden_size);
  BIRKHOFF_READ(num_hidden_layers);
  BIRKHOFF_READ(num_attention_heads);
  BIRKHOFF_READ(num_key_value_heads);
  BIRKHOFF_READ(intermediate_size);
  BIRKHOFF_READ(tie_embeddings);
  BIRKHOFF_READ(rms_norm_eps);
  BIRKHOFF_READ(rope_theta);
  BIRKHOFF_READ(init_std);
  RETURN_IF_ERROR(Read(in.residual(), &out->residual));
  return absl::OkStatus();
}

void Write(const DataSpec& in, v1::DataSpec* out) {
  for (const WeightedPath& path : in.train) {
    v1::WeightedPath* added = out->add_train();
    added->set_path(path.path);
    added->set_weight(path.weight);
  }
  out->set_validation(in.validation);
  out->set_validation_split(in.validation_split);
  out->set_tokenizer(in.tokenizer);
  out->set_seed(in.seed);
}

absl::Status Read(const v1::DataSpec& in, DataSpec* out) {
  for (const v1::WeightedPath& path : in.train()) {
    out->train.push_back({path.path(), path.has_weight() ? path.weight() : 1.0});
  }
  BIRKHOFF_READ(validation);
  BIRKHOFF_READ(validation_split);
  BIRKHOFF_READ(tokenizer);
  BIRKHOFF_READ(seed);
  return absl::OkStatus();
}

// On the wire it is a word: the first release knew but one.
constexpr const char* kPrecisionNames[] = {"auto", "fp32", "bf16"};

const char* PrecisionName(PrecisionKind precision) {
  return kPrecisionNames[static_cast<int>(precision)];
}

absl::StatusOr<PrecisionKind> ReadPrecision(const std::string& name) {
  for (const PrecisionKind kind :
       {PrecisionKind::kAuto, PrecisionKind::kFp32, PrecisionKind::kBf16}) {
    if (name == PrecisionName(kind)) return kind;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("training.precision: '", name, "' is not known; need auto, fp32 or bf16"));
}

void Write(const TrainingSpec& in, v1::TrainingSpec* out) {
  out->set_steps(in.steps);
  out->set_sequence_length(in.sequence_length);
  out->set_micro_batch_size(in.micro_batch_size);
  out->set_global_batch_size(in.global_batch_size);
  out->set_clip_grad(in.clip_grad);
  out->set_seed(in.seed);
  out->set_precision(PrecisionName(in.precision));
  out->set_deterministic(WireEnum<v1::Toggle>(in.deterministic));
  out->set_validation_interval(in.validation_interval);
  out->set_validation_batches(in.validation_batches);
}

absl::Status Read(const v1::TrainingSpec& in, TrainingSpec* out) {
  BIRKHOFF_READ(steps);
  BIRKHOFF_READ(sequence_length);
  BIRKHOFF_READ(micro_batch_size);
  BIRKHOFF_READ(global_batch_size);
  BIRKHOFF_READ(clip_grad);
  BIRKHOFF_READ(seed);
  if (in.has_precision()) {
    ASSIGN_OR_RETURN(out->precision, ReadPrecision(in.precision()));
  }
  if (in.has_deterministic()) {
    RETURN_IF_ERROR(ReadEnum(in.deterministic(), Toggle::kFalse, "training.deterministic",
                             &out->deterministic));
  }
  BIRKHOFF_READ(validation_interval);
  BIRKHOFF_READ(validation_batches);
  return absl::OkStatus();
}

void Write(const OptimizerSpec& in, v1::OptimizerSpec* out) {
  out->set_name(in.name);
  out->set_lr(in.lr);
  out->set_beta1(in.beta1);
  out->set_beta2(in.beta2);
  out->set_eps(in.eps);
  out->set_weight_decay(in.weight_decay);
}

absl::Status Read(const v1::OptimizerSpec& in, OptimizerSpec* out) {
  BIRKHOFF_READ(name);
  BIRKHOFF_READ(lr);
  BIRKHOFF_READ(beta1);
  BIRKHOFF_READ(beta2);
  BIRKHOFF_READ(eps);
  BIRKHOFF_READ(weight_decay);
  return absl::OkStatus();
}

void Write(const LrScheduleSpec& in, v1::LrScheduleSpec* out) {
  out->set_kind(WireEnum<v1::LrScheduleKind>(in.kind));
  out->set_warmup_steps(in.warmup_steps);
  out->set_min_lr(in.min_lr);
  out->set_decay_steps(in.decay_steps);
  for (const double at : in.step_at) out->add_step_at(at);
  for (const double factor : in.step_factor) out->add_step_factor(factor);
}

absl::Status Read(const v1::LrScheduleSpec& in, LrScheduleSpec* out) {
  if (in.has_kind()) {
    RETURN_IF_ERROR(ReadEnum(in.kind(), LrScheduleKind::kStep, "lr_schedule.kind", &out->kind));
  }
  BIRKHOFF_READ(warmup_steps);
  BIRKHOFF_READ(min_lr);
  BIRKHOFF_READ(decay_steps);
  if (in.step_at_size() + in.step_factor_size() > 0) {
    out->step_at.assign(in.step_at().begin(), in.step_at().end());
    out->step_factor.assign(in.step_factor().begin(), in.step_factor().end());
  }
  return absl::OkStatus();
}

void Write(const ParallelismSpec& in, v1::ParallelismSpec* out) {
  out->set_pipeline_parallel_degree(in.pipeline_parallel_degree);
  out->set_data_parallel_degree(in.data_parallel_degree);
  out->set_schedule(WireEnum<v1::ScheduleKind>(in.schedule));
  out->set_recompute(in.recompute);
}

absl::Status Read(const v1::ParallelismSpec& in, ParallelismSpec* out) {
  BIRKHOFF_READ(pipeline_parallel_degree);
  BIRKHOFF_READ(data_parallel_degree);
  if (in.has_schedule()) {
    RETURN_IF_ERROR(
        ReadEnum(in.schedule(), ScheduleKind::kDualPipe, "parallelism.schedule", &out->schedule));
  }
  BIRKHOFF_READ(recompute);
  return absl::OkStatus();
}

void Write(const CheckpointSpec& in, v1::CheckpointSpec* out) {
  out->set_directory(in.directory);
  out->set_interval(in.interval);
  out->set_keep_last(in.keep_last);
}

absl::Status Read(const v1::CheckpointSpec& in, CheckpointSpec* out) {
  BIRKHOFF_READ(directory);
  BIRKHOFF_READ(interval);
  BIRKHOFF_READ(keep_last);
  return absl::OkStatus();
}

void Write(const StabilitySpec& in, v1::StabilitySpec* out) {
  out->set_max_gain(in.max_gain);
  out->set_max_skipped_steps(in.max_skipped_steps);
  out->set_max_restarts(in.max_restarts);
}

absl::Status Read(const v1::StabilitySpec& in, StabilitySpec* out) {
  BIRKHOFF_READ(max_gain);
  BIRKHOFF_READ(max_skipped_steps);
  BIRKHOFF_READ(max_restarts);
  return absl::OkStatus();
}

}  // namespace

void ToProto(const JobSpec& spec, v1::JobSpec* out) {
  out->set_name(spec.name);
  Write(spec.model, out->mutable_model());
  Write(spec.data, out->mutable_data());
  Write(spec.training, out->mutable_training());
  Write(spec.optimizer, out->mutable_optimizer());
  Write(spec.lr_schedule, out->mutable_lr_schedule());
  Write(spec.parallelism, out->mutable_parallelism());
  Write(spec.checkpoint, out->mutable_checkpoint());
  Write(spec.stability, out->mutable_stability());
  out->set_device(WireEnum<v1::DeviceKind>(spec.device));
}

absl::StatusOr<JobSpec> FromProto(const v1::JobSpec& in) {
  JobSpec spec;
  if (in.has_name()) spec.name = in.name();
  RETURN_IF_ERROR(Read(in.model(), &spec.model));
  RETURN_IF_ERROR(Read(in.data(), &spec.data));
  RETURN_IF_ERROR(Read(in.training(), &spec.training));
  RETURN_IF_ERROR(Read(in.optimizer(), &spec.optimizer));
  RETURN_IF_ERROR(Read(in.lr_schedule(), &spec.lr_schedule));
  RETURN_IF_ERROR(Read(in.parallelism(), &spec.parallelism));
  RETURN_IF_ERROR(Read(in.checkpoint(), &spec.checkpoint));
  RETURN_IF_ERROR(Read(in.stability(), &spec.stability));
  if (in.has_device()) {
    RETURN_IF_ERROR(ReadEnum(in.device(), DeviceKind::kCuda, "device", &spec.device));
  }
  return spec;
}

#undef BIRKHOFF_READ

}  // namespace birkhoff
