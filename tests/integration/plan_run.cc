// A rank is a thread with a device, store and executor of its own; it is also the executor's hooks,
// which make up samples and update weights.  What ranks computed is added up once all have ended.
#include "tests/integration/plan_run.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/plan/compile.h"
#include "tests/testing/test_device.h"
#include "tests/worker/random_parameters.h"
#include "worker/executor.h"
#include "worker/rank_model.h"
#include "worker/transport/local.h"

namespace birkhoff {
namespace {

constexpr uint64_t kWeightSeed = 5, kDataSeed = 6;
constexpr float kLearningRate = 0.0005f;

// What one rank adds to the numbers of a program.
struct Share {
  double loss = 0.0;
  double tokens = 0.0;
  double squared_gradient = 0.0;
};

// One rank: its stages, its weights, and what its hooks do.  Updates weights by host work, in the
// device's memory: that is, on a CPU.
class RankThread final : public StepHooks {
 public:
  RankThread(const Plan& plan, const JobSpec& spec, int global_rank)
      : plan_(plan),
        spec_(spec),
        rank_(global_rank % plan.num_ranks),
        replica_(global_rank / plan.num_ranks),
        sequence_(std::vector<int>{static_cast<int>(plan.tokens_per_microbatch)}),
        device_(NewTestDevice()) {}

  absl::Status Run(LocalHub& hub, int steps) {
    const int global = replica_ * plan_.num_ranks + rank_;
    transport_ = NewLocalTransport(hub, plan_, {.rank = global, .check_stamps = true});
    RETURN_IF_ERROR(MakeStages());
    const int64_t targets =
        int64_t{plan_.num_microbatches} * plan_.num_replicas * plan_.tokens_per_microbatch;
    for (step_ = 0; step_ < steps; ++step_) {
      RETURN_IF_ERROR(executor_->RunTrain(targets));
      steps_.push_back(TakeShare());
    }
    evaluates_ = true;
    RETURN_IF_ERROR(executor_->RunEvaluate());
    evaluation_ = TakeShare();
    return absl::OkStatus();
  }
  void Abort(const absl::Status& reason) { transport_->Abort(reason); }

  const std::vector<Share>& steps() const { return steps_; }
  const Share& evaluation() const { return evaluation_; }

  MicrobatchShape ShapeOf(int) const override { return sequence_.shape(); }

  void Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) override {
    const int64_t sample =
        evaluates_ ? int64_t{replica_} * plan_.num_evaluation_microbatches + microbatch
                   : (int64_t{step_} * plan_.num_replicas + replica_) * plan_.num_microbatches +
                         microbatch;
    const StageLayout& layout = model_->stage(stage)->layout();
    std::vector<std::byte>& image = images_.emplace_back(layout.BytesOf(Home::kBatch));
    WritePositions(layout, sequence_.shape(), image.data());
    const MicrobatchTokens tokens = TokensOf(layout, image.data());
    Rng rng(kDataSeed + static_cast<uint64_t>(sample), evaluates_ ? "held out" : "train");
    const auto vocabulary = static_cast<uint64_t>(spec_.model.vocab_size);
    for (int32_t& token : tokens.inputs) token = static_cast<int32_t>(rng.Below(vocabulary));
    for (int32_t& token : tokens.targets) token = static_cast<int32_t>(rng.Below(vocabulary));
    // What schedule and replicas need beyond the spec has no targets, as in the rank.
    if (evaluates_ && sample >= spec_.training.validation_batches) {
      std::ranges::fill(tokens.targets, -1);
    }
    stream.Upload(buffers.Of(Home::kBatch), image.data(), static_cast<int64_t>(image.size()));
  }

  void Agree(Stream& stream) override {
    model_->optimizer().AddNorm(stream);
    state_->DownloadShare(stream);
    state_->Reset(stream);
  }

  void Optimizer(Stream& stream) override {
    stream.HostWork([this] {
      for (const ParameterStore::Slot& slot : store_->slots()) {
        float* const weight = slot.weight.address();
        float* const gradient = slot.gradient.address();
        for (int64_t i = 0; i < slot.count; ++i) {
          weight[i] -= kLearningRate * gradient[i];
          gradient[i] = 0.0f;
        }
      }
    });
  }

  void Snapshot(Stream&) override {}

 private:
  absl::Status MakeStages() {
    ASSIGN_OR_RETURN(store_, ParameterStore::Create(plan_, rank_, replica_, spec_, *device_));
    const int world = plan_.num_ranks * plan_.num_replicas;
    ASSIGN_OR_RETURN(state_, StepState::Create(spec_.model, world, *device_));
    ASSIGN_OR_RETURN(model_, BuildRankModel(plan_, rank_, spec_, *store_, *state_, *device_));
    DrawWeights();
    std::vector<StageModule*> stages;
    for (int s = 0; s < plan_.NumStages(); ++s) stages.push_back(model_->stage(s));
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

  void DrawWeights() {
    const std::unique_ptr<Stream> stream = device_->NewStream("weights");
    for (const ParameterStore::Slot& slot : store_->slots()) {
      Rng rng(kWeightSeed, slot.spec.name);
      std::vector<float> values(slot.count);
      for (float& value : values) value = static_cast<float>(RandomValue(slot.spec, rng));
      Upload(*stream, slot.weight, values.data(), slot.count);
      stream->Synchronize();
    }
  }

  // Of the program that has run.
  Share TakeShare() {
    images_.clear();
    const std::span<const double> share = state_->host_share();
    return {share[ShareLayout::kLoss], share[ShareLayout::kTargets],
            share[ShareLayout::kSquaredNorm]};
  }

  const Plan& plan_;
  const JobSpec& spec_;
  const int rank_, replica_;
  const PackedSequences sequence_;  // every micro-batch is one
  int step_ = 0;
  bool evaluates_ = false;
  std::deque<std::vector<std::byte>> images_;  // of batches, until the program is over
  std::vector<Share> steps_;
  Share evaluation_;
  const std::unique_ptr<Device> device_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<StepState> state_;
  std::unique_ptr<RankModel> model_;
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

double Mean(const Share& share) { return share.loss / share.tokens; }

bool Near(double a, double b) { return std::abs(a - b) <= 1.0e-5 * std::max(std::abs(b), 1.0e-3); }

}  // namespace

absl::StatusOr<PlanRun> RunPlan(const Plan& plan, const JobSpec& spec, int steps) {
  const int world = plan.num_ranks * plan.num_replicas;
  LocalHub hub(world);
  std::vector<std::unique_ptr<RankThread>> ranks;
  for (int i = 0; i < world; ++i) ranks.push_back(std::make_unique<RankThread>(plan, spec, i));
  std::vector<absl::Status> results(world);
  std::vector<std::thread> threads;
  for (int i = 0; i < world; ++i) {
    threads.emplace_back([&, i] {
      results[i] = ranks[i]->Run(hub, steps);
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
