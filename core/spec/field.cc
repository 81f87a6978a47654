// The table of fields.  To add a field: a member in job_spec.h and a line here.
#include "core/spec/field.h"

#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

// The member itself, and the same as an index into a list of names.
#define AT(member) \
  [](JobSpec & spec) -> auto& { return spec.member; }
#define CHOICE(member, ...)                                                                        \
  ChoiceField {                                                                                    \
    [](const JobSpec& spec) { return static_cast<int>(spec.member); },                             \
        [](JobSpec& spec, int index) { spec.member = static_cast<decltype(spec.member)>(index); }, \
        std::vector<std::string> {                                                                 \
      __VA_ARGS__                                                                                  \
    }                                                                                              \
  }

constexpr int64_t kAnyLong = std::numeric_limits<int64_t>::max();
constexpr double kAnyReal = std::numeric_limits<double>::max();
constexpr char kPath[] = "a path";

std::vector<std::string> MappingNames() {
  std::vector<std::string> names;
  for (const MappingTraits& mapping : kMappings) names.emplace_back(mapping.name);
  return names;
}

std::string MeaningOfMappings() {
  std::string text = "mhc: how the streams are mixed, read and written";
  for (const MappingTraits& mapping : kMappings) {
    absl::StrAppend(&text, "\n    ", mapping.name, ": ", mapping.meaning);
    if (mapping.most_streams < 8)
      absl::StrAppend(&text, "; 1 to ", mapping.most_streams, " streams");
    absl::StrAppend(&text, " (", mapping.source, ")");
  }
  return text;
}

std::vector<Field> ModelFields() {
  return {
      {"model.vocab_size", IntField{AT(model.vocab_size), 0, 1 << 24},
       "Tokens in the vocabulary; 0: the tokenizer's"},
      {"model.hidden_size", IntField{AT(model.hidden_size), 1, 65536}, "Width C of one stream"},
      {"model.num_hidden_layers", IntField{AT(model.num_hidden_layers), 1, 2047},
       "Blocks; each is two sub-layers, attention and feed-forward"},
      {"model.num_attention_heads", IntField{AT(model.num_attention_heads), 1, 1024},
       "Query heads; divides hidden_size, and the quotient is even for RoPE"},
      {"model.num_key_value_heads", IntField{AT(model.num_key_value_heads), 1, 1024},
       "Key and value heads (grouped-query attention); divides num_attention_heads"},
      {"model.intermediate_size", IntField{AT(model.intermediate_size), 1, 1 << 20},
       "Width of the SwiGLU feed-forward"},
      {"model.tie_embeddings", SwitchField{AT(model.tie_embeddings)},
       "Whether the head uses the embedding's weight"},
      {"model.rms_norm_eps", RealField{AT(model.rms_norm_eps), 0, 1, true},
       "Added to the mean square in every RMSNorm"},
      {"model.rope_theta", RealField{AT(model.rope_theta), 1, 1e12}, "Base of the RoPE angles"},
      {"model.init_std", RealField{AT(model.init_std), 0, 10},
       "Standard deviation of the initial weight matrices"},
      {"model.residual.kind", CHOICE(model.residual.kind, "residual", "hc", "mhc"),
       "The connection around every sub-layer: plain, hyper-connection, or on the Birkhoff "
       "polytope"},
      {"model.residual.streams", IntField{AT(model.residual.streams), 1, 8},
       "Parallel residual streams n; the plain residual has one and ignores this"},
      {"model.residual.mapping",
       ChoiceField{
           [](const JobSpec& spec) { return static_cast<int>(spec.model.residual.mapping); },
           [](JobSpec& spec, int index) {
             spec.model.residual.mapping = static_cast<MappingKind>(index);
           },
           MappingNames()},
       MeaningOfMappings()},
      {"model.residual.sinkhorn_iterations",
       IntField{AT(model.residual.sinkhorn_iterations), 1, 1000},
       "Column and row normalisations of a mapping that iterates"},
      {"model.residual.alpha_init", RealField{AT(model.residual.alpha_init), -100, 100},
       "Initial gates a_pre, a_post, a_res of the data-dependent part"},
      {"model.residual.phi_init_std", RealField{AT(model.residual.phi_init_std), 0, 10},
       "Standard deviation of the initial projection (mhc: phi, hc: theta)"},
      {"model.residual.bias_on", RealField{AT(model.residual.bias_on), -100, 100},
       "mhc: initial b_pre and b_post at stream l mod n"},
      {"model.residual.bias_off", RealField{AT(model.residual.bias_off), -100, 100},
       "mhc: initial b_pre and b_post at the other streams"},
      {"model.residual.bias_res_off_diagonal",
       RealField{AT(model.residual.bias_res_off_diagonal), -100, 100},
       "mhc: initial b_res off the diagonal (0 on it)"},
      {"model.residual.norm_eps", RealField{AT(model.residual.norm_eps), 0, 1, true},
       "Added to the mean square of the streams before the projection"},
      {"model.residual.expand", CHOICE(model.residual.expand, "copy", "one-hot"),
       "How the embedding becomes n streams"},
      {"model.residual.contract", CHOICE(model.residual.contract, "mean", "sum"),
       "How n streams become the head's input"},
      {"model.residual.learn_pre", SwitchField{AT(model.residual.learn_pre)},
       "hc, mhc: false: H_pre stays at 1/n, for ablations"},
      {"model.residual.learn_post", SwitchField{AT(model.residual.learn_post)},
       "hc, mhc: false: H_post stays at 1"},
      {"model.residual.learn_res", SwitchField{AT(model.residual.learn_res)},
       "hc: false: H_res stays the identity; mhc has mapping identity for that"},
  };
}

std::vector<Field> DataFields() {
  return {
      {"data.train", SourcesField{AT(data.train)},
       "Token files to train on: one path, or a list of paths or {path, weight}"},
      {"data.validation", TextField{AT(data.validation), kPath},
       "Token file of the validation loss; empty: none, or validation_split"},
      {"data.validation_split", RealField{AT(data.validation_split), 0, 0.5},
       "Share of each training file held out for validation when data.validation is empty"},
      {"data.tokenizer",
       TextField{AT(data.tokenizer),
                 "bytes, a SentencePiece .model file, or none: tokens made elsewhere"},
       "What made the token files: bytes, or a SentencePiece .model"},
      {"data.seed", SeedField{AT(data.seed)}, "Seed of the order of samples"},
  };
}

std::vector<Field> TrainingFields() {
  return {
      {"training.steps", LongField{AT(training.steps), 1, kAnyLong}, "Optimizer steps"},
      {"training.sequence_length", IntField{AT(training.sequence_length), 1, 1 << 20},
       "Tokens per sample"},
      {"training.micro_batch_size", IntField{AT(training.micro_batch_size), 1, 65536},
       "Samples that travel the pipeline in one go"},
      {"training.global_batch_size", IntField{AT(training.global_batch_size), 1, 1 << 24},
       "Samples per step over all replicas"},
      {"training.clip_grad", RealField{AT(training.clip_grad), 0, kAnyReal},
       "Largest global gradient norm; 0: no clipping"},
      {"training.seed", SeedField{AT(training.seed)}, "Seed of the initial weights"},
      {"training.precision", CHOICE(training.precision, "auto", "fp32", "bf16"),
       "Type of streams and products; auto: fp32 on a CPU, bf16 on a GPU; masters, gradients and "
       "moments are fp32 always"},
      {"training.deterministic", CHOICE(training.deterministic, "auto", "true", "false"),
       "Same spec and plan, same bits; auto: true on a CPU, false on a GPU"},
      {"training.validation_interval", LongField{AT(training.validation_interval), 0, kAnyLong},
       "Steps between validations; 0: never"},
      {"training.validation_batches", IntField{AT(training.validation_batches), 1, 1 << 20},
       "Micro-batches of a validation, over all replicas"},
  };
}

std::vector<Field> OptimizerFields() {
  return {
      {"optimizer.name", TextField{AT(optimizer.name), "adamw"}, "The optimizer"},
      {"optimizer.lr", RealField{AT(optimizer.lr), 0, 1000, true}, "Peak learning rate"},
      {"optimizer.beta1", RealField{AT(optimizer.beta1), 0, 0.999999}, "Decay of the first moment"},
      {"optimizer.beta2", RealField{AT(optimizer.beta2), 0, 0.999999},
       "Decay of the second moment"},
      {"optimizer.eps", RealField{AT(optimizer.eps), 0, 1, true},
       "Added to the root of the second moment; small, because gradients of phi and alpha are"},
      {"optimizer.weight_decay", RealField{AT(optimizer.weight_decay), 0, 1000},
       "Decoupled weight decay of matrices and phi; norms, biases and alphas have none"},
      {"lr_schedule.kind", CHOICE(lr_schedule.kind, "constant", "linear", "cosine", "wsd", "step"),
       "Shape of the learning rate after warm-up"},
      {"lr_schedule.warmup_steps", LongField{AT(lr_schedule.warmup_steps), 0, kAnyLong},
       "Steps of linear warm-up"},
      {"lr_schedule.min_lr", RealField{AT(lr_schedule.min_lr), 0, 1000},
       "Learning rate at the end of a decay"},
      {"lr_schedule.decay_steps", LongField{AT(lr_schedule.decay_steps), 0, kAnyLong},
       "wsd: steps of the final decay; 0: a tenth of training.steps"},
      {"lr_schedule.step_at", RealsField{AT(lr_schedule.step_at)},
       "step: shares of training.steps, ascending, from which step_factor applies"},
      {"lr_schedule.step_factor", RealsField{AT(lr_schedule.step_factor)},
       "step: what optimizer.lr is multiplied by from each share of step_at"},
  };
}

std::vector<Field> RunningFields() {
  return {
      {"parallelism.pipeline_parallel_degree",
       IntField{AT(parallelism.pipeline_parallel_degree), 1, 1024},
       "Workers that one copy of the model is cut over"},
      {"parallelism.data_parallel_degree", IntField{AT(parallelism.data_parallel_degree), 1, 1024},
       "Copies of the pipeline that share each batch"},
      {"parallelism.schedule",
       CHOICE(parallelism.schedule, std::begin(kScheduleNames), std::end(kScheduleNames)),
       "Order of forward and backward passes"},
      {"parallelism.recompute", RecomputeField{AT(parallelism.recompute)},
       "Sub-layers per recompute block: auto, none, or how many"},
      {"checkpoint.directory", TextField{AT(checkpoint.directory), kPath},
       "Where checkpoints go; empty: OUT/checkpoints"},
      {"checkpoint.interval", LongField{AT(checkpoint.interval), 0, kAnyLong},
       "Steps between checkpoints; 0: only at the end and on request"},
      {"checkpoint.keep_last", IntField{AT(checkpoint.keep_last), 1, 1 << 20},
       "Committed checkpoints that are kept"},
      {"stability.max_gain", RealField{AT(stability.max_gain), 0, kAnyReal, true},
       "Composite Amax gain above which an event is recorded"},
      {"stability.max_skipped_steps", IntField{AT(stability.max_skipped_steps), 1, 1 << 20},
       "Non-finite steps in a row after which the job fails (exit code 73)"},
      {"stability.max_restarts", IntField{AT(stability.max_restarts), 0, 1 << 20},
       "Attempts lost in a row without a new checkpoint before the job fails (exit code 71)"},
      {"device", CHOICE(device, "auto", "cpu", "cuda"),
       "Kind of device of all workers of the job; auto: what the workers have, cuda before cpu"},
  };
}

#undef AT
#undef CHOICE

std::vector<Field> MakeFields() {
  std::vector<Field> fields = {
      {"name",
       TextField{[](JobSpec& spec) -> std::string& { return spec.name; },
                 "lower-case letters, digits and inner hyphens, at most 63"},
       "Name of the job: jobs/NAME"}};
  for (const std::vector<Field>& part :
       {ModelFields(), DataFields(), TrainingFields(), OptimizerFields(), RunningFields()}) {
    fields.insert(fields.end(), part.begin(), part.end());
  }
  return fields;
}

}  // namespace

const std::vector<Field>& Fields() {
  static const std::vector<Field> fields = MakeFields();
  return fields;
}

const Field* FindField(std::string_view path) {
  for (const Field& field : Fields()) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

bool IsSection(std::string_view path) {
  if (path.empty()) return true;
  for (const Field& field : Fields()) {
    if (field.path.starts_with(path) && field.path.size() > path.size() &&
        field.path[path.size()] == '.') {
      return true;
    }
  }
  return false;
}

bool IsReserved(std::string_view path) {
  for (const std::string_view name :
       {"model.attention", "model.moe", "parallelism.expert_parallel_degree"}) {
    if (path == name || (path.starts_with(name) && path[name.size()] == '.')) return true;
  }
  return false;
}

}  // namespace birkhoff
