// What workers say, and what is sent to them.
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/coordinator.h"
#include "coordinator/held_lock.h"
#include "coordinator/job_record.h"
#include "core/base/overloaded.h"
#include "core/base/status_macros.h"

namespace birkhoff {
absl::Status Coordinator::Handle(const WorkerMessage& message, WorkerLink* link) {
  absl::Status status;
  Aftermath aftermath;
  {
    HeldLock lock(&mutex_, clock_, &lock_held_);
    status = HandleLocked(message, link);
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  // Only these can make a placement possible.  A rank that was stopped may belong to a worker that
  // is about to leave: the next tick sees whether it has.
  const RankExited* exited = std::get_if<RankExited>(&message.payload);
  if (std::holds_alternative<Hello>(message.payload) ||
      (exited != nullptr && exited->code != ExitCode::kStopped)) {
    Schedule();
  }
  return status;
}

void Coordinator::Disconnected(WorkerLink* link) {
  absl::MutexLock lock(&mutex_);
  // The lease goes on: the worker may come back in time.
  std::erase_if(links_, [&](const auto& entry) { return entry.second == link; });
}

absl::Status Coordinator::HandleLocked(const WorkerMessage& message, WorkerLink* link) {
  MakeUpForGap(clock_.Now());  // before anybody's lease or grace begins anew
  if (const Hello* hello = std::get_if<Hello>(&message.payload)) {
    return OnHello(message, *hello, link);
  }
  const auto known = links_.find(message.worker);
  absl::Status heard =
      registry_.Heard(clock_.Now(), clock_.WallTime(), message.worker, message.incarnation);
  if (heard.ok() && (known == links_.end() || known->second != link)) {
    heard = absl::AbortedError(absl::StrCat(message.worker, " speaks over another connection"));
  }
  if (!heard.ok()) {
    link->Send(Refused{std::string(heard.message())});
    return absl::OkStatus();
  }
  // Clang's analysis does not look into lambdas; the lock is held throughout.
  return std::visit(
      Overloaded{
          [](const Hello&) { return absl::OkStatus(); },
          [&](const Heartbeat& m)
              ABSL_NO_THREAD_SAFETY_ANALYSIS { return OnHeartbeat(message, m, link); },
          [&](const Meet& m) ABSL_NO_THREAD_SAFETY_ANALYSIS { return OnMeet(message, m, link); },
          [&](const CheckpointCommitted& m)
              ABSL_NO_THREAD_SAFETY_ANALYSIS { return OnEvent(message, m, 0, link); },
          [&](const auto& m)
              ABSL_NO_THREAD_SAFETY_ANALYSIS { return OnEvent(message, m, m.rank, link); },
      },
      message.payload);
}

absl::Status Coordinator::OnHello(const WorkerMessage& message, const Hello& hello,
                                  WorkerLink* link) {
  Hello named = hello;
  named.resources.name = message.worker;
  const auto held = links_.find(message.worker);
  const bool elsewhere = held != links_.end() && held->second != link;
  absl::StatusOr<bool> replaced =
      registry_.Register(clock_.Now(), clock_.WallTime(), message.incarnation, named, elsewhere);
  if (absl::IsUnavailable(replaced.status())) return replaced.status();
  if (!replaced.ok()) {
    link->Send(Refused{std::string(replaced.status().message())});
    return absl::OkStatus();
  }
  links_[message.worker] = link;
  link->Send(
      Welcome{absl::ToDoubleSeconds(options_.heartbeat), absl::ToDoubleSeconds(options_.lease)});
  const RegisteredWorker worker = *registry_.Find(message.worker);
  if (!hello.job.empty() && (hello.job != worker.job || hello.attempt != worker.attempt)) {
    AnswerStale(hello.job, hello.attempt, link);
  }
  if (worker.job.empty()) return absl::OkStatus();
  JobRecord& record = *jobs_.at(worker.job);
  if (*replaced) return LoseSilentWorkers(record);
  Perform(record, record.job.Resync(worker.rank));
  return absl::OkStatus();
}

// The job whose rank speaks, or null where another attempt, worker or life speaks.
JobRecord* Coordinator::RecordOfRank(const WorkerMessage& message, const std::string& job,
                                     int attempt, int rank) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end() || found->second->job.attempt() != attempt) return nullptr;
  const std::vector<JobRank>& ranks = found->second->job.ranks();
  if (rank < 0 || rank >= static_cast<int>(ranks.size())) return nullptr;
  const PlacedWorker speaker{message.worker, message.incarnation};
  return ranks[rank].worker == speaker ? found->second.get() : nullptr;
}

void Coordinator::AnswerStale(const std::string& job, int attempt, WorkerLink* link) {
  const auto found = jobs_.find(job);
  if (found != jobs_.end()) {
    const Job& state = found->second->job;
    if (IsOver(state.state()) && state.attempt() == attempt) {
      link->Send(JobEnded{job, attempt, state.exit_code(), state.reason().sentence});
      return;
    }
  }
  link->Send(AbortAttempt{
      job, attempt, absl::StrCat("attempt ", attempt, " of ", job, " is not the one that runs")});
}

template <typename Said>
absl::Status Coordinator::OnEvent(const WorkerMessage& message, const Said& said, int rank,
                                  WorkerLink* link) {
  JobRecord* record = RecordOfRank(message, said.job, said.attempt, rank);
  if (record == nullptr) {
    AnswerStale(said.job, said.attempt, link);
    return absl::OkStatus();
  }
  record->progress.Moved(clock_.Now(), rank);
  if constexpr (std::is_same_v<Said, StepDone>) {
    record->progress.SawStep(absl::Seconds(said.report.step_seconds));
    // All ranks see the same step; the history keeps rank 0's word.
    record->meter.Heard(record->job, rank, said.report);
    if (!record->meter.knows_memory()) record->meter.Holds(record->job, PlanOf(*record).get());
    if (rank != 0) return absl::OkStatus();
  }
  absl::Status status = absl::OkStatus();
  if constexpr (std::is_same_v<Said, StepDone>) {
    // Before the step, so that one whose step is refused is said again with it.
    for (const Noticed& notice : record->job.NoticesAbout(said)) {
      if (status.ok()) status = Apply(*record, notice);
    }
  }
  if (status.ok()) status = Apply(*record, said);
  // A rank that was given up but speaks, as after a freeze, does not know that it is out.
  const bool given_up = absl::IsAlreadyExists(status) && record->job.ranks()[rank].gone;
  if (absl::IsAborted(status) || given_up) AnswerStale(said.job, said.attempt, link);
  // The rest is what the job thinks of the event; these are the store's.
  const bool refused = absl::IsUnavailable(status) || absl::IsDataLoss(status) ||
                       absl::IsResourceExhausted(status) || absl::IsInternal(status);
  return refused ? absl::UnavailableError(status.message()) : absl::OkStatus();
}

// A rank that nobody waits for any more hears so, whatever was lost on the way before.
absl::Status Coordinator::OnHeartbeat(const WorkerMessage& message, const Heartbeat& heartbeat,
                                      WorkerLink* link) {
  if (!heartbeat.activity.has_value()) return absl::OkStatus();
  const RankActivity& activity = *heartbeat.activity;
  JobRecord* record = RecordOfRank(message, activity.job, activity.attempt, activity.rank);
  if (record == nullptr || record->job.ranks()[activity.rank].gone) {
    AnswerStale(activity.job, activity.attempt, link);
  } else {
    record->progress.Heard(clock_.Now(), activity);
  }
  return absl::OkStatus();
}

absl::Status Coordinator::OnMeet(const WorkerMessage& message, const Meet& meet, WorkerLink* link) {
  JobRecord* record = RecordOfRank(message, meet.job, meet.attempt, meet.rank);
  if (record == nullptr || record->job.ranks()[meet.rank].gone) {
    AnswerStale(meet.job, meet.attempt, link);
    return absl::OkStatus();
  }
  std::map<int, std::string>& met = record->meets[meet.key];
  const bool repeated = met.contains(meet.rank);
  met[meet.rank] = meet.bytes;
  const int world = static_cast<int>(record->job.ranks().size());
  if (static_cast<int>(met.size()) < world) return absl::OkStatus();
  MeetResult result{meet.job, meet.attempt, meet.key, {}};
  for (const auto& [rank, bytes] : met) result.bytes.push_back(bytes);
  for (int rank = 0; rank < world; ++rank) {
    if (!repeated || rank == meet.rank) SendToRankOf(*record, rank, result);
  }
  return absl::OkStatus();
}

void Coordinator::SendToRankOf(const JobRecord& record, int rank, CoordinatorMessage message) {
  const PlacedWorker& placed = record.job.ranks()[rank].worker;
  const auto link = links_.find(placed.worker);
  if (link == links_.end()) return;  // it hears it when it comes back
  const RegisteredWorker* worker = registry_.Find(placed.worker);
  if (worker != nullptr && worker->incarnation == placed.incarnation) {
    link->second->Send(std::move(message));
  }
}

StartAttempt Coordinator::MakeStart(JobRecord& record, int rank) {
  const Job& job = record.job;
  StartAttempt start;
  Assignment& assignment = start.assignment;
  assignment.job = job.name();
  assignment.attempt = job.attempt();
  assignment.rank = rank;
  assignment.world_size = static_cast<int>(job.ranks().size());
  assignment.spec = job.spec();
  if (const std::shared_ptr<const Plan> plan = PlanOf(record); plan != nullptr) {
    assignment.plan = *plan;
  }
  assignment.plan_hash = job.plan_hash();
  assignment.output_directory = job.request().output_directory;
  assignment.fresh = job.fresh();
  assignment.changes = job.request().changes;
  assignment.init_from = job.request().init_from;
  if (const RegisteredWorker* worker = registry_.Find(job.ranks()[rank].worker.worker)) {
    assignment.peer_address = worker->address;
  }
  return start;
}

void Coordinator::Perform(JobRecord& record, const std::vector<JobEffect>& effects) {
  for (const JobEffect& effect : effects) {
    if (const auto* start = std::get_if<StartRank>(&effect)) {
      const int rank = start->rank;
      registry_.Assign(record.job.ranks()[rank].worker.worker, record.job.name(),
                       record.job.attempt(), rank);
      SendToRankOf(record, rank, MakeStart(record, rank));
    } else if (const auto* send = std::get_if<SendToRank>(&effect)) {
      SendToRankOf(record, send->rank, send->message);
    } else if (const auto* release = std::get_if<ReleaseRank>(&effect)) {
      registry_.Release(record.job.ranks()[release->rank].worker.worker, record.job.name(),
                        record.job.attempt());
    }
  }
}

}  // namespace birkhoff
