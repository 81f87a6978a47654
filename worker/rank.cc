// A step is launched, the next one behind it where the host has nothing to do between the two, and
// landed (waited for); StepOrEnd has the order of all that a step brings with it.
#include "worker/rank.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"
#include "core/plan/check.h"
#include "core/plan/memory.h"
#include "core/spec/load.h"
#include "core/spec/lr_schedule.h"
#include "core/spec/model.h"
#include "core/spec/peak_flops.h"
#include "worker/matrices_file.h"
#include "worker/resume.h"
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

// Waits a little: the rank of a run that was killed a moment ago may still be dying.
absl::StatusOr<std::unique_ptr<RootOwner>> TakeRoot(Disk& disk, const Assignment& assignment) {
  constexpr int kTries = 50;
  constexpr absl::Duration kPause = absl::Milliseconds(100);
  const RootClaim claim = {assignment.job, assignment.output_directory, assignment.attempt};
  absl::StatusOr<std::unique_ptr<RootOwner>> owner;
  for (int i = 0; i < kTries; ++i) {
    owner = RootOwner::Take(disk, CheckpointRoot(assignment), claim);
    if (owner.ok() || !absl::IsFailedPrecondition(owner.status())) break;
    absl::SleepFor(kPause);
  }
  return owner;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Rank>> Rank::Create(const Assignment& assignment,
                                                   const Environment& environment) {
  absl::Status status = CheckAssignment(assignment);
  auto rank = std::unique_ptr<Rank>(new Rank(assignment, environment));
  if (status.ok()) status = rank->Init();
  if (!status.ok()) {
    environment.transport->Abort(status);
    return status;
  }
  return rank;
}

Rank::Rank(const Assignment& assignment, const Environment& environment)
    : assignment_(assignment),
      env_(environment),
      rank_(assignment_.rank % assignment_.plan.num_ranks),
      replica_(assignment_.rank / assignment_.plan.num_ranks),
      steps_in_flight_(StepsInFlight(assignment_.plan.processor)),
      sequences_(std::vector<int>(assignment_.spec.training.micro_batch_size,
                                  assignment_.spec.training.sequence_length)),
      launched_at_(steps_in_flight_),
      activity_(environment.activity != nullptr ? *environment.activity : unwatched_),
      stream_(environment.device->NewStream("rank")) {}

Rank::~Rank() { activity_.Follow(nullptr); }

absl::Status Rank::Init() {
  Starts("model", "builds the model");
  RETURN_IF_ERROR(BuildModel());
  Starts("data", absl::StrCat("opens the data, from ", spec().data.train.front().path));
  ASSIGN_OR_RETURN(data_, DataSource::Open(spec()));
  Starts("room for the plan", "makes room for its plan");
  RETURN_IF_ERROR(BuildExecutor());
  Starts("checkpoints", absl::StrCat("takes ", CheckpointRoot(assignment_)));
  if (assignment_.rank == 0) {
    ASSIGN_OR_RETURN(owner_, TakeRoot(*env_.disk, assignment_));
  }
  Starts("weights", absl::StrCat("resumes from ", CheckpointRoot(assignment_)));
  ASSIGN_OR_RETURN(const ResumePoint point, Resume(assignment_, *store_, data_->facts(), *env_.disk,
                                                   *env_.transport, *env_.device));
  progress_ = point.progress;
  model_->optimizer().RoundWeights(*stream_);
  state_->SetUpdates(*stream_, progress_.step - progress_.skipped);
  next_step_ = progress_.step;
  if (assignment_.rank == 0) {
    // A late one must not take the file from its successor.
    const auto may_replace = [this] { return owner_->Check(); };
    ASSIGN_OR_RETURN(metrics_, MetricsFile::Open(*env_.disk, assignment_.output_directory,
                                                 progress_.step, may_replace));
    RETURN_IF_ERROR(WriteJobFile());
  }
  Starts("room for a copy", "makes room for the copy that checkpoints are written from");
  Checkpointer::Parts parts = {&assignment_,  store_.get(),    env_.device, env_.disk,
                               env_.listener, &data_->facts(), owner_.get()};
  parts.activity = &activity_;
  parts.origin = point.origin;
  // A resumed attempt keeps the rows up to its step.
  if (metrics_ != nullptr) parts.before_commit = [this] { return metrics_->Flush(); };
  ASSIGN_OR_RETURN(checkpointer_, Checkpointer::Create(parts));
  env_.listener->Send(RankReady{assignment_.job, assignment_.attempt, assignment_.rank,
                                progress_.step, point.note, point.notice});
  return absl::OkStatus();
}

void Rank::Starts(const char* phase, std::string what) {
  start_times_.Begin(phase, env_.clock->Now());
  activity_.Begin(std::move(what));
}

absl::StatusOr<bool> Rank::RunStep() {
  absl::StatusOr<bool> more = StepOrEnd();
  if (!more.ok()) env_.transport->Abort(more.status());  // peers must not wait for this rank
  return more;
}

void Rank::CommitCheckpoint(const birkhoff::CommitCheckpoint& commit) {
  if (commit.attempt == assignment_.attempt) checkpointer_->Commit(commit);
}

absl::Status Rank::Finish() {
  activity_.Begin("waits for its last checkpoint to be committed");
  const absl::Status status = checkpointer_->Finish([this] { return env_.transport->status(); });
  if (!status.ok()) env_.transport->Abort(status);  // a healthy one waits for its peers
  return status;
}

// The resolved spec beside what it makes, as `birkhoff run` leaves it too.
absl::Status Rank::WriteJobFile() {
  const std::string path = assignment_.output_directory + "/job.yaml";
  const std::string text = JobSpecToYaml(spec());
  if (const auto there = env_.disk->Read(path); there.ok() && *there == text) {
    return absl::OkStatus();
  }
  return ReplaceFile(*env_.disk, path, text);
}

absl::Status Rank::BuildModel() {
  ASSIGN_OR_RETURN(store_, ParameterStore::Create(plan(), rank_, replica_, spec(), *env_.device));
  ASSIGN_OR_RETURN(state_, StepState::Create(spec().model, assignment_.world_size, *env_.device,
                                             steps_in_flight_));
  ASSIGN_OR_RETURN(
      model_, BuildRankModel(plan(), rank_, spec(), *store_, *state_, *env_.device, env_.products));
  return AllocateImages();
}

// One image for each kBatch that the programs in flight load: a step needs no wait for its
// uploads.
absl::Status Rank::AllocateImages() {
  ASSIGN_OR_RETURN(images_, env_.device->AllocateHost(BytesOf(MyPlan(), kTokenStagingItem)));
  image_of_stage_.resize(plan().NumStages());
  const int64_t microbatches =
      std::max(plan().num_microbatches, plan().num_evaluation_microbatches);
  image_slot_bytes_ = images_->size() / steps_in_flight_;
  std::byte* next = images_->data();
  for (const int s : MyPlan().stages) {
    image_of_stage_[s] = next;
    next += LayoutOf(s).BytesOf(Home::kBatch) * microbatches;
  }
  return absl::OkStatus();
}

absl::Status Rank::BuildExecutor() {
  std::vector<int> world(assignment_.world_size);
  std::iota(world.begin(), world.end(), 0);
  world_ = env_.transport->group(world);
  Executor::Parts parts;
  parts.plan = &plan();
  parts.rank = rank_;
  parts.replica = replica_;
  parts.attempt = assignment_.attempt;
  parts.device = env_.device;
  parts.transport = env_.transport;
  parts.store = store_.get();
  for (int s = 0; s < plan().NumStages(); ++s) parts.stages.push_back(model_->stage(s));
  parts.hooks = this;
  parts.steps_in_flight = steps_in_flight_;
  parts.graphs = env_.graphs && assignment_.world_size == 1;
  parts.log = env_.log;
  if (env_.graphs && !parts.graphs && env_.log != nullptr && plan().processor == Processor::kCuda) {
    env_.log(NotReplayed("what ranks swap passes through their hosts"));
  }
  ASSIGN_OR_RETURN(executor_, Executor::Create(parts));
  activity_.Follow([this] { return executor_->Look(); });
  return absl::OkStatus();
}

absl::StatusOr<bool> Rank::StepOrEnd() {
  if (progress_.step >= spec().training.steps || stopped_) return false;
  if (!started_) start_times_.Begin("first step", env_.clock->Now());
  if (next_step_ == progress_.step) Launch();
  if (MayRunAhead()) Launch();
  RETURN_IF_ERROR(Land());
  if (!std::exchange(started_, true) && env_.log != nullptr) {
    env_.log(start_times_.Describe(env_.clock->Now()));
  }
  const bool in_flight = next_step_ > progress_.step;  // then nothing is due between the two
  StepReport report = Report();
  if (ValidationIsDueAfter(progress_.step)) {
    ASSIGN_OR_RETURN(report.validation_loss, Validate());
  }
  const bool stop = hosts_.stop && !in_flight;
  const bool checkpoint = stop || CheckpointIsDueAfter(progress_.step);
  if (metrics_ != nullptr) RETURN_IF_ERROR(KeepOutput(checkpoint));
  if (metrics_ != nullptr) RETURN_IF_ERROR(metrics_->Append(report, env_.clock->WallTime()));
  if (metrics_ != nullptr && checkpoint) DrawMatrices();
  env_.listener->Send(StepDone{assignment_.job, assignment_.attempt, assignment_.rank, report});
  if (checkpoint) RETURN_IF_ERROR(Trace());
  if (checkpoint) WriteCheckpoint();
  RETURN_IF_ERROR(CheckSkips());
  const bool more = progress_.step < spec().training.steps;
  stopped_ = more && stop;
  return more && !stopped_;
}

// What somebody removes under a running job is made anew, and told: the weights are in memory.
absl::Status Rank::KeepOutput(bool checkpoint) {
  const bool rows = !metrics_->Removed();
  const bool root = (rows && !checkpoint) || !absl::IsUnavailable(owner_->Check());
  if (rows && root) return absl::OkStatus();
  const absl::Status restored = owner_->Restore();
  if (MayPass(restored)) return absl::OkStatus();  // a disk in trouble: at the next step again
  RETURN_IF_ERROR(restored);
  const std::string what =
      rows ? CheckpointRoot(assignment_)
           : absl::StrCat(assignment_.output_directory, root ? "/metrics.jsonl" : "");
  env_.listener->Send(Noticed{
      assignment_.job, assignment_.attempt, assignment_.rank, kOutputRemoved, progress_.step,
      absl::StrCat("step ", progress_.step, ": ", what,
                   " was removed while the job runs; it was made anew, and what it held of the "
                   "steps before is gone")});
  return absl::OkStatus();
}

// The device may go on with the next step while the host reads the last: not where the host has
// something to do between the two, which all ranks know alike.
bool Rank::MayRunAhead() const {
  return next_step_ - progress_.step < steps_in_flight_ && !hosts_.stop &&
         next_step_ < spec().training.steps && !ValidationIsDueAfter(next_step_) &&
         !CheckpointIsDueAfter(next_step_);
}

// How the last step ran, on all ranks.
absl::Status Rank::Trace() {
  std::vector<double> mine(TraceLength(plan()));
  PackTimes(train_times_, mine);
  ASSIGN_OR_RETURN(const std::vector<double> all,
                   Gather(env_.transport->council(), std::span<const double>(mine)));
  if (assignment_.rank != 0) return absl::OkStatus();
  // A picture and no result: training has not failed when it cannot be written.
  (void)WriteTrace(*env_.disk, assignment_.output_directory,
                   TraceToJson(plan(), progress_.step, all));
  return absl::OkStatus();
}

// A picture as the trace is one; a resumed attempt makes it anew.
void Rank::DrawMatrices() {
  const int64_t last = progress_.step - 1;
  (void)WriteMatrices(*env_.disk, assignment_.output_directory,
                      MatricesToJson(state_->layout(), state_->host_gathered(Slot(last)),
                                     TokensPerStep(), progress_.step));
}

// Enqueues step `next_step_` behind those in flight.
void Rank::Launch() {
  activity_.Begin(absl::StrCat("step ", next_step_ + 1));
  training_ = true;
  captured_ = false;
  launched_at_[Slot(next_step_)] = env_.clock->Now();
  state_->Reset(*stream_);
  state_->SetLearningRate(*stream_, LearningRateOf(next_step_), Slot(next_step_));
  // Of the whole step, over all replicas: what losses and gradients are divided by.
  const int64_t batch = spec().training.global_batch_size;
  executor_->StartTrain(data_->TrainTargets(next_step_ * batch, batch), *stream_,
                        /*replay=*/!CheckpointIsDueAfter(next_step_ + 1));
  ++next_step_;
}

// Waits for the oldest step in flight.
absl::Status Rank::Land() {
  // What the devices agreed on, folded again from the same shares.
  RETURN_IF_ERROR(executor_->FinishTrain());
  RETURN_IF_ERROR(data_status_);
  train_times_ = executor_->times();
  agreed_ =
      FoldShares(state_->layout(), state_->host_gathered(Slot(progress_.step)), TokensPerStep());
  // What only hosts know; then the step counts.
  RETURN_IF_ERROR(AskHosts());
  ++progress_.step;
  progress_.tokens += agreed_.target_tokens;
  progress_.skipped += agreed_.skip ? 1 : 0;
  progress_.skipped_in_a_row = agreed_.skip ? progress_.skipped_in_a_row + 1 : 0;
  return absl::OkStatus();
}

absl::Status Rank::AskHosts() {
  const Utilization used = executor_->utilization();
  compute_seconds_ = static_cast<double>(used.busy_ns) * 1e-9;
  const HostShare mine = {
      stop_requested_ ? 1.0 : 0.0,          static_cast<double>(used.busy_ns),
      static_cast<double>(used.elapsed_ns), static_cast<double>(used.exposed_ns),
      static_cast<double>(used.span_ns),    static_cast<double>(checkpointer_->failed())};
  ASSIGN_OR_RETURN(const std::vector<HostShare> all,
                   Gather(env_.transport->council(), std::span<const HostShare>(&mine, 1)));
  const int64_t known = hosts_.failed_checkpoint;
  hosts_ = FoldHostShares(all);
  if (hosts_.failed_checkpoint > known) checkpointer_->Discard(hosts_.failed_checkpoint);
  return absl::OkStatus();
}

double Rank::LearningRateOf(int64_t step) const {
  return LearningRate(spec().lr_schedule, spec().optimizer.lr, spec().training.steps, step);
}

absl::Status Rank::CheckSkips() const {
  const int limit = spec().stability.max_skipped_steps;
  if (progress_.skipped_in_a_row <= limit) return absl::OkStatus();
  const std::string reason = absl::StrCat(
      "step ", progress_.step, ": loss or gradient not finite in ", progress_.skipped_in_a_row,
      " steps in a row; stability.max_skipped_steps is ", limit);
  return WithExitCode(absl::OutOfRangeError(reason), ExitCode::kNumerics);
}

bool Rank::ValidationIsDueAfter(int64_t step) const {
  const int64_t interval = spec().training.validation_interval;
  if (interval == 0 || plan().num_evaluation_microbatches == 0) return false;
  if (data_->num_validation_samples() == 0) return false;
  return step % interval == 0 || step == spec().training.steps;
}

bool Rank::CheckpointIsDueAfter(int64_t step) const {
  const int64_t interval = spec().checkpoint.interval;
  return step == spec().training.steps || (interval > 0 && step % interval == 0);
}

void Rank::WriteCheckpoint() {
  if (!captured_) {  // asked for while the step ran
    checkpointer_->Capture(*stream_);
    stream_->Synchronize();
  }
  const bool last = hosts_.stop || progress_.step >= spec().training.steps;
  checkpointer_->Write(progress_,
                       last ? Checkpointer::Patience::kLast : Checkpointer::Patience::kNone);
}

absl::StatusOr<double> Rank::Validate() {
  activity_.Begin(absl::StrCat("validation after step ", progress_.step));
  training_ = false;
  state_->Reset(*stream_);
  stream_->Synchronize();
  RETURN_IF_ERROR(executor_->RunEvaluate());
  RETURN_IF_ERROR(data_status_);
  state_->DownloadShare(*stream_);
  stream_->Synchronize();
  const std::span<const double> mine = state_->host_share().first(ShareLayout::kTargets + 1);
  ASSIGN_OR_RETURN(const std::vector<double> all, Gather(env_.transport->council(), mine));
  double loss = 0.0, tokens = 0.0;
  for (size_t at = 0; at < all.size(); at += mine.size()) {
    loss += all[at + ShareLayout::kLoss];
    tokens += all[at + ShareLayout::kTargets];
  }
  return loss / std::max(tokens, 1.0);
}

// The model's own, of all ranks: what is computed anew or for nothing does not count.
double Rank::FlopsOfStep() const {
  const TrainingSpec& training = spec().training;
  const double tokens = double{1} * training.global_batch_size * training.sequence_length;
  return tokens * TrainFlopsPerToken(spec().model, training.sequence_length);
}

StepReport Rank::Report() {
  // From the end of the last step where this one was waiting behind it.
  const Instant now = env_.clock->Now();
  const absl::Duration duration =
      now - std::max(launched_at_[Slot(progress_.step - 1)], landed_at_);
  landed_at_ = now;
  StepReport report;
  report.step = progress_.step;
  report.loss = agreed_.loss;
  report.grad_norm = agreed_.grad_norm;
  report.lr = LearningRateOf(progress_.step - 1);
  report.tokens = agreed_.target_tokens;
  report.total_tokens = progress_.tokens;
  report.step_seconds = absl::ToDoubleSeconds(duration);
  if (report.step_seconds > 0.0) {
    report.tokens_per_second = static_cast<double>(report.tokens) / report.step_seconds;
  }
  if (report.step_seconds > 0.0 && env_.peak_flops > 0.0) {
    report.mfu = FlopsUtilization(FlopsOfStep(), report.step_seconds,
                                  env_.peak_flops * assignment_.world_size);
  }
  report.bubble = hosts_.bubble;
  report.exposed_transfer = hosts_.exposed_transfer;
  report.compute_seconds = compute_seconds_;
  report.skipped = agreed_.skip;
  report.skipped_total = progress_.skipped;
  report.gain = agreed_.gain;
  report.mixing = agreed_.mixing;
  report.memory_bytes = DeviceBytes(MyPlan());
  return report;
}

void Rank::Prepare(int stage, int microbatch) {
  FillImage(LayoutOf(stage), microbatch, ImageOf(stage, microbatch));
}

void Rank::Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) {
  stream.Upload(buffers.Of(Home::kBatch), ImageOf(stage, microbatch),
                LayoutOf(stage).BytesOf(Home::kBatch));
}

std::byte* Rank::ImageOf(int stage, int microbatch) const {
  std::byte* const slot = image_of_stage_[stage] + Slot(next_step_) * image_slot_bytes_;
  return slot + microbatch * LayoutOf(stage).BytesOf(Home::kBatch);
}

void Rank::FillImage(const StageLayout& layout, int microbatch, std::byte* image) {
  const int length = spec().training.sequence_length;
  const int sequences = spec().training.micro_batch_size;
  WritePositions(layout, sequences_.shape(), image);
  const MicrobatchTokens tokens = TokensOf(layout, image);
  const int microbatches = training_ ? plan().num_microbatches : plan().num_evaluation_microbatches;
  int64_t sample = int64_t{replica_} * microbatches * sequences + microbatch * sequences;
  if (training_) sample += next_step_ * spec().training.global_batch_size;
  for (int i = 0; i < sequences; ++i, ++sample) {
    const auto inputs = tokens.inputs.subspan(size_t(i) * length, length);
    const auto targets = tokens.targets.subspan(size_t(i) * length, length);
    data_status_.Update(training_ ? data_->Train(sample, inputs, targets)
                                  : LoadValidation(sample, inputs, targets));
    if (!data_status_.ok()) NoTokens(inputs, targets);
  }
}

// Harmless on every device: the step runs to its end, and its result is thrown away.
void Rank::NoTokens(std::span<int32_t> inputs, std::span<int32_t> targets) {
  std::ranges::fill(inputs, 0);
  std::ranges::fill(targets, -1);
}

// Schedule and replicas may need more micro-batches than the spec has; those have no targets, so
// that the loss does not depend on the plan.
absl::Status Rank::LoadValidation(int64_t sample, std::span<int32_t> inputs,
                                  std::span<int32_t> targets) const {
  const TrainingSpec& training = spec().training;
  if (sample < int64_t{training.validation_batches} * training.micro_batch_size) {
    return data_->Validation(sample, inputs, targets);
  }
  NoTokens(inputs, targets);
  return absl::OkStatus();
}

void Rank::Agree(Stream& stream) {
  if (!training_) return;  // Validate gathers what it needs
  model_->optimizer().AddNorm(stream);
  world_->AllGather(stream, state_->share(), state_->layout().length(), state_->gathered(), -1);
  model_->optimizer().Decide(stream);
  state_->DownloadGathered(stream, Slot(next_step_));
}

void Rank::Optimizer(Stream& stream) {
  model_->optimizer().Step(stream);
  for (int s = 0; s < plan().NumStages(); ++s) {
    if (StageModule* stage = model_->stage(s)) stage->StartGradients();
  }
}

void Rank::Snapshot(Stream& stream) {
  captured_ = CheckpointIsDueAfter(next_step_ + 1);
  if (captured_) checkpointer_->Capture(stream);
}

}  // namespace birkhoff
