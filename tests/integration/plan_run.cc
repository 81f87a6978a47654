#include "tests/integration/plan_run.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/plan/compile.h"
#include "tests/worker/random_parameters.h"
#include "worker/executor.h"
#include "worker/transport/local.h"

namespace birkhoff {
namespace {

constexpr uint64_t kWeightSeed = 5, kDataSeed = 6;
constexpr float kLearningRate = 0.0005f;

// What one rank adds to the numbers of a program.
struct Share {
  double loss = 0.0;
  int64_t tokens = 0;
  double squared_gradient = 0.0;
};

// One rank: its stages, its weights, and what its hooks do.
class RankThread final : public StepHooks {
 public:
  RankThread(const Plan& plan, const JobSpec& spec, int global_rank)
      : plan_(plan),
        spec_(spec),
        rank_(global_rank % plan.num_ranks),
        replica_(global_rank / plan.num_ranks),
        device_(NewCpuDevice()) {}

  absl::Status Run(LocalHub& hub, int steps) {
    const int global = replica_ * plan_.num_ranks + rank_;
    transport_ = NewLocalTransport(hub, plan_, {.rank = global, .check_stamps = true});
    RETURN_IF_ERROR(Prepare());
    const int64_t targets =
        int64_t{plan_.num_microbatches} * plan_.num_replicas * plan_.tokens_per_microbatch;
    for (step_ = 0; step_ < steps; ++step_) {
      RETURN_IF_ERROR(executor_->RunTrain(targets));
      steps_.push_back(share_);
    }
    evaluates_ = true;
    RETURN_IF_ERROR(executor_->RunEvaluate());
    evaluation_ = share_;
    return absl::OkStatus();
  }
  void Abort(const absl::Status& reason) { transport_->Abort(reason); }

  const std::vector<Share>& steps() const { return steps_; }
  const Share& evaluation() const { return evaluation_; }

  void Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) override {
    const int64_t sample =
        evaluates_ ? int64_t{replica_} * plan_.num_evaluation_microbatches + microbatch
                   : (int64_t{step_} * plan_.num_replicas + replica_) * plan_.num_microbatches +
                         microbatch;
    const StageLayout& layout = modules_[stage]->layout();
    stream.Submit([this, sample, &layout, batch = buffers.Of(Home::kBatch)] {
      Rng rng(kDataSeed + static_cast<uint64_t>(sample), evaluates_ ? "held out" : "train");
      const int length = static_cast<int>(plan_.tokens_per_microbatch);
      std::vector<int32_t> inputs(length), targets(length);
      const auto vocabulary = static_cast<uint64_t>(spec_.model.vocab_size);
      for (int32_t& token : inputs) token = static_cast<int32_t>(rng.Below(vocabulary));
      for (int32_t& token : targets) token = static_cast<int32_t>(rng.Below(vocabulary));
      // What schedule and replicas need beyond the spec has no targets, as in the rank.
      if (evaluates_ && sample >= spec_.training.validation_batches) {
        std::ranges::fill(targets, -1);
      }
      WriteMicrobatch(layout, std::vector<int>{length}, inputs, targets, batch);
    });
  }

  void Agree(Stream& stream) override {
    stream.Submit([this] {
      share_ = {};
      for (const auto& module : modules_) {
        if (module == nullptr) continue;
        share_.loss += module->sums().loss;
        share_.tokens += module->sums().target_tokens;
      }
      for (const ParameterStore::Slot& slot : store_->slots()) {
        for (int64_t i = 0; slot.owner && i < slot.count; ++i) {
          share_.squared_gradient += double{slot.gradient[i]} * slot.gradient[i];
        }
      }
    });
    if (!evaluates_) return;
    for (const auto& module : modules_) {
      if (module != nullptr) module->ResetSums(stream);
    }
  }

  void Optimizer(Stream& stream) override {
    stream.Submit([this] {
      for (const ParameterStore::Slot& slot : store_->slots()) {
        for (int64_t i = 0; i < slot.count; ++i) {
          slot.weight[i] -= kLearningRate * slot.gradient[i];
          slot.gradient[i] = 0.0f;
        }
      }
    });
    for (const auto& module : modules_) {
      if (module != nullptr) module->ResetSums(stream);
    }
  }

  void Snapshot(Stream&) override {}

 private:
  absl::Status Prepare() {
    ASSIGN_OR_RETURN(store_, ParameterStore::Create(plan_, rank_, replica_, spec_, *device_));
    for (const ParameterStore::Slot& slot : store_->slots()) {
      Rng rng(kWeightSeed, slot.spec.name);
      for (int64_t i = 0; i < slot.count; ++i) {
        slot.weight[i] = static_cast<float>(RandomValue(slot.spec, rng));
      }
    }
    modules_.resize(plan_.stages.size());
    std::vector<StageModule*> stages(plan_.stages.size(), nullptr);
    const std::unique_ptr<Stream> stream = device_->NewStream("start");
    for (const int stage : plan_.ranks[rank_].stages) {
      modules_[stage] = NewCpuStage({.model = spec_.model,
                                     .units = plan_.stages[stage].units,
                                     .recompute_block = plan_.recompute_block,
                                     .tokens = plan_.tokens_per_microbatch,
                                     .sequence_length = spec_.training.sequence_length},
                                    *store_);
      modules_[stage]->ResetSums(*stream);
      stages[stage] = modules_[stage].get();
    }
    stream->Synchronize();
    ASSIGN_OR_RETURN(executor_, Executor::Create({.plan = &plan_,
                                                  .rank = rank_,
                                                  .replica = replica_,
                                                  .attempt = 1,
                                                  .device = device_.get(),
                                                  .transport = transport_.get(),
                                                  .store = store_.get(),
                                                  .stages = stages,
                                                  .hooks = this,
                                                  .poison = true}));
    return absl::OkStatus();
  }

  const Plan& plan_;
  const JobSpec& spec_;
  const int rank_, replica_;
  int step_ = 0;
  bool evaluates_ = false;
  Share share_;
  std::vector<Share> steps_;
  Share evaluation_;
  const std::unique_ptr<Device> device_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ParameterStore> store_;
  std::vector<std::unique_ptr<StageModule>> modules_;  // by plan stage
  std::unique_ptr<Executor> executor_;
};

Share Sum(const std::vector<Share>& shares) {
  Share sum;
  for (const Share& share : shares) {
    sum.loss += share.loss;
    sum.tokens += share.tokens;
    sum.squared_gradient += share.squared_gradient;
  }
  return sum;
}

double Mean(const Share& share) { return share.loss / static_cast<double>(share.tokens); }

bool Near(double a, double b) { return std::abs(a - b) <= 1.0e-5 * std::max(std::abs(b), 1.0e-3); }

}  // namespace

absl::StatusOr<PlanRun> RunPlan(const Plan& plan, const JobSpec& spec, int steps) {
  const int world = plan.num_ranks * plan.num_replicas;
  const std::unique_ptr<LocalHub> hub = LocalHub::Create(world);
  std::vector<std::unique_ptr<RankThread>> ranks;
  for (int i = 0; i < world; ++i) ranks.push_back(std::make_unique<RankThread>(plan, spec, i));
  std::vector<absl::Status> results(world);
  std::vector<std::thread> threads;
  for (int i = 0; i < world; ++i) {
    threads.emplace_back([&, i] {
      results[i] = ranks[i]->Run(*hub, steps);
      if (!results[i].ok()) ranks[i]->Abort(results[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) RETURN_IF_ERROR(result);

  PlanRun run;
  std::vector<Share> shares(world);
  for (int step = 0; step < steps; ++step) {
    for (int i = 0; i < world; ++i) shares[i] = ranks[i]->steps()[step];
    run.losses.push_back(Mean(Sum(shares)));
    run.gradient_norms.push_back(std::sqrt(Sum(shares).squared_gradient));
  }
  if (plan.num_evaluation_microbatches > 0) {
    for (int i = 0; i < world; ++i) shares[i] = ranks[i]->evaluation();
    run.evaluation_loss = Mean(Sum(shares));
  }
  return run;
}

absl::StatusOr<PlanRun> RunUnpipelined(const JobSpec& spec, int steps) {
  JobSpec alone = spec;
  alone.parallelism = {.pipeline_parallel_degree = 1,
                       .data_parallel_degree = 1,
                       .schedule = ScheduleKind::k1F1B,
                       .recompute = ParallelismSpec::kRecomputeNone};
  ASSIGN_OR_RETURN(const Plan plan, CompilePlan(alone, {}));
  return RunPlan(plan, alone, steps);
}

std::string Difference(const PlanRun& run, const PlanRun& reference) {
  if (!Near(run.gradient_norms[0], reference.gradient_norms[0])) {
    return absl::StrCat("gradient norm ", run.gradient_norms[0], ", needs ",
                        reference.gradient_norms[0]);
  }
  for (size_t step = 0; step < reference.losses.size(); ++step) {
    if (Near(run.losses[step], reference.losses[step])) continue;
    return absl::StrCat("step ", step, ": loss ", run.losses[step], ", needs ",
                        reference.losses[step]);
  }
  if (Near(run.evaluation_loss, reference.evaluation_loss)) return "";
  return absl::StrCat("evaluation loss ", run.evaluation_loss, ", needs ",
                      reference.evaluation_loss);
}

}  // namespace birkhoff
