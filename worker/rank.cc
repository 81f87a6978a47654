#include "worker/rank.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/check.h"
#include "core/spec/lr_schedule.h"
#include "worker/agree.h"
#include "worker/checkpointer.h"
#include "worker/data_source.h"
#include "worker/executor.h"
#include "worker/metrics_file.h"
#include "worker/microbatch.h"
#include "worker/optimizer.h"
#include "worker/resume.h"
#include "worker/stage.h"
#include "worker/trace.h"

namespace birkhoff {
namespace {

absl::Status CheckAssignment(const Assignment& assignment) {
  const Plan& plan = assignment.plan;
  if (const std::string hash = PlanHash(plan); hash != assignment.plan_hash) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan has hash ", hash, "; the assignment says ", assignment.plan_hash));
  }
  if (const std::string hash = ModelHash(assignment.spec.model); hash != plan.model_hash) {
    return absl::InvalidArgumentError(
        absl::StrCat("the spec's model has hash ", hash, "; the plan is for ", plan.model_hash));
  }
  const int world = plan.num_ranks * plan.num_replicas;
  if (assignment.world_size != world || assignment.rank < 0 || assignment.rank >= world) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", assignment.rank, " of ",
                                                   assignment.world_size, "; the plan has ", world,
                                                   " ranks"));
  }
  const absl::Status checked = CheckPlan(plan, assignment.spec);
  return checked.ok() ? checked : absl::InvalidArgumentError(checked.message());
}

class TrainingRank final : public Rank, private StepHooks {
 public:
  TrainingRank(const Assignment& assignment, const Environment& environment)
      : assignment_(assignment),
        env_(environment),
        rank_(assignment_.rank % assignment_.plan.num_ranks),
        replica_(assignment_.rank / assignment_.plan.num_ranks),
        stream_(environment.device->NewStream("rank")) {}

  absl::Status Init() {
    RETURN_IF_ERROR(BuildModel());
    ASSIGN_OR_RETURN(data_, OpenDataSource(spec()));
    RETURN_IF_ERROR(BuildExecutor());
    ASSIGN_OR_RETURN(const ResumePoint point,
                     Resume(assignment_, *store_, *env_.disk, *env_.transport, *env_.device));
    progress_ = point.progress;
    if (assignment_.rank == 0) {
      ASSIGN_OR_RETURN(metrics_,
                       MetricsFile::Open(*env_.disk, assignment_.output_directory, progress_.step));
    }
    ASSIGN_OR_RETURN(checkpointer_, Checkpointer::Create({&assignment_, store_.get(), env_.device,
                                                          env_.disk, env_.listener}));
    env_.listener->Send(RankReady{assignment_.job, assignment_.attempt, assignment_.rank,
                                  progress_.step, point.note});
    return absl::OkStatus();
  }

  absl::StatusOr<bool> RunStep() override {
    absl::StatusOr<bool> more = StepOrEnd();
    if (!more.ok()) env_.transport->Abort(more.status());  // peers must not wait for this rank
    return more;
  }
  void RequestStop() override { stop_requested_ = true; }
  bool stopped() const override { return stopped_; }
  void CommitCheckpoint(const birkhoff::CommitCheckpoint& commit) override {
    if (commit.attempt == assignment_.attempt) checkpointer_->Commit(commit);
  }
  absl::Status Finish() override {
    const absl::Status status = checkpointer_->Finish([this] { return env_.transport->status(); });
    if (!status.ok())
      env_.transport->Abort(status);  // a healthy one waits for its peers at the end
    return status;
  }

 private:
  const JobSpec& spec() const { return assignment_.spec; }
  const Plan& plan() const { return assignment_.plan; }

  absl::Status BuildModel() {
    ASSIGN_OR_RETURN(store_, ParameterStore::Create(plan(), rank_, replica_, spec(), *env_.device));
    stages_.resize(plan().NumStages());
    for (const int s : plan().ranks[rank_].stages) {
      LayoutRequest request;
      request.model = spec().model;
      request.units = plan().stages[s].units;
      request.recompute_block = plan().recompute_block;
      request.tokens = plan().tokens_per_microbatch;
      request.sequence_length = spec().training.sequence_length;
      stages_[s] = NewCpuStage(request, *store_);
      share_.stages.push_back(stages_[s].get());
    }
    optimizer_ = std::make_unique<AdamWOptimizer>(spec(), *store_);
    return absl::OkStatus();
  }

  absl::Status BuildExecutor() {
    std::vector<int> world(assignment_.world_size);
    std::iota(world.begin(), world.end(), 0);
    world_ = env_.transport->group(world);
    gathered_.resize(AgreeLength(spec().model) * assignment_.world_size);
    packed_.resize(AgreeLength(spec().model));
    Executor::Parts parts;
    parts.plan = &plan();
    parts.rank = rank_;
    parts.replica = replica_;
    parts.attempt = assignment_.attempt;
    parts.device = env_.device;
    parts.transport = env_.transport;
    parts.store = store_.get();
    for (const auto& stage : stages_) parts.stages.push_back(stage.get());
    parts.hooks = this;
    ASSIGN_OR_RETURN(executor_, Executor::Create(parts));
    return absl::OkStatus();
  }

  absl::StatusOr<bool> StepOrEnd() {
    if (progress_.step >= spec().training.steps || stopped_) return false;
    const Instant start = env_.clock->Now();
    RETURN_IF_ERROR(Train());
    StepReport report = Report(env_.clock->Now() - start);
    if (ValidationIsDue()) {
      ASSIGN_OR_RETURN(report.validation_loss, Validate());
    }
    const bool checkpoint = CheckpointIsDue();
    // Before the checkpoint can be committed: a resumed attempt keeps the rows up to its step.
    if (metrics_ != nullptr) RETURN_IF_ERROR(metrics_->Append(report, checkpoint));
    env_.listener->Send(StepDone{assignment_.job, assignment_.attempt, assignment_.rank, report});
    if (checkpoint) checkpointer_->Write(progress_);
    RETURN_IF_ERROR(CheckSkips());
    const bool more = progress_.step < spec().training.steps;
    stopped_ = more && agreed_.stop;
    if (!more || stopped_) RETURN_IF_ERROR(Trace());
    return more && !stopped_;
  }

  // How the last step ran, on all ranks.
  absl::Status Trace() {
    const int64_t length = TraceLength(plan());
    std::vector<double> mine(length), all(length * assignment_.world_size);
    PackTimes(train_times_, mine);
    world_->AllGather(*stream_, mine.data(), length, all.data(), -1);
    stream_->Synchronize();
    RETURN_IF_ERROR(env_.transport->status());
    if (assignment_.rank != 0) return absl::OkStatus();
    // A picture and no result: training has not failed when it cannot be written.
    (void)WriteTrace(*env_.disk, assignment_.output_directory, TraceToJson(plan(), all));
    return absl::OkStatus();
  }

  absl::Status Train() {
    agreed_ = {};
    training_ = true;
    ResetSums();
    // Of the whole step, over all replicas: what losses and gradients are divided by.
    const int64_t batch = spec().training.global_batch_size;
    RETURN_IF_ERROR(executor_->RunTrain(data_->TrainTargets(progress_.step * batch, batch)));
    train_times_ = executor_->times();
    ++progress_.step;
    progress_.tokens += agreed_.target_tokens;
    progress_.skipped += agreed_.skip ? 1 : 0;
    progress_.skipped_in_a_row = agreed_.skip ? progress_.skipped_in_a_row + 1 : 0;
    return absl::OkStatus();
  }

  void ResetSums() {
    for (const auto& stage : stages_) {
      if (stage != nullptr) stage->ResetSums(*stream_);
    }
    stream_->Synchronize();
  }

  absl::Status CheckSkips() const {
    const int limit = spec().stability.max_skipped_steps;
    if (progress_.skipped_in_a_row <= limit) return absl::OkStatus();
    return absl::OutOfRangeError(absl::StrCat(
        "step ", progress_.step, ": loss or gradient not finite in ", progress_.skipped_in_a_row,
        " steps in a row; stability.max_skipped_steps is ", limit));
  }

  // Of the step that has just been trained, once progress_ has moved on.
  bool ValidationIsDue() const {
    const int64_t interval = spec().training.validation_interval;
    if (interval == 0 || plan().num_evaluation_microbatches == 0) return false;
    if (data_->num_validation_samples() == 0) return false;
    return progress_.step % interval == 0 || progress_.step == spec().training.steps;
  }
  bool CheckpointIsDue() const { return CheckpointIsDueAfter(progress_.step); }
  bool CheckpointIsDueAfter(int64_t step) const {
    const int64_t interval = spec().checkpoint.interval;
    return agreed_.stop || step == spec().training.steps || (interval > 0 && step % interval == 0);
  }

  absl::StatusOr<double> Validate() {
    training_ = false;
    ResetSums();
    RETURN_IF_ERROR(executor_->RunEvaluate());
    double mine[2] = {0.0, 0.0};  // loss sum, target tokens
    for (const StageModule* stage : share_.stages) {
      mine[0] += stage->sums().loss;
      mine[1] += static_cast<double>(stage->sums().target_tokens);
    }
    std::vector<double> all(2 * assignment_.world_size);
    world_->AllGather(*stream_, mine, 2, all.data(), -1);
    stream_->Synchronize();
    RETURN_IF_ERROR(env_.transport->status());
    double loss = 0.0, tokens = 0.0;
    for (int r = 0; r < assignment_.world_size; ++r) {
      loss += all[2 * r];
      tokens += all[2 * r + 1];
    }
    return loss / std::max(tokens, 1.0);
  }

  StepReport Report(absl::Duration duration) const {
    StepReport report;
    report.step = progress_.step;
    report.loss = agreed_.loss;
    report.grad_norm = agreed_.grad_norm;
    report.lr = LearningRate(spec().lr_schedule, spec().optimizer.lr, spec().training.steps,
                             progress_.step - 1);
    report.tokens = agreed_.target_tokens;
    report.total_tokens = progress_.tokens;
    report.step_seconds = absl::ToDoubleSeconds(duration);
    if (report.step_seconds > 0.0) {
      report.tokens_per_second = static_cast<double>(report.tokens) / report.step_seconds;
    }
    report.bubble = agreed_.bubble;
    report.skipped = agreed_.skip;
    report.skipped_total = progress_.skipped;
    report.gain = agreed_.gain;
    report.memory_bytes =
        plan().ranks[rank_].parameter_bytes + plan().ranks[rank_].peak_buffer_bytes;
    return report;
  }

  // StepHooks.
  void Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) override {
    std::byte* batch = buffers.Of(Home::kBatch);
    stream.Submit([this, stage, microbatch, batch] { LoadNow(stage, microbatch, batch); });
  }

  void LoadNow(int stage, int microbatch, std::byte* batch) const {
    const int length = spec().training.sequence_length;
    const int sequences = spec().training.micro_batch_size;
    const StageLayout& layout = stages_[stage]->layout();
    DescribeMicrobatch(layout, std::vector<int>(sequences, length), batch);
    const MicrobatchTokens tokens = TokensOf(layout, batch);
    const int microbatches =
        training_ ? plan().num_microbatches : plan().num_evaluation_microbatches;
    int64_t sample = int64_t{replica_} * microbatches * sequences + microbatch * sequences;
    if (training_) sample += progress_.step * spec().training.global_batch_size;
    for (int i = 0; i < sequences; ++i, ++sample) {
      const auto inputs = tokens.inputs.subspan(size_t(i) * length, length);
      const auto targets = tokens.targets.subspan(size_t(i) * length, length);
      training_ ? data_->Train(sample, inputs, targets) : LoadValidation(sample, inputs, targets);
    }
  }

  // Schedule and replicas may need more micro-batches than the spec has; those have no targets, so
  // that the loss does not depend on the plan.
  void LoadValidation(int64_t sample, std::span<int32_t> inputs, std::span<int32_t> targets) const {
    const TrainingSpec& training = spec().training;
    if (sample < int64_t{training.validation_batches} * training.micro_batch_size) {
      return data_->Validation(sample, inputs, targets);
    }
    std::ranges::fill(inputs, 0);
    std::ranges::fill(targets, -1);
  }

  void Agree(Stream& stream) override {
    if (!training_) return;  // Validate gathers what it needs
    stream.Submit([this] {
      share_.norm = optimizer_->OwnedNorm();
      share_.stop = stop_requested_;
      share_.utilization = executor_->utilization();
      PackShare(spec().model, share_, packed_);
    });
    world_->AllGather(stream, packed_.data(), static_cast<int64_t>(packed_.size()),
                      gathered_.data(), -1);
    stream.Submit([this] {
      if (!env_.transport->status().ok()) return;  // agreed_.skip stays
      const int64_t rows =
          int64_t{spec().training.global_batch_size} * spec().training.sequence_length;
      agreed_ = FoldShares(spec().model, gathered_, {spec().training.clip_grad, rows});
    });
  }

  void Optimizer(Stream& stream) override {
    stream.Submit([this] {
      const int64_t update = progress_.step + 1 - progress_.skipped;
      optimizer_->Apply(progress_.step, update, agreed_);
    });
  }

  void Snapshot(Stream& stream) override {
    stream.Submit([this] {
      if (!env_.transport->status().ok()) return;
      if (CheckpointIsDueAfter(progress_.step + 1)) checkpointer_->Capture();
    });
  }

  const Assignment assignment_;
  const Environment env_;
  const int rank_;  // in the pipeline
  const int replica_;
  std::unique_ptr<ParameterStore> store_;
  std::vector<std::unique_ptr<StageModule>> stages_;  // by plan stage; null: not of this rank
  std::unique_ptr<DataSource> data_;
  std::unique_ptr<AdamWOptimizer> optimizer_;
  std::unique_ptr<MetricsFile> metrics_;  // rank 0 only
  Group* world_ = nullptr;

  Progress progress_;     // of finished steps
  bool training_ = true;  // which program runs
  RankShare share_;       // of the running step
  std::vector<double> packed_, gathered_;
  Agreement agreed_;  // of the running or last step
  std::atomic<bool> stop_requested_{false};
  bool stopped_ = false;
  std::vector<InstructionTime> train_times_;  // of the last step

  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<Stream> stream_;      // of this object's own work between programs
  std::unique_ptr<Executor> executor_;  // last: its streams use the fields above
};

}  // namespace

absl::StatusOr<std::unique_ptr<Rank>> Rank::Create(const Assignment& assignment,
                                                   const Environment& environment) {
  absl::Status status = CheckAssignment(assignment);
  auto rank = std::make_unique<TrainingRank>(assignment, environment);
  if (status.ok()) status = rank->Init();
  if (!status.ok()) {
    environment.transport->Abort(status);
    return status;
  }
  return rank;
}

}  // namespace birkhoff
