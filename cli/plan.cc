// birkhoff plan JOB.yaml: how a job would be cut and scheduled, without running it.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/card_file.h"
#include "cli/spec_flags.h"
#include "cli/verbs.h"
#include "core/base/disk.h"
#include "core/base/isa.h"
#include "core/base/status_macros.h"
#include "core/plan/compile.h"
#include "core/plan/describe.h"
#include "core/plan/memory.h"
#include "core/plan/text.h"
#include "core/spec/card_rates.h"
#include "core/spec/model.h"
#include "core/spec/product_rate.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

struct PlanOptions {
  SpecFile file;
  bool text = false;
  std::string device;  // empty: what the job asks for, or a CPU
  int64_t memory_bytes = 0;
  std::string card;  // file; empty: times are modelled
};

ClusterSpec MakeCluster(const JobSpec& spec, const PlanOptions& options) {
  const char* wanted = NeededDevice(spec) == DeviceKind::kCuda ? "cuda" : "cpu";
  ClusterSpec cluster;
  for (int rank = 0; rank < NumRanks(spec); ++rank) {
    WorkerResources& worker = cluster.workers.emplace_back();
    worker.name = absl::StrCat("workers/", rank);
    worker.device = options.device.empty() ? wanted : options.device;
    worker.memory_bytes = options.memory_bytes;
    if (worker.device == ProcessorName(Processor::kCpu)) {
      worker.product_flops = ProductRate(BestIsa());  // as this machine, with one thread
    }
  }
  return cluster;
}

// Who names a card file wants no other times.
absl::Status CheckMeasured(const JobSpec& spec, const ClusterSpec& cluster) {
  ASSIGN_OR_RETURN(const Processor processor, ProcessorOf(spec, cluster));
  ASSIGN_OR_RETURN(const Numerics numerics, ResolveNumerics(spec, processor));
  const std::string key = ShapeKey(spec, numerics);
  if (cluster.card->by_shape.contains(key)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--card: nothing was measured for ", key,
                   "; measure it with birkhoff-worker --calibrate JOB.yaml --card FILE"));
}

nlohmann::ordered_json MemoryToJson(const RankPlan& rank) {
  nlohmann::ordered_json items;
  for (const MemoryItem& item : rank.memory) {
    items.push_back(
        {{"name", item.name}, {"place", MemoryPlaceName(item.place)}, {"bytes", item.bytes}});
  }
  return items;
}

std::string PlanToJson(const Plan& plan) {
  nlohmann::ordered_json json;
  json["plan_hash"] = PlanHash(plan);
  json["precision"] = PrecisionName(plan.precision);
  json["processor"] = ProcessorName(plan.processor);
  json["deterministic"] = plan.deterministic;
  json["ranks"] = plan.num_ranks;
  json["replicas"] = plan.num_replicas;
  json["microbatches"] = plan.num_microbatches;
  json["recompute_block"] = plan.recompute_block;
  json["predicted_step_seconds"] = static_cast<double>(plan.predicted_step_ns) * 1e-9;
  json["predicted_idle_share"] = plan.predicted_idle_share;
  for (const Stage& stage : plan.stages) {
    json["stages"].push_back({{"first_unit", stage.units.first},
                              {"last_unit", stage.units.last},
                              {"ranks", stage.ranks}});
  }
  for (const RankPlan& rank : plan.ranks) {
    json["workers"].push_back({{"stages", rank.stages},
                               {"instructions", rank.train.size()},
                               {"device_bytes", DeviceBytes(rank)},
                               {"host_bytes", HostBytes(rank)},
                               {"memory", MemoryToJson(rank)}});
  }
  return json.dump();
}

absl::Status ShowPlan(const PlanOptions& options, const Invocation& invocation) {
  JobSpec spec;
  RETURN_IF_ERROR(ReadOrExplain(options.file, invocation, &spec));
  if (spec.model.vocab_size == 0) {
    return absl::InvalidArgumentError(
        "model.vocab_size: 0 with --spec-only; need the tokenizer, or --set model.vocab_size=N");
  }
  ClusterSpec cluster = MakeCluster(spec, options);
  if (!options.card.empty()) {
    PosixDisk disk;
    ASSIGN_OR_RETURN(cluster.card, ReadCardFile(disk, options.card));
    RETURN_IF_ERROR(CheckMeasured(spec, cluster));
  }
  ASSIGN_OR_RETURN(const Plan plan, CompilePlan(spec, cluster));
  std::ostream& out = *invocation.console.out;
  if (options.text) {
    out << PlanToText(plan);
  } else if (invocation.output == "json") {
    out << PlanToJson(plan) << "\n";
  } else {
    out << DescribePlan(plan, spec);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPlan(CLI::App& verb, Invocation& invocation) {
  auto options = std::make_shared<PlanOptions>();
  options->file.spec_only = true;
  AddSpecFlags(verb, &options->file);
  verb.add_flag("--text", options->text, "Print the plan itself, one instruction per line");
  verb.add_option("--device", options->device,
                  "Device of each worker; by default what the job asks for, or cpu")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  verb.add_option("--memory-bytes", options->memory_bytes,
                  "Memory of each worker (of its GPU with cuda); 0: no limit is checked")
      ->check(CLI::Range(0.0, 1e18));
  verb.add_option("--card", options->card,
                  "Card file: predict with what was measured, not with a model of the device")
      ->type_name("FILE");
  verb.callback([options, &invocation] {
    invocation.chosen = [options, &invocation] {
      return Finish(invocation.console, ShowPlan(*options, invocation));
    };
  });
}

}  // namespace birkhoff
