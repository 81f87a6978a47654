// One On per event: is it of this attempt and new, what does it change, what follows.  An attempt
// ends rank by rank (RankGone); once all are gone, Settle says what that means to the job.
#include "coordinator/job.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kFirstRestartDelay = absl::Milliseconds(100);
constexpr absl::Duration kFirstDiskDelay = absl::Seconds(1);
constexpr absl::Duration kLongestRestartDelay = absl::Minutes(1);
// As long as a rank waits for its last checkpoint to fit: 15 minutes of delays.
constexpr int kMaxDiskRestarts = 20;

absl::Duration Doubled(absl::Duration first, int times) {
  return std::min(first * (1 << std::min(times, 10)), kLongestRestartDelay);
}

// The first restart is immediate; a job that dies again and again waits twice as long each time.
absl::Duration RestartDelay(int restarts_in_row) {
  if (restarts_in_row <= 1) return absl::ZeroDuration();
  return Doubled(kFirstRestartDelay, restarts_in_row - 2);
}

// " with device cuda", or nothing where any will do.
std::string WithDevice(const JobSpec& spec) {
  const DeviceKind device = NeededDevice(spec);
  if (device == DeviceKind::kAuto) return "";
  return device == DeviceKind::kCuda ? " with device cuda" : " with device cpu";
}

// A gain is back once it is below so much of its bound: one that wavers around it is one event.
constexpr double kGainBackRatio = 0.9;
// Streams whose similarity is above the one have collapsed; below the other they are apart again.
constexpr double kCollapsed = 0.999, kApart = 0.99;

bool IsClean(ExitCode code) { return code == ExitCode::kDone || code == ExitCode::kStopped; }

}  // namespace

const char* JobStateName(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kStarting:
      return "STARTING";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kRecovering:
      return "RECOVERING";
    case JobState::kCancelling:
      return "CANCELLING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

Job::Job(std::string name, JobGraces graces) : name_(std::move(name)), graces_(graces) {}

absl::StatusOr<std::vector<JobEffect>> Job::Step(Instant now, const JobEvent& event) {
  if (request_.spec == nullptr && !std::holds_alternative<JobCreated>(event)) {
    return absl::FailedPreconditionError(absl::StrCat(name_, ": not created yet"));
  }
  return std::visit([&](const auto& e) { return On(now, e); }, event);
}

absl::StatusOr<Job::Effects> Job::On(Instant, const JobCreated& event) {
  if (request_.spec != nullptr) return absl::AlreadyExistsError(name_);
  if (event.spec == nullptr) return absl::InvalidArgumentError("a job needs a spec");
  request_ = event;
  Enter(JobState::kQueued, kWaitingForWorkers,
        absl::StrCat("waits for ", NumRanks(spec()), " idle worker",
                     NumRanks(spec()) == 1 ? "" : "s", WithDevice(spec())));
  return Effects{};
}

absl::StatusOr<Job::Effects> Job::On(Instant, const AttemptPlaced& event) {
  if (!MayBePlaced()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name_, " is ", JobStateName(state_), " and takes no workers"));
  }
  if (event.attempt != attempt_ + 1) {
    return absl::AbortedError(absl::StrCat("attempt ", event.attempt, "; need ", attempt_ + 1));
  }
  if (static_cast<int>(event.workers.size()) != NumRanks(spec())) {
    return absl::InvalidArgumentError(
        absl::StrCat(event.workers.size(), " workers; need ", NumRanks(spec())));
  }
  attempt_ = event.attempt;
  plan_hash_ = event.plan_hash;
  cluster_shape_ = event.cluster_shape;
  ranks_.clear();
  for (const PlacedWorker& worker : event.workers) ranks_.emplace_back().worker = worker;
  shards_.clear();
  committed_in_attempt_ = 0;
  step_in_attempt_ = 0;
  output_removed_ = 0;
  aborting_ = false;
  deadline_.reset();
  Enter(JobState::kStarting, "ATTEMPT_PLACED",
        absl::StrCat("attempt ", attempt_, " starts on ", ranks_.size(), " workers"));
  Effects effects;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    effects.push_back(StartRank{rank});
  }
  return effects;
}

absl::StatusOr<Job::Effects> Job::On(Instant, const PlanRefused& event) {
  if (!MayBePlaced()) {
    return absl::FailedPreconditionError(absl::StrCat(name_, " is ", JobStateName(state_)));
  }
  End(JobState::kFailed, event.code, "PLAN_REFUSED", event.reason);
  Effects effects;
  AnnounceEnd(&effects);
  return effects;
}

absl::StatusOr<Job::Effects> Job::On(Instant, const PlanDeferred& event) {
  if (!MayBePlaced()) {
    return absl::FailedPreconditionError(absl::StrCat(name_, " is ", JobStateName(state_)));
  }
  if (reason_ == JobReason{event.code, event.reason}) {
    return absl::AlreadyExistsError(absl::StrCat(name_, " waits for that already"));
  }
  Enter(state_, event.code, event.reason);
  return Effects{};
}

absl::StatusOr<Job::Effects> Job::On(Instant, const RankReady& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  JobRank& rank = ranks_[event.rank];
  if (rank.ready) return absl::AlreadyExistsError(absl::StrCat("rank ", event.rank, " is ready"));
  rank.ready = true;
  resumed_step_ = event.resumed_step;  // of all alike
  if (event.rank == 0) {  // whose word on steps is the history; those after this are told again
    told_through_ = std::min(told_through_.value_or(event.resumed_step), event.resumed_step);
  }
  const bool all = std::ranges::all_of(ranks_, [](const JobRank& r) { return r.ready; });
  if (!all || state_ != JobState::kStarting) return Effects{};
  ever_running_ = true;
  std::string sentence =
      event.resumed_step > 0
          ? absl::StrCat("attempt ", attempt_, " trains on from the checkpoint of step ",
                         event.resumed_step)
          : absl::StrCat("attempt ", attempt_, " trains from the beginning");
  if (!event.note.empty()) absl::StrAppend(&sentence, "; passed over: ", event.note);
  if (!event.notice.empty()) absl::StrAppend(&sentence, "; ", event.notice);
  Enter(JobState::kRunning, "TRAINING", std::move(sentence));
  return Effects{};
}

absl::StatusOr<Job::Effects> Job::On(Instant, const StepDone& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  if (event.report.step <= step_in_attempt_) {
    return absl::AlreadyExistsError(absl::StrCat("step ", event.report.step, " is known"));
  }
  step_in_attempt_ = event.report.step;
  told_through_ = event.report.step;
  last_step_ = event.report;
  return Effects{};
}

// Steps are told in one order, so those between two that came were lost: the worker was away for
// longer than its journal reaches back, or died with it.
std::vector<Noticed> Job::NoticesAbout(const StepDone& done) const {
  const int64_t step = done.report.step;
  if (!CheckRank(done.attempt, done.rank).ok() || step <= step_in_attempt_) return {};
  std::vector<Noticed> notices;
  if (const int64_t next = told_through_.value_or(step - 1) + 1; next < step) {
    notices.push_back({name_, attempt_, 0, kStepsMissing, step,
                       absl::StrCat("steps ", next, " to ", step - 1,
                                    " are missing here: they were trained while their worker could "
                                    "not be heard; metrics.jsonl in ",
                                    request_.output_directory, " has them")});
  }
  const GainReport& gain = done.report.gain;
  const double bound = spec().stability.max_gain, back = kGainBackRatio * bound;
  const bool above = !(gain.forward <= bound && gain.backward <= bound);  // NaN is above
  if (above && !gain_above_bound_) {
    notices.push_back({name_, attempt_, 0, kGainAboveBound, step,
                       absl::StrFormat("step %d: composite gain %.4g forward, %.4g backward; "
                                       "stability.max_gain is %.4g",
                                       step, gain.forward, gain.backward, bound)});
  } else if (gain_above_bound_ && gain.forward < back && gain.backward < back) {
    notices.push_back(
        {name_, attempt_, 0, kGainBack, step,
         absl::StrFormat("step %d: composite gain back at %.4g forward, %.4g backward, below "
                         "%.4g; stability.max_gain is %.4g",
                         step, gain.forward, gain.backward, back, bound)});
  }
  AddStreamNotice(done.report, &notices);
  return notices;
}

void Job::AddStreamNotice(const StepReport& report, std::vector<Noticed>* notices) const {
  if (!report.mixing || report.mixing->stream_similarity_by_sublayer.empty()) return;
  // They start as copies of one another: until the rate is up they have had no time to part.
  if (report.step <= spec().lr_schedule.warmup_steps) return;
  const auto similarity = static_cast<double>(report.mixing->stream_similarity_by_sublayer.back());
  if (similarity > kCollapsed && !streams_collapsed_) {
    notices->push_back(
        {name_, attempt_, 0, kStreamsCollapsed, report.step,
         absl::StrFormat("step %d: after the last sub-layer the streams are alike (mean cosine "
                         "%.5g): they have collapsed into one",
                         report.step, similarity)});
  } else if (similarity < kApart && streams_collapsed_) {
    notices->push_back({name_, attempt_, 0, kStreamsApart, report.step,
                        absl::StrFormat("step %d: the streams differ again (mean cosine %.4g)",
                                        report.step, similarity)});
  }
}

absl::StatusOr<Job::Effects> Job::On(Instant, const Noticed& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  if (event.code == kStepsMissing) {
    told_through_ = event.step - 1;
  } else if (event.code == kGainAboveBound) {
    gain_above_bound_ = true;
    ++times_above_bound_;
  } else if (event.code == kGainBack) {
    gain_above_bound_ = false;
  } else if (event.code == kStreamsCollapsed || event.code == kStreamsApart) {
    streams_collapsed_ = event.code == kStreamsCollapsed;
  } else if (event.code == kOutputRemoved) {
    if (event.step <= output_removed_) {
      return absl::AlreadyExistsError(absl::StrCat("that of step ", event.step, " is known"));
    }
    output_removed_ = event.step;
    if (state_ == JobState::kRunning) Enter(state_, event.code, event.sentence);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("this release knows no notice ", event.code));
  }
  return Effects{};
}

absl::StatusOr<Job::Effects> Job::On(Instant, const ShardDurable& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  if (aborting_) return absl::AbortedError(absl::StrCat("attempt ", attempt_, " is being aborted"));
  if (event.step <= committed_in_attempt_) {
    return absl::AlreadyExistsError(absl::StrCat("checkpoint ", event.step, " is committed"));
  }
  const Shard shard{event.rank, event.file, event.checksum, event.bytes};
  if (!shards_[event.step].emplace(event.rank, shard).second) {
    return absl::AlreadyExistsError(absl::StrCat("shard of rank ", event.rank, " is known"));
  }
  Effects effects;
  if (shards_[event.step].size() == ranks_.size()) {
    effects.push_back(SendToRank{0, *CompleteCheckpoint()});
  }
  return effects;
}

absl::StatusOr<Job::Effects> Job::On(Instant, const CheckpointCommitted& event) {
  if (event.attempt != attempt_ || IsOver(state_)) {
    return absl::AbortedError(
        absl::StrCat(name_, " is at attempt ", attempt_, ", ", JobStateName(state_)));
  }
  if (event.step <= committed_in_attempt_) {
    return absl::AlreadyExistsError(absl::StrCat("checkpoint ", event.step, " is known"));
  }
  committed_in_attempt_ = event.step;
  checkpoint_ = CheckpointInfo{event.step, event.path, event.checksum};
  restarts_in_row_ = disk_restarts_in_row_ = 0;
  shards_.erase(shards_.begin(), shards_.upper_bound(event.step));
  return Effects{};
}

// Only news: what it was to replace is kept, and the next one is tried at its time.
absl::StatusOr<Job::Effects> Job::On(Instant, const CheckpointFailed& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  JobRank& rank = ranks_[event.rank];
  if (event.step <= rank.failed_checkpoint) {
    return absl::AlreadyExistsError(
        absl::StrCat("failure of checkpoint ", event.step, " is known"));
  }
  rank.failed_checkpoint = event.step;
  return Effects{};
}

absl::StatusOr<Job::Effects> Job::On(Instant now, const RankExited& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  return RankGone(now, event, event.disk ? kDiskTrouble : "RANK_FAILED");
}

absl::StatusOr<Job::Effects> Job::On(Instant now, const WorkerLost& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  return RankGone(now,
                  {name_, attempt_, event.rank, ExitCode::kInfrastructure, event.reason, false},
                  "WORKER_LOST");
}

absl::StatusOr<Job::Effects> Job::On(Instant now, const AttemptStuck& event) {
  RETURN_IF_ERROR(CheckRank(event.attempt, event.rank));
  if (state_ != JobState::kStarting && state_ != JobState::kRunning) {
    return absl::FailedPreconditionError(
        absl::StrCat(name_, " is ", JobStateName(state_), ": its attempt ends already"));
  }
  const std::string sentence = absl::StrCat("rank ", event.rank, " on ",
                                            ranks_[event.rank].worker.worker, " ", event.reason);
  Enter(JobState::kRecovering, "NO_PROGRESS", sentence);
  Effects effects;
  Abort(now, sentence, &effects);
  return effects;
}

absl::StatusOr<Job::Effects> Job::On(Instant now, const CancelRequested&) {
  if (state_ == JobState::kCancelled || state_ == JobState::kCancelling) {
    return absl::AlreadyExistsError(absl::StrCat(name_, " is ", JobStateName(state_)));
  }
  if (IsOver(state_)) {
    return absl::FailedPreconditionError(absl::StrCat(
        name_, " is ", JobStateName(state_), "; only a job that is not over can be cancelled"));
  }
  Effects effects;
  if (AllGone()) {
    End(JobState::kCancelled, ExitCode::kStopped, "CANCELLED", "cancelled while nothing ran");
    AnnounceEnd(&effects);
    return effects;
  }
  const JobState before = state_;
  Enter(JobState::kCancelling, "CANCEL_REQUESTED", "stops after a committed checkpoint");
  if (before == JobState::kRunning) Stop(now, &effects);
  // Before it runs, an attempt has made nothing that a clean stop could keep.
  if (before == JobState::kStarting) Abort(now, "the job was cancelled", &effects);
  return effects;
}

absl::StatusOr<Job::Effects> Job::On(Instant now, const GraceOver& event) {
  if (event.attempt != attempt_) {
    return absl::AbortedError(absl::StrCat("attempt ", event.attempt, "; now ", attempt_));
  }
  if (!deadline_.has_value()) return absl::AlreadyExistsError("no grace runs");
  Effects effects;
  if (!aborting_) {
    Abort(now, "the time for a clean stop is over", &effects);
    return effects;
  }
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    if (ranks_[rank].gone) continue;
    ranks_[rank].gone = true;
    ranks_[rank].code = ExitCode::kInfrastructure;
    ranks_[rank].reason = "did not confirm that it was aborted";
    effects.push_back(ReleaseRank{rank});
  }
  Settle(now, &effects);
  return effects;
}

std::optional<JobEvent> Job::Due(Instant now) const {
  if (!deadline_.has_value() || now < *deadline_) return std::nullopt;
  return GraceOver{attempt_};
}

void Job::ExtendGrace(absl::Duration by) {
  if (deadline_.has_value()) deadline_ = *deadline_ + by;
}

std::vector<JobEffect> Job::Resync(int rank) const {
  Effects effects;
  if (IsOver(state_)) {
    effects.push_back(SendToRank{rank, JobEnded{name_, attempt_, exit_code_, reason_.sentence}});
  } else if (aborting_ || ranks_[rank].gone) {
    effects.push_back(SendToRank{rank, AbortAttempt{name_, attempt_, reason_.sentence}});
  } else {
    if (!ranks_[rank].ready) effects.push_back(StartRank{rank});
    if (state_ == JobState::kCancelling) {
      effects.push_back(SendToRank{rank, StopAttempt{name_, attempt_}});
    }
    const std::optional<CommitCheckpoint> commit = CompleteCheckpoint();
    if (rank == 0 && commit.has_value()) effects.push_back(SendToRank{0, *commit});
  }
  return effects;
}

bool Job::WantsWorkers(Instant now) const { return MayBePlaced() && now >= not_before_; }

// The restart delay is the coordinator's to keep: a replay sees all events at one instant.
bool Job::MayBePlaced() const {
  const bool waits = state_ == JobState::kQueued || state_ == JobState::kRecovering;
  return waits && AllGone();
}

absl::Status Job::CheckRank(int attempt, int rank) const {
  if (attempt != attempt_ || IsOver(state_)) {
    return absl::AbortedError(absl::StrCat("attempt ", attempt, " speaks; ", name_,
                                           " is at attempt ", attempt_, ", ",
                                           JobStateName(state_)));
  }
  if (rank < 0 || rank >= static_cast<int>(ranks_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", rank, "; need 0 to ", static_cast<int>(ranks_.size()) - 1));
  }
  if (ranks_[rank].gone) return absl::AlreadyExistsError(absl::StrCat("rank ", rank, " is gone"));
  return absl::OkStatus();
}

bool Job::AllGone() const {
  return std::ranges::all_of(ranks_, [](const JobRank& rank) { return rank.gone; });
}

void Job::Enter(JobState state, std::string code, std::string sentence) {
  state_ = state;
  reason_ = {std::move(code), std::move(sentence)};
}

Job::Effects Job::RankGone(Instant now, const RankExited& exited, const char* reason_code) {
  JobRank& gone = ranks_[exited.rank];
  gone.gone = true;
  gone.code = exited.code;
  gone.reason = exited.reason;
  gone.disk = exited.disk;
  Effects effects{ReleaseRank{exited.rank}};
  const std::string sentence =
      absl::StrCat("rank ", exited.rank, " on ", gone.worker.worker, ": ", exited.reason);
  const bool first = !IsClean(exited.code) && !aborting_;
  // Its peers may have told of its end before it did, and knew less.
  const bool explains = exited.disk && state_ == JobState::kRecovering;
  if ((first && state_ != JobState::kCancelling) || explains) {
    Enter(JobState::kRecovering, reason_code, sentence);
  }
  if (first) Abort(now, sentence, &effects);
  if (AllGone()) Settle(now, &effects);
  return effects;
}

void Job::Abort(Instant now, const std::string& reason, Effects* effects) {
  aborting_ = true;
  deadline_ = now + graces_.abort;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    if (ranks_[rank].gone) continue;
    effects->push_back(SendToRank{rank, AbortAttempt{name_, attempt_, reason}});
  }
}

void Job::Stop(Instant now, Effects* effects) {
  deadline_ = now + graces_.stop;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    if (ranks_[rank].gone) continue;
    effects->push_back(SendToRank{rank, StopAttempt{name_, attempt_}});
  }
}

// All ranks are gone: what does the attempt's end mean to the job?
void Job::Settle(Instant now, Effects* effects) {
  deadline_.reset();
  const auto with = [&](ExitCode code) { return std::ranges::find(ranks_, code, &JobRank::code); };
  const bool clean = std::ranges::all_of(ranks_, IsClean, &JobRank::code);
  if (clean && with(ExitCode::kStopped) == ranks_.end()) {
    End(JobState::kSucceeded, ExitCode::kDone, "DONE",
        absl::StrCat("all ", spec().training.steps, " steps are done"));
  } else if (state_ == JobState::kCancelling) {
    SettleCancelled(clean);
  } else if (const auto rank = with(ExitCode::kBadSpec); rank != ranks_.end()) {
    End(JobState::kFailed, ExitCode::kBadSpec, "BAD_SPEC", rank->reason);
  } else if (const auto given_up = with(ExitCode::kNumerics); given_up != ranks_.end()) {
    End(JobState::kFailed, ExitCode::kNumerics, "NUMERICS", given_up->reason);
  } else if (clean) {
    Enter(JobState::kRecovering, "STOPPED", "a worker left after a committed checkpoint");
  } else {
    SettleLost(now);
  }
  if (IsOver(state_)) AnnounceEnd(effects);
}

void Job::SettleCancelled(bool clean) {
  const int64_t kept = checkpoint_.has_value() ? checkpoint_->step : resumed_step_;
  if (clean) {
    End(JobState::kCancelled, ExitCode::kStopped, "CANCELLED",
        "stopped after a committed checkpoint");
  } else if (!std::ranges::all_of(ranks_, &JobRank::ready)) {
    End(JobState::kCancelled, ExitCode::kStopped, "CANCELLED",
        "stopped before the attempt ran; nothing is lost");
  } else {
    End(JobState::kCancelled, ExitCode::kInfrastructure, "CANCELLED",
        kept > 0 ? absl::StrCat("stopped without a new checkpoint; that of step ", kept, " is kept")
                 : std::string("stopped without a checkpoint; there was none before"));
  }
}

// Waits longer, and for longer, than for a worker: a full disk is emptied by people.
void Job::SettleDisk(Instant now) {
  const int budget = spec().stability.max_restarts > 0 ? kMaxDiskRestarts : 0;
  if (disk_restarts_in_row_ > budget) {
    End(JobState::kFailed, ExitCode::kInfrastructure, kDiskTrouble,
        absl::StrCat(disk_restarts_in_row_,
                     " attempts were lost in a row to a disk without a new checkpoint; the last: ",
                     reason_.sentence));
    return;
  }
  not_before_ = now + Doubled(kFirstDiskDelay, disk_restarts_in_row_ - 1);
}

void Job::SettleLost(Instant now) {
  ++restarts_;
  if (std::ranges::any_of(ranks_, &JobRank::disk)) {
    ++disk_restarts_in_row_;
    return SettleDisk(now);
  }
  ++restarts_in_row_;
  if (restarts_in_row_ > spec().stability.max_restarts) {
    const bool bug = std::ranges::find(ranks_, ExitCode::kInternal, &JobRank::code) != ranks_.end();
    End(JobState::kFailed, bug ? ExitCode::kInternal : ExitCode::kInfrastructure,
        "RESTARTS_USED_UP",
        absl::StrCat(restarts_in_row_,
                     " attempts were lost in a row without a new checkpoint; "
                     "the last: ",
                     reason_.sentence));
    return;
  }
  not_before_ = now + RestartDelay(restarts_in_row_);
}

void Job::End(JobState state, ExitCode code, std::string reason_code, std::string sentence) {
  Enter(state, std::move(reason_code), std::move(sentence));
  exit_code_ = code;
}

void Job::AnnounceEnd(Effects* effects) const {
  const CoordinatorMessage ended = JobEnded{name_, attempt_, exit_code_, reason_.sentence};
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    effects->push_back(SendToRank{rank, ended});
  }
}

std::optional<CommitCheckpoint> Job::CompleteCheckpoint() const {
  for (auto step = shards_.rbegin(); step != shards_.rend(); ++step) {
    if (step->second.size() != ranks_.size()) continue;
    CommitCheckpoint commit{name_, attempt_, step->first, {}};
    for (const auto& [rank, shard] : step->second) commit.shards.push_back(shard);
    return commit;
  }
  return std::nullopt;
}

std::string Job::ToString() const {
  std::string text = absl::StrCat(
      name_, " ", JobStateName(state_), " ", reason_.code, " \"", reason_.sentence,
      "\" exit=", static_cast<int>(exit_code_), " attempt=", attempt_, " restarts=", restarts_, "/",
      restarts_in_row_, disk_restarts_in_row_ > 0 ? absl::StrCat("+", disk_restarts_in_row_) : "",
      aborting_ ? " aborting" : "", deadline_.has_value() ? " grace" : "", fresh() ? " fresh" : "",
      " plan=", plan_hash_, " step=", step_in_attempt_, " committed=", committed_in_attempt_,
      " told=", told_through_.value_or(-1), gain_above_bound_ ? " above" : "",
      streams_collapsed_ ? " collapsed" : "", "/", times_above_bound_,
      output_removed_ > 0 ? absl::StrCat(" removed=", output_removed_) : "",
      checkpoint_.has_value()
          ? absl::StrCat(" checkpoint=", checkpoint_->step, ":", checkpoint_->checksum)
          : "",
      "\n");
  for (const JobRank& rank : ranks_) {
    absl::StrAppend(
        &text, "  ", rank.worker.worker, "#", rank.worker.incarnation, rank.ready ? " ready" : "",
        rank.failed_checkpoint > 0 ? absl::StrCat(" failed=", rank.failed_checkpoint) : "",
        rank.gone ? " gone" : "", " code=", static_cast<int>(rank.code), " ", rank.reason, "\n");
  }
  for (const auto& [step, shards] : shards_) {
    absl::StrAppend(&text, "  shards of ", step, ": ",
                    absl::StrJoin(shards, ",",
                                  [](std::string* out, const auto& entry) {
                                    absl::StrAppend(out, entry.first);
                                  }),
                    "\n");
  }
  return text;
}

}  // namespace birkhoff
