// Plan <-> v1::Plan.
#include "core/base/status_macros.h"
#include "core/net/convert.h"
#include "core/net/convert_enum.h"

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
  RETURN_IF_ERROR(ReadNumber(in.op(), Op::kLoad, Op::kOverlapEnd, "instruction.op", &out.op));
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
  out->set_peak_buffer_bytes(in.peak_buffer_bytes);
  out->set_parameter_bytes(in.parameter_bytes);
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
  out.peak_buffer_bytes = in.peak_buffer_bytes();
  out.parameter_bytes = in.parameter_bytes();
  return out;
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
        Channel{channel.source(), channel.destination(), {}, channel.message_bytes()});
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
