// Writing plans; text_parse.cc reads them.
#include "core/plan/text.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/plan/memory.h"
#include "core/plan/ops.h"
#include "core/plan/schedule.h"
#include "core/plan/text_names.h"

namespace birkhoff {
namespace {

void AppendList(std::string* text, const char* key, const std::vector<int>& values,
                const char* prefix = "") {
  if (values.empty()) return;
  absl::StrAppend(text, " ", key, "=");
  for (size_t i = 0; i < values.size(); ++i) {
    absl::StrAppend(text, i == 0 ? "" : ",", prefix, values[i]);
  }
}

void AppendUnits(std::string* text, UnitRange units) {
  absl::StrAppend(text, " units=", units.first, ":", units.last);
}

void AppendInstruction(std::string* text, const Instruction& instruction) {
  absl::StrAppend(text, OpName(instruction.op));
  if (instruction.stage != -1) absl::StrAppend(text, " stage=", instruction.stage);
  if (!(instruction.segment.units == UnitRange{})) AppendUnits(text, instruction.segment.units);
  if (instruction.segment.phase != Phase::kWhole) {
    absl::StrAppend(text, " phase=", NameIn(kPhaseNames, instruction.segment.phase));
  }
  if (instruction.microbatch != -1) absl::StrAppend(text, " microbatch=", instruction.microbatch);
  if (instruction.channel != -1) absl::StrAppend(text, " channel=", instruction.channel);
  if (instruction.bucket != -1) absl::StrAppend(text, " bucket=", instruction.bucket);
  absl::StrAppend(text, " stream=", StreamName(instruction.stream));
  AppendList(text, "waits", instruction.waits);
  AppendList(text, "reads", instruction.reads, "b");
  AppendList(text, "fills", instruction.fills, "b");
  if (instruction.estimated_ns != 0) absl::StrAppend(text, " ns=", instruction.estimated_ns);
}

void AppendProgram(std::string* text, const char* name,
                   const std::vector<Instruction>& instructions) {
  absl::StrAppend(text, name, "\n");
  for (size_t i = 0; i < instructions.size(); ++i) {
    absl::StrAppend(text, i, " ");
    AppendInstruction(text, instructions[i]);
    text->push_back('\n');
  }
}

void AppendHeader(std::string* text, const Plan& plan) {
  absl::StrAppend(text, "plan version=1 model=", plan.model_hash,
                  " precision=", PrecisionName(plan.precision),
                  " processor=", ProcessorName(plan.processor),
                  " deterministic=", static_cast<int>(plan.deterministic),
                  " schedule=", ScheduleName(plan.schedule), " ranks=", plan.num_ranks,
                  " replicas=", plan.num_replicas, " microbatches=", plan.num_microbatches,
                  " evaluation-microbatches=", plan.num_evaluation_microbatches,
                  " tokens=", plan.tokens_per_microbatch, " recompute=", plan.recompute_block,
                  " step-ns=", plan.predicted_step_ns);
  absl::StrAppendFormat(text, " idle=%.17g\n", plan.predicted_idle_share);
}

void AppendParameter(std::string* text, int index, const PlannedParameter& parameter) {
  absl::StrAppend(text, "parameter ", index, " name=", parameter.spec.name,
                  " shape=", absl::StrJoin(parameter.spec.shape, "x"),
                  " decay=", static_cast<int>(parameter.spec.decay),
                  " initializer=", NameIn(kInitializerNames, parameter.spec.initializer));
  absl::StrAppendFormat(text, " scale=%.17g", parameter.spec.scale);
  AppendList(text, "stages", parameter.stages);
  AppendList(text, "ranks", parameter.ranks);
  absl::StrAppend(text, " bucket=", parameter.bucket,
                  " kind=", NameIn(kParameterKindNames, parameter.kind),
                  " product=", static_cast<int>(parameter.spec.product),
                  " copy=", DTypeName(parameter.copy), "\n");
}

void AppendParts(std::string* text, const std::vector<MessagePart>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    absl::StrAppend(text, i == 0 ? " parts=" : ",", parts[i].name, ":", DTypeName(parts[i].dtype),
                    ":", parts[i].bytes);
  }
  text->push_back('\n');
}

void AppendTables(std::string* text, const Plan& plan) {
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    absl::StrAppend(text, "stage ", i);
    AppendUnits(text, plan.stages[i].units);
    AppendList(text, "ranks", plan.stages[i].ranks);
    text->push_back('\n');
  }
  for (size_t i = 0; i < plan.channels.size(); ++i) {
    const Channel& channel = plan.channels[i];
    absl::StrAppend(
        text, "channel ", i, " source=", channel.source, " destination=", channel.destination,
        " kind=", NameIn(kChannelKindNames, channel.kind), " bytes=", channel.message_bytes);
    AppendParts(text, channel.parts);
  }
  for (size_t i = 0; i < plan.parameters.size(); ++i) {
    AppendParameter(text, static_cast<int>(i), plan.parameters[i]);
  }
  for (size_t i = 0; i < plan.buckets.size(); ++i) {
    absl::StrAppend(text, "bucket ", i);
    AppendList(text, "parameters", plan.buckets[i].parameters);
    AppendList(text, "ranks", plan.buckets[i].ranks);
    text->push_back('\n');
  }
}

void AppendRank(std::string* text, int index, const RankPlan& rank) {
  absl::StrAppend(text, "rank ", index);
  AppendList(text, "stages", rank.stages);
  text->push_back('\n');
  for (size_t i = 0; i < rank.memory.size(); ++i) {
    const MemoryItem& item = rank.memory[i];
    absl::StrAppend(text, "memory ", i, " name=", absl::StrReplaceAll(item.name, {{" ", "_"}}),
                    " place=", MemoryPlaceName(item.place), " bytes=", item.bytes, "\n");
  }
  for (size_t i = 0; i < rank.buffers.size(); ++i) {
    const Buffer& buffer = rank.buffers[i];
    absl::StrAppend(text, "buffer ", i, " home=", HomeName(buffer.home), " stage=", buffer.stage,
                    " bytes=", buffer.bytes, "\n");
  }
  AppendProgram(text, "train", rank.train);
  AppendProgram(text, "evaluate", rank.evaluate);
}

}  // namespace

std::string InstructionToText(const Instruction& instruction) {
  std::string text;
  AppendInstruction(&text, instruction);
  return text;
}

std::string InstructionWords(const Instruction& instruction) {
  std::string words = OpName(instruction.op);
  if (instruction.stage >= 0) absl::StrAppend(&words, " stage ", instruction.stage);
  if (instruction.microbatch >= 0) absl::StrAppend(&words, " micro-batch ", instruction.microbatch);
  if (instruction.bucket >= 0) absl::StrAppend(&words, " bucket ", instruction.bucket);
  return words;
}

int QueueNumber(const Instruction& instruction) {
  constexpr int kFirstChannel = 10;  // after the StreamKinds
  return instruction.stream == StreamKind::kChannel ? kFirstChannel + instruction.channel
                                                    : static_cast<int>(instruction.stream);
}

std::string QueueWords(const Plan& plan, const Instruction& instruction) {
  if (instruction.stream != StreamKind::kChannel) return StreamName(instruction.stream);
  const Channel& channel = plan.channels[instruction.channel];
  const char* kind = channel.kind == ChannelKind::kActivation ? "activations" : "gradients";
  return absl::StrCat(kind, " ", channel.source, " to ", channel.destination);
}

std::string PlanToText(const Plan& plan) {
  std::string text;
  AppendHeader(&text, plan);
  AppendTables(&text, plan);
  for (size_t i = 0; i < plan.ranks.size(); ++i) {
    AppendRank(&text, static_cast<int>(i), plan.ranks[i]);
  }
  return text;
}

}  // namespace birkhoff
