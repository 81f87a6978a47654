// Plan <-> v1::Plan.
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/net/convert.h"
#include "core/net/convert_enum.h"
#include "core/plan/ops.h"
#include "core/plan/tables.h"

namespace birkhoff {
namespace {

using Integers = google::protobuf::RepeatedField<int32_t>;

void Write(const std::vector<int>& in, Integers* out) { out->Add(in.begin(), in.end()); }
std::vector<int> Read(const Integers& in) { return {in.begin(), in.end()}; }

void Write(const UnitRange& in, v1::UnitRange* out) {
  out->set_first(in.first);
  out->set_last(in.last);
}
UnitRange Read(const v1::UnitRange& in) { return {in.first(), in.last()}; }

void Write(const Instruction& in, v1::Instruction* out) {
  out->set_op(static_cast<int>(in.op));
  out->set_stage(in.stage);
  out->set_microbatch(in.microbatch);
  Write(in.segment.units, out->mutable_units());
  out->set_phase(static_cast<int>(in.segment.phase));
  Write(in.waits, out->mutable_waits());
  Write(in.reads, out->mutable_reads());
  Write(in.fills, out->mutable_fills());
  out->set_channel(in.channel);
  out->set_bucket(in.bucket);
  out->set_stream(static_cast<int>(in.stream));
  out->set_estimated_ns(in.estimated_ns);
}

absl::StatusOr<Instruction> Read(const v1::Instruction& in) {
  Instruction out;
  const OpInfo* info = FindOp(in.op());
  if (info == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("instruction.op: number ", in.op(), " is not known"));
  }
  out.op = info->op;
  out.stage = in.stage();
  out.microbatch = in.microbatch();
  out.segment.units = Read(in.units());
  RETURN_IF_ERROR(ReadNumber(in.phase(), Phase::kWhole, Phase::kCombine, "instruction.phase",
                             &out.segment.phase));
  out.waits = Read(in.waits());
  out.reads = Read(in.reads());
  out.fills = Read(in.fills());
  out.channel = in.channel();
  out.bucket = in.bucket();
  RETURN_IF_ERROR(ReadNumber(in.stream(), StreamKind::kCompute, StreamKind::kCopy,
                             "instruction.stream", &out.stream));
  out.estimated_ns = in.estimated_ns();
  return out;
}

void Write(const PlannedParameter& in, v1::PlannedParameter* out) {
  out->set_name(in.spec.name);
  out->mutable_shape()->Add(in.spec.shape.begin(), in.spec.shape.end());
  out->set_decay(in.spec.decay);
  out->set_initializer(static_cast<int>(in.spec.initializer));
  out->set_scale(in.spec.scale);
  Write(in.stages, out->mutable_stages());
  Write(in.ranks, out->mutable_ranks());
  out->set_bucket(in.bucket);
  out->set_kind(static_cast<int>(in.kind));
  out->set_product(in.spec.product);
  out->set_copy(static_cast<int>(in.copy));
}

absl::StatusOr<PlannedParameter> Read(const v1::PlannedParameter& in) {
  PlannedParameter out;
  out.spec.name = in.name();
  out.spec.shape.assign(in.shape().begin(), in.shape().end());
  out.spec.decay = in.decay();
  RETURN_IF_ERROR(ReadNumber(in.initializer(), Initializer::kNormal, Initializer::kHcBias,
                             "parameter.initializer", &out.spec.initializer));
  out.spec.scale = in.scale();
  out.stages = Read(in.stages());
  out.ranks = Read(in.ranks());
  out.bucket = in.bucket();
  RETURN_IF_ERROR(ReadNumber(in.kind(), ParameterKind::kGradient, ParameterKind::kAccumulated,
                             "parameter.kind", &out.kind));
  out.spec.product = in.product();
  RETURN_IF_ERROR(
      ReadNumber(in.copy(), DType::kFloat32, DType::kInt32, "parameter.copy", &out.copy));
  return out;
}

void Write(const RankPlan& in, v1::RankPlan* out) {
  Write(in.stages, out->mutable_stages());
  for (const Buffer& buffer : in.buffers) {
    v1::Buffer* added = out->add_buffers();
    added->set_home(static_cast<int>(buffer.home));
    added->set_stage(buffer.stage);
    added->set_bytes(buffer.bytes);
  }
  for (const Instruction& instruction : in.train) Write(instruction, out->add_train());
  for (const Instruction& instruction : in.evaluate) Write(instruction, out->add_evaluate());
  for (const MemoryItem& item : in.memory) {
    v1::MemoryItem* added = out->add_memory();
    added->set_name(item.name);
    added->set_place(static_cast<int>(item.place));
    added->set_bytes(item.bytes);
  }
}

absl::StatusOr<RankPlan> Read(const v1::RankPlan& in) {
  RankPlan out;
  out.stages = Read(in.stages());
  for (const v1::Buffer& buffer : in.buffers()) {
    Buffer& added = out.buffers.emplace_back(Buffer{Home::kBatch, buffer.stage(), buffer.bytes()});
    RETURN_IF_ERROR(
        ReadNumber(buffer.home(), Home::kBatch, Home::kScratch, "buffer.home", &added.home));
  }
  for (const v1::Instruction& instruction : in.train()) {
    ASSIGN_OR_RETURN(out.train.emplace_back(), Read(instruction));
  }
  for (const v1::Instruction& instruction : in.evaluate()) {
    ASSIGN_OR_RETURN(out.evaluate.emplace_back(), Read(instruction));
  }
  for (const v1::MemoryItem& item : in.memory()) {
    MemoryItem& added = out.memory.emplace_back(MemoryItem{item.name(), {}, item.bytes()});
    RETURN_IF_ERROR(ReadNumber(item.place(), MemoryPlace::kDevice, MemoryPlace::kHost,
                               "memory.place", &added.place));
  }
  return out;
}

using Parts = google::protobuf::RepeatedPtrField<v1::MessagePart>;

void Write(const std::vector<MessagePart>& in, Parts* out) {
  for (const MessagePart& part : in) {
    v1::MessagePart* added = out->Add();
    added->set_name(part.name);
    added->set_dtype(static_cast<int>(part.dtype));
    added->set_bytes(part.bytes);
  }
}

absl::StatusOr<std::vector<MessagePart>> Read(const Parts& in) {
  std::vector<MessagePart> parts;
  for (const v1::MessagePart& part : in) {
    MessagePart& added = parts.emplace_back(MessagePart{part.name(), {}, 0, part.bytes()});
    RETURN_IF_ERROR(
        ReadNumber(part.dtype(), DType::kFloat32, DType::kInt32, "channel.parts", &added.dtype));
  }
  PlaceParts(&parts);
  return parts;
}

void WriteTopology(const Plan& plan, v1::Plan* out) {
  for (const Stage& stage : plan.stages) {
    v1::Stage* added = out->add_stages();
    Write(stage.units, added->mutable_units());
    Write(stage.ranks, added->mutable_ranks());
  }
  for (const Channel& channel : plan.channels) {
    v1::Channel* added = out->add_channels();
    added->set_source(channel.source);
    added->set_destination(channel.destination);
    added->set_kind(static_cast<int>(channel.kind));
    added->set_message_bytes(channel.message_bytes);
    Write(channel.parts, added->mutable_parts());
  }
  for (const Bucket& bucket : plan.buckets) {
    v1::Bucket* added = out->add_buckets();
    Write(bucket.parameters, added->mutable_parameters());
    Write(bucket.ranks, added->mutable_ranks());
  }
}

absl::Status ReadTopology(const v1::Plan& in, Plan* plan) {
  for (const v1::Stage& stage : in.stages()) {
    plan->stages.push_back({Read(stage.units()), Read(stage.ranks())});
  }
  for (const v1::Channel& channel : in.channels()) {
    Channel& added = plan->channels.emplace_back(
        Channel{channel.source(), channel.destination(), {}, channel.message_bytes(), {}});
    ASSIGN_OR_RETURN(added.parts, Read(channel.parts()));
    RETURN_IF_ERROR(ReadNumber(channel.kind(), ChannelKind::kActivation, ChannelKind::kGradient,
                               "channel.kind", &added.kind));
  }
  for (const v1::Bucket& bucket : in.buckets()) {
    plan->buckets.push_back({Read(bucket.parameters()), Read(bucket.ranks())});
  }
  return absl::OkStatus();
}

}  // namespace

void ToProto(const Plan& plan, v1::Plan* out) {
  out->set_model_hash(plan.model_hash);
  out->set_precision(static_cast<int>(plan.precision));
  out->set_processor(WireEnum<int>(plan.processor));
  out->set_deterministic(plan.deterministic);
  out->set_schedule(WireEnum<v1::ScheduleKind>(plan.schedule));
  out->set_num_ranks(plan.num_ranks);
  out->set_num_replicas(plan.num_replicas);
  out->set_num_microbatches(plan.num_microbatches);
  out->set_num_evaluation_microbatches(plan.num_evaluation_microbatches);
  out->set_tokens_per_microbatch(plan.tokens_per_microbatch);
  out->set_recompute_block(plan.recompute_block);
  WriteTopology(plan, out);
  for (const PlannedParameter& parameter : plan.parameters) Write(parameter, out->add_parameters());
  for (const RankPlan& rank : plan.ranks) Write(rank, out->add_ranks());
  out->set_predicted_step_ns(plan.predicted_step_ns);
  out->set_predicted_idle_share(plan.predicted_idle_share);
}

absl::StatusOr<Plan> FromProto(const v1::Plan& in) {
  Plan plan;
  plan.model_hash = in.model_hash();
  // A plan of a release that knew one precision has no number here: it has to be made again.
  RETURN_IF_ERROR(ReadNumber(in.precision(), Precision::kFp32, Precision::kFp64, "plan.precision",
                             &plan.precision));
  RETURN_IF_ERROR(ReadEnum(in.processor(), Processor::kCuda, "plan.processor", &plan.processor));
  plan.deterministic = in.deterministic();
  RETURN_IF_ERROR(
      ReadEnum(in.schedule(), ScheduleKind::kDualPipe, "plan.schedule", &plan.schedule));
  plan.num_ranks = in.num_ranks();
  plan.num_replicas = in.num_replicas();
  plan.num_microbatches = in.num_microbatches();
  plan.num_evaluation_microbatches = in.num_evaluation_microbatches();
  plan.tokens_per_microbatch = in.tokens_per_microbatch();
  plan.recompute_block = in.recompute_block();
  RETURN_IF_ERROR(ReadTopology(in, &plan));
  for (const v1::PlannedParameter& parameter : in.parameters()) {
    ASSIGN_OR_RETURN(plan.parameters.emplace_back(), Read(parameter));
  }
  for (const v1::RankPlan& rank : in.ranks()) {
    ASSIGN_OR_RETURN(plan.ranks.emplace_back(), Read(rank));
  }
  plan.predicted_step_ns = in.predicted_step_ns();
  plan.predicted_idle_share = in.predicted_idle_share();
  return plan;
}

}  // namespace birkhoff
