#include "tests/testing/sim_cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/job_store.h"
#include "core/format/checkpoint.h"
#include "core/plan/compile.h"
#include "tests/testing/rank_threads.h"

namespace birkhoff::testing {
namespace {

constexpr absl::Duration kMillisecond = absl::Milliseconds(1);
constexpr absl::Duration kEnough = absl::Hours(2);  // of simulated time
constexpr const char* kSaid[] = {"Hello",
                                 "Heartbeat",
                                 "Meet",
                                 "RankReady",
                                 "StepDone",
                                 "ShardDurable",
                                 "CheckpointCommitted",
                                 "CheckpointFailed",
                                 "RankExited",
                                 "Noticed"};
constexpr const char* kTold[] = {"Welcome",     "StartAttempt", "MeetResult", "CommitCheckpoint",
                                 "StopAttempt", "AbortAttempt", "Refused",    "JobEnded"};
static_assert(std::size(kSaid) == std::variant_size_v<WorkerPayload>);
static_assert(std::size(kTold) == std::variant_size_v<CoordinatorMessage>);

}  // namespace

// One stream between an agent and the coordinator.  Messages arrive late, but in order.
class SimCluster::Connection final : public WorkerLink,
                                     public std::enable_shared_from_this<Connection> {
 public:
  Connection(SimCluster& cluster, int number, uint64_t life_of_worker, int epoch_of_coordinator)
      : worker(number), life(life_of_worker), epoch(epoch_of_coordinator), cluster_(cluster) {}

  void Send(CoordinatorMessage message) override {
    cluster_.ToAgent(shared_from_this(), std::move(message));
  }

  const int worker;
  const uint64_t life;
  const int epoch;
  bool open = true;
  bool loses = false;  // a cut that takes along what is on the way to the coordinator
  Instant last_to_agent, last_to_coordinator;

 private:
  SimCluster& cluster_;
};

struct SimCluster::Worker {
  std::string name;
  uint64_t life = 0;
  std::unique_ptr<Agent> agent;            // null while there is no such process
  std::shared_ptr<Connection> connection;  // null: not connected
  std::shared_ptr<SimRank> rank;           // null: no rank process
  Instant last_from_rank;                  // the pipe keeps the order
};

SimCluster::SimCluster(const SimOptions& options)
    : options_(options), rng_(options.seed), waiting_(options.disturbances) {
  const absl::StatusOr<Plan> plan = CompilePlan(options_.spec, ClusterSpec{});
  EXPECT_TRUE(plan.ok()) << plan.status();
  for (int number = 0; plan.ok() && number < plan->num_ranks * plan->num_replicas; ++number) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->name = absl::StrCat("workers/", number);
  }
}

SimCluster::~SimCluster() = default;

SimResult SimCluster::Run() {
  OpenCoordinator();
  if (coordinator_ == nullptr) return result_;
  TickCoordinator();
  for (int number = 0; number < static_cast<int>(workers_.size()); ++number) StartWorker(number);
  SubmitRequest request;
  request.spec = options_.spec;
  request.output_directory = "/out";
  const absl::StatusOr<JobView> job = coordinator_->Submit(request);
  EXPECT_TRUE(job.ok()) << job.status();
  if (!job.ok()) return result_;
  job_ = job->name;
  const Instant limit = loop_.Now() + kEnough;
  while (!over_ && loop_.Now() < limit && loop_.RunOne()) {
  }
  const Instant told = loop_.Now() + absl::Seconds(20);
  while (loop_.Now() < told && loop_.RunOne()) {
  }
  CollectHistory(&result_);
  return std::move(result_);
}

void SimCluster::CollectHistory(SimResult* result) {
  for (const auto& worker : workers_) {
    if (worker->agent != nullptr && worker->agent->rank_alive()) ++result->num_busy_at_end;
  }
  result->metrics_steps = MetricsSteps(disk_, "/out");
  result->tensors = TensorChecksums(
      disk_, absl::StrCat("/out/checkpoints/", CheckpointName(options_.spec.training.steps)));
  if (coordinator_ == nullptr) return;
  result->job = coordinator_->GetJob(job_).value_or(JobView{});
  const auto updates = coordinator_->ReadUpdates(job_, 0, 1 << 20);
  ASSERT_TRUE(updates.ok()) << updates.status();
  for (const JobUpdate& update : *updates) {
    if (!update.step.has_value()) continue;
    const auto [known, added] = result->losses.emplace(update.step->step, update.step->loss);
    EXPECT_EQ(known->second, update.step->loss) << "step " << update.step->step << " repeated";
  }
}

absl::Duration SimCluster::Draw(absl::Duration least, absl::Duration most) {
  return least + rng_.Uniform() * (most - least);
}

void SimCluster::Trace(const std::string& line) {
  absl::StrAppend(&result_.trace, loop_.Now().nanoseconds / 1'000'000, " ms ", line, "\n");
}

void SimCluster::OpenCoordinator() {
  absl::StatusOr<std::unique_ptr<JobStore>> store = OpenSqliteStore(options_.store);
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);
  absl::StatusOr<std::unique_ptr<Coordinator>> coordinator =
      Coordinator::Create({}, loop_.clock(), *store_, CompilePlan);
  ASSERT_TRUE(coordinator.ok()) << coordinator.status();
  coordinator_ = *std::move(coordinator);
  Trace(absl::StrCat("the coordinator is there, life ", ++epoch_));
}

void SimCluster::RestartCoordinator() {
  if (coordinator_ == nullptr) return;
  Trace("the coordinator is gone");
  for (const auto& connection : connections_) Cut(connection, Ending::kCut);
  coordinator_.reset();
  store_.reset();
  loop_.After(Draw(absl::Seconds(1), absl::Seconds(3)), [this] { OpenCoordinator(); });
}

void SimCluster::WhenAwake(SimLoop::Action action) {
  if (loop_.Now() >= stalled_until_) return action();
  loop_.At(stalled_until_, std::move(action));
}

void SimCluster::TickCoordinator() {
  if (loop_.Now() < stalled_until_) return;  // it ticks as soon as it is awake
  loop_.After(absl::Milliseconds(200), [this] { TickCoordinator(); });
  if (coordinator_ == nullptr) return;
  const absl::Status ticked = coordinator_->Tick();
  EXPECT_TRUE(ticked.ok()) << ticked;
  if (job_.empty()) return;
  const absl::StatusOr<JobView> job = coordinator_->GetJob(job_);
  over_ = job.ok() && IsOver(job->state);
}

void SimCluster::Connect(int number) {
  Worker& worker = *workers_[number];
  if (worker.connection != nullptr) return;
  if (coordinator_ == nullptr) {
    const absl::Duration backoff = Draw(100 * kMillisecond, absl::Seconds(1));
    return AfterInLife(number, backoff, [this, number] { Connect(number); });
  }
  worker.connection = std::make_shared<Connection>(*this, number, worker.life, epoch_);
  connections_.push_back(worker.connection);
  ++result_.num_connections;
  Step(number, AgentConnected{});
}

// Each end notices in its own time.
void SimCluster::Cut(const std::shared_ptr<Connection>& connection, Ending ending) {
  if (connection == nullptr || !connection->open) return;
  connection->open = false;
  const bool goodbye = ending == Ending::kGoodbye;
  connection->loses = !goodbye && rng_.Below(2) == 0;
  Instant& last = connection->last_to_coordinator;
  last = std::max(last, loop_.Now()) +
         Draw(kMillisecond, goodbye ? 5 * kMillisecond : absl::Seconds(2));
  loop_.At(last, [this, connection] {
    WhenAwake([this, connection] {
      if (coordinator_ != nullptr && connection->epoch == epoch_) {
        coordinator_->Disconnected(connection.get());
      }
    });
  });
  if (ending != Ending::kCut) return;
  const int number = connection->worker;
  AfterInLife(number, Draw(kMillisecond, absl::Seconds(1)), [this, number, connection] {
    workers_[number]->connection = nullptr;
    Step(number, AgentDisconnected{});
    const absl::Duration backoff = Draw(50 * kMillisecond, 150 * kMillisecond);
    AfterInLife(number, backoff, [this, number] { Connect(number); });
  });
}

void SimCluster::ToCoordinator(const std::shared_ptr<Connection>& connection,
                               WorkerPayload payload) {
  if (!connection->open) return;  // into the void: the agent has not noticed yet
  Instant& last = connection->last_to_coordinator;
  last = std::max(last, loop_.Now() + Draw(kMillisecond, 80 * kMillisecond));
  loop_.At(last, [this, connection, payload = std::move(payload)] {
    WhenAwake([this, connection, payload] { Read(connection, payload); });
  });
}

void SimCluster::Read(const std::shared_ptr<Connection>& connection, const WorkerPayload& payload) {
  if (coordinator_ == nullptr || connection->epoch != epoch_ || connection->loses) return;
  const std::string& name = workers_[connection->worker]->name;
  Trace(absl::StrCat(name, "#", connection->life, " says ", kSaid[payload.index()]));
  const absl::Status handled =
      coordinator_->Handle({name, connection->life, payload}, connection.get());
  // The life before is not known to be gone: the stream ends, and the worker comes again.
  const bool waits = absl::IsUnavailable(handled) && std::holds_alternative<Hello>(payload);
  EXPECT_TRUE(handled.ok() || waits) << handled;
  if (waits) Cut(connection, Ending::kCut);
}

void SimCluster::ToAgent(const std::shared_ptr<Connection>& connection,
                         CoordinatorMessage message) {
  Instant& last = connection->last_to_agent;
  last = std::max(last, loop_.Now() + Draw(kMillisecond, 80 * kMillisecond));
  loop_.At(last, [this, connection, message = std::move(message)] {
    const Worker& worker = *workers_[connection->worker];
    if (!connection->open || worker.life != connection->life || worker.agent == nullptr) return;
    Trace(absl::StrCat(worker.name, "#", worker.life, " hears ", kTold[message.index()]));
    Step(connection->worker, AgentHeard{message});
  });
}

void SimCluster::AfterInLife(int number, absl::Duration delay, SimLoop::Action action) {
  const uint64_t life = workers_[number]->life;
  loop_.After(delay, [this, number, life, action = std::move(action)] {
    const Worker& worker = *workers_[number];
    if (worker.life == life && worker.agent != nullptr) action();
  });
}

void SimCluster::StartWorker(int number) {
  Worker& worker = *workers_[number];
  ++worker.life;
  AgentOptions options;
  options.resources.name = worker.name;
  options.address = worker.name;
  worker.agent = std::make_unique<Agent>(options);
  TickAgent(number, worker.life);
  Connect(number);
}

void SimCluster::KillWorker(int number) {
  Worker& worker = *workers_[number];
  if (worker.agent == nullptr) return;
  Trace(absl::StrCat(worker.name, "#", worker.life, " is gone"));
  KillRank(number);
  Cut(worker.connection, Ending::kVanish);
  worker.connection = nullptr;
  worker.agent = nullptr;
  // Sooner or later than its lease ends.
  loop_.After(Draw(absl::Seconds(1), absl::Seconds(9)), [this, number] { StartWorker(number); });
}

void SimCluster::TickAgent(int number, uint64_t life) {
  Step(number, AgentTick{});
  AfterInLife(number, 250 * kMillisecond, [this, number, life] { TickAgent(number, life); });
}

void SimCluster::Step(int number, const AgentEvent& event) {
  for (const AgentEffect& effect : workers_[number]->agent->Step(loop_.Now(), event)) {
    if (workers_[number]->agent == nullptr) return;  // it has left
    std::visit([&](const auto& e) { Do(number, e); }, effect);
  }
}

void SimCluster::Do(int number, const AgentSend& effect) {
  const auto& connection = workers_[number]->connection;
  if (connection != nullptr) ToCoordinator(connection, effect.payload);
}

void SimCluster::Do(int number, const AgentStartRank& effect) {
  Worker& worker = *workers_[number];
  EXPECT_EQ(worker.rank, nullptr) << "two ranks on one worker";
  worker.rank = std::make_shared<SimRank>(effect.assignment, disk_, loop_.clock());
  std::unique_ptr<SimGang>& gang = gangs_[effect.assignment.attempt];
  if (gang == nullptr) gang = std::make_unique<SimGang>(effect.assignment.world_size);
  gang->Add(worker.rank);
  Deliver(number);
}

void SimCluster::Do(int number, const AgentTellRank& effect) {
  Worker& worker = *workers_[number];
  if (worker.rank == nullptr) return;
  const int attempt = worker.rank->assignment().attempt;
  const bool started = worker.rank->phase() == SimRank::Phase::kStarted;
  worker.rank->Hear(effect.message);
  Deliver(number);
  if (!started || !gangs_[attempt]->AllMet()) return;
  loop_.After(Draw(10 * kMillisecond, 50 * kMillisecond), [this, attempt] { MoveGang(attempt); });
}

// What it has put into the pipe before is still read.
void SimCluster::Do(int number, const AgentKillRank&) {
  Worker& worker = *workers_[number];
  if (worker.rank == nullptr || worker.rank->phase() == SimRank::Phase::kEnded) return;
  KillRank(number);
  worker.last_from_rank = std::max(worker.last_from_rank, loop_.Now()) + kMillisecond;
  AfterInLife(number, worker.last_from_rank - loop_.Now(), [this, number] {
    Step(number, AgentRankGone{ExitCode::kInfrastructure, "ended by signal 9"});
  });
}

void SimCluster::Do(int number, const AgentLeave& effect) {
  Trace(absl::StrCat(workers_[number]->name, " leaves: ", effect.reason));
  ++result_.num_leaves;
  Cut(workers_[number]->connection, Ending::kGoodbye);
  KillWorker(number);
}

void SimCluster::KillRank(int number) {
  Worker& worker = *workers_[number];
  if (worker.rank == nullptr) return;
  gangs_[worker.rank->assignment().attempt]->Remove(worker.rank.get());
  worker.rank = nullptr;
}

void SimCluster::MoveGang(int attempt) {
  SimGang& gang = *gangs_[attempt];
  if (gang.CanMove()) gang.Move();
  for (int number = 0; number < static_cast<int>(workers_.size()); ++number) Deliver(number);
  if (!gang.CanMove()) return;
  loop_.After(Draw(100 * kMillisecond, 400 * kMillisecond), [this, attempt] { MoveGang(attempt); });
}

// Through the pipe, in order; the end of the process comes last.
void SimCluster::Deliver(int number) {
  Worker& worker = *workers_[number];
  if (worker.rank == nullptr) return;
  const auto next = [&] {
    const Instant soon = loop_.Now() + Draw(absl::Microseconds(50), absl::Milliseconds(2));
    worker.last_from_rank = std::max(worker.last_from_rank, soon);
    return worker.last_from_rank - loop_.Now();
  };
  for (WorkerPayload& payload : worker.rank->TakeOutbox()) {
    if (const auto* ready = std::get_if<RankReady>(&payload)) {
      result_.resumed_step = ready->resumed_step;
    } else if (std::holds_alternative<Meet>(payload)) {
      Disturb(0);
    } else if (const auto* done = std::get_if<StepDone>(&payload)) {
      if (number == 0 && coordinator_ == nullptr) ++result_.steps_unwatched;
      Disturb(done->report.step);
    }
    AfterInLife(number, next(), [this, number, payload = std::move(payload)] {
      Step(number, AgentRankSaid{payload});
    });
  }
  if (worker.rank->phase() != SimRank::Phase::kEnded) return;
  const AgentRankGone gone{worker.rank->code(), worker.rank->reason()};
  KillRank(number);
  AfterInLife(number, next(), [this, number, gone] { Step(number, gone); });
}

// Its peers wait for it.
void SimCluster::StopRank(int number) {
  const std::shared_ptr<SimRank>& rank = workers_[number]->rank;
  if (rank == nullptr) return;
  Trace(absl::StrCat("the rank of ", workers_[number]->name, " is stopped"));
  const Assignment& assignment = rank->assignment();
  gangs_[assignment.attempt]->Stop();
  for (int other = 0; other < static_cast<int>(workers_.size()); ++other) {
    RankActivity activity{assignment.job, assignment.attempt, other, 1, "step", {}, ""};
    if (other == number) activity.process = "stopped";
    if (other != number) activity.peers = {assignment.rank};
    const Worker& worker = *workers_[other];
    if (worker.rank == nullptr) continue;
    activity.rank = worker.rank->assignment().rank;
    Step(other, AgentRankSaid{Heartbeat{activity}});
  }
}

void SimCluster::Disturb(int64_t step) {
  std::erase_if(waiting_, [&](const Disturbance& disturbance) {
    if (disturbance.after_step > step) return false;
    loop_.After(Draw(absl::ZeroDuration(), 300 * kMillisecond),
                [this, disturbance] { Happen(disturbance); });
    return true;
  });
}

void SimCluster::Happen(const Disturbance& disturbance) {
  Worker& worker = *workers_[disturbance.worker];
  switch (disturbance.kind) {
    case Disturbance::Kind::kKillWorker:
      return KillWorker(disturbance.worker);
    case Disturbance::Kind::kStopWorker:
      if (worker.agent != nullptr) Step(disturbance.worker, AgentShutdown{});
      return;
    case Disturbance::Kind::kCutConnection:
      Trace(absl::StrCat("the connection of ", worker.name, " is cut"));
      return Cut(worker.connection, Ending::kCut);
    case Disturbance::Kind::kRestartCoordinator:
      return RestartCoordinator();
    case Disturbance::Kind::kStopRank:
      return StopRank(disturbance.worker);
    case Disturbance::Kind::kStallCoordinator:
      Trace("the coordinator stands still");
      stalled_until_ = loop_.Now() + absl::Seconds(20);
      // The first thing that it does when it is awake.
      return loop_.At(stalled_until_, [this] { TickCoordinator(); });
  }
}

SimResult RunCluster(const SimOptions& options) { return SimCluster(options).Run(); }

}  // namespace birkhoff::testing
