// What follows from spec and stages is made anew, by the functions that the compiler uses, and
// compared; stages and buckets may be cut in any way that keeps the rules.
#include "core/plan/check_tables.h"

#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/plan/memory.h"
#include "core/plan/refusal.h"
#include "core/plan/schedule.h"
#include "core/plan/tables.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

std::string Indexed(const char* table, size_t index) {
  return absl::StrCat(table, "[", index, "]");
}

template <typename Value>
absl::Status NeedEqual(const std::string& what, const Value& given, const Value& needed) {
  if (given == needed) return absl::OkStatus();
  return TableRefusal(what, absl::StrCat("is ", given, ", needs ", needed));
}

// The spec decides, but for the processor where it leaves that to the workers.
absl::Status CheckNumerics(const Plan& plan, const JobSpec& spec) {
  const std::string processor = ProcessorName(plan.processor);
  if (spec.device != DeviceKind::kAuto) {
    const bool cuda = spec.device == DeviceKind::kCuda;
    RETURN_IF_ERROR(NeedEqual<std::string>("processor", processor, cuda ? "cuda" : "cpu"));
  }
  const absl::StatusOr<Numerics> needed = ResolveNumerics(spec, plan.processor);
  if (!needed.ok()) return TableRefusal("processor", std::string(needed.status().message()));
  RETURN_IF_ERROR(NeedEqual<std::string>("precision", PrecisionName(plan.precision),
                                         PrecisionName(needed->precision)));
  return NeedEqual("deterministic", plan.deterministic, needed->deterministic);
}

absl::Status CheckCounts(const Plan& plan, const JobSpec& spec) {
  RETURN_IF_ERROR(NeedEqual("model hash", plan.model_hash, ModelHash(spec.model)));
  RETURN_IF_ERROR(NeedEqual<std::string>("schedule", ScheduleName(plan.schedule),
                                         ScheduleName(spec.parallelism.schedule)));
  RETURN_IF_ERROR(CheckNumerics(plan, spec));
  RETURN_IF_ERROR(NeedEqual("ranks", plan.num_ranks, spec.parallelism.pipeline_parallel_degree));
  RETURN_IF_ERROR(NeedEqual("replicas", plan.num_replicas, spec.parallelism.data_parallel_degree));
  RETURN_IF_ERROR(NeedEqual("micro-batches", plan.num_microbatches, MicrobatchesPerStep(spec)));
  RETURN_IF_ERROR(NeedEqual("evaluation micro-batches", plan.num_evaluation_microbatches,
                            EvaluationMicrobatches(spec)));
  RETURN_IF_ERROR(
      NeedEqual("tokens per micro-batch", plan.tokens_per_microbatch,
                int64_t{spec.training.micro_batch_size} * spec.training.sequence_length));
  RETURN_IF_ERROR(NeedEqual("rank plans", plan.ranks.size(), size_t(plan.num_ranks)));
  const int wanted = spec.parallelism.recompute;
  if (wanted != ParallelismSpec::kRecomputeAuto) {
    RETURN_IF_ERROR(NeedEqual("recompute block", plan.recompute_block, wanted));
  }
  if (plan.recompute_block < 0) return TableRefusal("recompute block", "is negative");
  return absl::OkStatus();
}

absl::Status CheckHolders(const Plan& plan, size_t index) {
  const std::vector<int>& holders = plan.stages[index].ranks;
  const std::string what = Indexed("stages", index);
  const size_t needed = plan.schedule == ScheduleKind::kDualPipe ? 2 : 1;
  RETURN_IF_ERROR(NeedEqual(absl::StrCat(what, " holders"), holders.size(), needed));
  for (const int rank : holders) {
    if (rank < 0 || rank >= plan.num_ranks) {
      return TableRefusal(what, absl::StrCat("is held by rank ", rank, ", which does not exist"));
    }
  }
  if (needed == 2 && holders[0] == holders[1]) {
    return TableRefusal(what, "has both its copies on one rank");
  }
  return absl::OkStatus();
}

absl::Status CheckStages(const Plan& plan, const JobSpec& spec) {
  int next = 0;
  std::vector<std::vector<int>> held(plan.ranks.size());
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const UnitRange units = plan.stages[i].units;
    if (units.first != next || units.last <= units.first) {
      return TableRefusal(Indexed("stages", i),
                          absl::StrCat("has units ", units.first, ":", units.last,
                                       ", needs at least one unit from ", next, " on"));
    }
    next = units.last;
    RETURN_IF_ERROR(CheckHolders(plan, i));
    for (const int rank : plan.stages[i].ranks) held[rank].push_back(static_cast<int>(i));
  }
  RETURN_IF_ERROR(NeedEqual("units in stages", next, NumUnits(spec.model)));
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    RETURN_IF_ERROR(NeedEqual(absl::StrCat(Indexed("ranks", rank), " stages"),
                              absl::StrJoin(plan.ranks[rank].stages, ","),
                              absl::StrJoin(held[rank], ",")));
  }
  return absl::OkStatus();
}

std::string PartsText(const std::vector<MessagePart>& parts) {
  return absl::StrJoin(parts, ",", [](std::string* out, const MessagePart& part) {
    absl::StrAppend(out, part.name, ":", DTypeName(part.dtype), ":", part.bytes, "@", part.offset);
  });
}

absl::Status CheckChannels(const Plan& plan, const JobSpec& spec) {
  std::set<std::tuple<int, int, ChannelKind>> seen;
  for (size_t i = 0; i < plan.channels.size(); ++i) {
    const Channel& channel = plan.channels[i];
    const std::string what = Indexed("channels", i);
    const auto exists = [&](int rank) { return rank >= 0 && rank < plan.num_ranks; };
    if (!exists(channel.source) || !exists(channel.destination) ||
        channel.source == channel.destination) {
      return TableRefusal(what, absl::StrCat("joins rank ", channel.source, " and rank ",
                                             channel.destination, ", needs two ranks of the plan"));
    }
    if (!seen.insert({channel.source, channel.destination, channel.kind}).second) {
      return TableRefusal(what, "repeats an earlier channel");
    }
    const std::vector<MessagePart> parts = PartsOf(channel.kind, spec.model, plan);
    RETURN_IF_ERROR(
        NeedEqual(absl::StrCat(what, " bytes"), channel.message_bytes, MessageBytes(parts)));
    RETURN_IF_ERROR(
        NeedEqual(absl::StrCat(what, " parts"), PartsText(channel.parts), PartsText(parts)));
  }
  return absl::OkStatus();
}

std::string ParameterText(const PlannedParameter& parameter) {
  const ParameterSpec& spec = parameter.spec;
  return absl::StrCat(spec.name, " [", absl::StrJoin(spec.shape, ", "), "] decay=", spec.decay,
                      " initializer=", static_cast<int>(spec.initializer), " scale=", spec.scale,
                      " stages=", absl::StrJoin(parameter.stages, ","),
                      " ranks=", absl::StrJoin(parameter.ranks, ","),
                      " kind=", static_cast<int>(parameter.kind), " product=", spec.product,
                      " copy=", DTypeName(parameter.copy));
}

absl::Status CheckParameters(const Plan& plan, const Plan& expected) {
  RETURN_IF_ERROR(NeedEqual("parameters", plan.parameters.size(), expected.parameters.size()));
  for (size_t i = 0; i < plan.parameters.size(); ++i) {
    RETURN_IF_ERROR(NeedEqual(Indexed("parameters", i), ParameterText(plan.parameters[i]),
                              ParameterText(expected.parameters[i])));
  }
  return absl::OkStatus();
}

// Each parameter in exactly one bucket, with the bucket's holders.
absl::Status CheckBuckets(const Plan& plan) {
  std::vector<int> bucket_of(plan.parameters.size(), -1);
  for (size_t b = 0; b < plan.buckets.size(); ++b) {
    if (plan.buckets[b].parameters.empty()) return TableRefusal(Indexed("buckets", b), "is empty");
    for (const int index : plan.buckets[b].parameters) {
      if (index < 0 || index >= static_cast<int>(plan.parameters.size())) {
        return TableRefusal(Indexed("buckets", b),
                            absl::StrCat("lists parameter ", index, ", which does not exist"));
      }
      if (bucket_of[index] >= 0) {
        return TableRefusal(Indexed("buckets", b),
                            absl::StrCat("lists ", plan.parameters[index].spec.name,
                                         ", which bucket ", bucket_of[index], " has already"));
      }
      bucket_of[index] = static_cast<int>(b);
      RETURN_IF_ERROR(NeedEqual(absl::StrCat(Indexed("buckets", b), " ranks"),
                                absl::StrJoin(plan.buckets[b].ranks, ","),
                                absl::StrJoin(plan.parameters[index].ranks, ",")));
    }
  }
  for (size_t i = 0; i < plan.parameters.size(); ++i) {
    RETURN_IF_ERROR(NeedEqual(absl::StrCat(Indexed("parameters", i), " bucket"),
                              plan.parameters[i].bucket, bucket_of[i]));
  }
  return absl::OkStatus();
}

std::string NamesOf(const std::vector<MemoryItem>& items) {
  return absl::StrJoin(items, ", ", [](std::string* out, const MemoryItem& item) {
    absl::StrAppend(out, item.name, " (", MemoryPlaceName(item.place), ")");
  });
}

absl::Status CheckBuffer(const std::vector<StageLayout>& layouts, const RankPlan& rank,
                         const std::string& what, const Buffer& buffer) {
  const int home = static_cast<int>(buffer.home);
  if (home < 0 || home >= kNumHomes) return TableRefusal(what, "has no home");
  int64_t needed = 0;
  if (buffer.home == Home::kScratch) {
    RETURN_IF_ERROR(NeedEqual(absl::StrCat(what, " stage"), buffer.stage, -1));
    for (const int stage : rank.stages) {
      needed = std::max(needed, layouts[stage].BytesOf(Home::kScratch));
    }
  } else {
    if (std::find(rank.stages.begin(), rank.stages.end(), buffer.stage) == rank.stages.end()) {
      return TableRefusal(
          what, absl::StrCat("belongs to stage ", buffer.stage, ", which this rank does not hold"));
    }
    needed = layouts[buffer.stage].bytes[home];
  }
  if (needed == 0) return TableRefusal(what, "is of a home that its stage does not have");
  // So a message, whose size follows from the same model, fits the buffers at both its ends.
  return NeedEqual(absl::StrCat(what, " bytes"), buffer.bytes, needed);
}

}  // namespace

absl::Status CheckTables(const Plan& plan, const JobSpec& spec) {
  RETURN_IF_ERROR(CheckCounts(plan, spec));
  RETURN_IF_ERROR(CheckStages(plan, spec));
  RETURN_IF_ERROR(CheckChannels(plan, spec));
  Plan expected;
  expected.precision = plan.precision;
  expected.stages = plan.stages;
  MakeParameterTable(spec.model, &expected);
  RETURN_IF_ERROR(CheckParameters(plan, expected));
  return CheckBuckets(plan);
}

absl::Status CheckBuffers(const Plan& plan, const std::vector<StageLayout>& layouts) {
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    const RankPlan& rank = plan.ranks[r];
    int num_scratch = 0;
    for (size_t b = 0; b < rank.buffers.size(); ++b) {
      const std::string what = absl::StrCat(Indexed("ranks", r), " ", Indexed("buffers", b));
      RETURN_IF_ERROR(CheckBuffer(layouts, rank, what, rank.buffers[b]));
      num_scratch += rank.buffers[b].home == Home::kScratch;
    }
    if (num_scratch > 1) return TableRefusal(Indexed("ranks", r), "has more than one scratch");
  }
  return absl::OkStatus();
}

absl::Status CheckMemory(const Plan& plan, const ModelSpec& model,
                         const std::vector<StageLayout>& layouts) {
  const auto by_rank = MemoryByRank(plan, model, layouts);
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    const std::vector<MemoryItem>& needed = by_rank[r];
    const std::vector<MemoryItem>& given = plan.ranks[r].memory;
    RETURN_IF_ERROR(
        NeedEqual(absl::StrCat(Indexed("ranks", r), " memory"), NamesOf(given), NamesOf(needed)));
    for (size_t i = 0; i < given.size(); ++i) {
      RETURN_IF_ERROR(NeedEqual(absl::StrCat(Indexed("ranks", r), " memory ", given[i].name),
                                given[i].bytes, needed[i].bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace birkhoff
