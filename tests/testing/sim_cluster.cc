// All that happens is an action in the loop's order.  What one party says to another is an action
// later on: after a delay drawn from the seed, behind gates, and void once the life that it was for
// is over.
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
constexpr absl::Duration kSlowTime = absl::Seconds(30);
// After which both ends give up a connection that says nothing (core/net/keepalive.h).
constexpr absl::Duration kKeepalive = absl::Seconds(15);
constexpr int64_t kBeginning = 1'800'000'000;  // of simulated time, since the Unix epoch
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
  Connection(SimCluster& cluster, int number, uint64_t life_of_worker, uint64_t name_of_life,
             int epoch_of_coordinator)
      : worker(number),
        life(life_of_worker),
        incarnation(name_of_life),
        epoch(epoch_of_coordinator),
        cluster_(cluster) {}

  void Send(CoordinatorMessage message) override {
    cluster_.ToAgent(shared_from_this(), std::move(message));
  }

  const int worker;
  const uint64_t life;
  const uint64_t incarnation;
  const int epoch;
  bool open = true;
  bool loses = false;  // a cut that takes along what is on the way to the coordinator
  Instant last_to_agent, last_to_coordinator;

 private:
  SimCluster& cluster_;
};

// The coordinator's.  While it works, a slow append makes it later for the coordinator alone.
class SimCluster::OwnClock final : public Clock {
 public:
  explicit OwnClock(const SimCluster& cluster) : cluster_(cluster) {}
  Instant Now() const override { return std::max(cluster_.loop_.Now(), cluster_.awake_.until()); }
  absl::Time WallTime() const override {
    return cluster_.WallOf(cluster_.clock_set_by_ + (Now() - cluster_.loop_.Now()));
  }

 private:
  const SimCluster& cluster_;
};

class SimCluster::SlowStore final : public JobStore {
 public:
  SlowStore(SimCluster& cluster, std::unique_ptr<JobStore> store)
      : cluster_(cluster), store_(std::move(store)) {}

  absl::Status Append(const std::vector<StoredEvent>& events) override {
    Wait();
    return store_->Append(events);
  }
  absl::StatusOr<std::vector<StoredEvent>> Read(const std::string& job, int64_t after_id,
                                                int limit) const override {
    return store_->Read(job, after_id, limit);
  }
  absl::StatusOr<std::vector<StoredEvent>> ReadForReplay() const override {
    return store_->ReadForReplay();
  }
  absl::Status PutPlan(const std::string& hash, const std::string& bytes) override {
    Wait();
    return store_->PutPlan(hash, bytes);
  }
  absl::StatusOr<std::string> GetPlan(const std::string& hash) const override {
    return store_->GetPlan(hash);
  }

 private:
  void Wait() {
    if (cluster_.loop_.Now() >= cluster_.store_slow_until_) return;
    const absl::Duration most = cluster_.slowest_append_;
    cluster_.awake_.ShutUntil(cluster_.clock_->Now() + cluster_.Draw(most / 16, most));
  }

  SimCluster& cluster_;
  const std::unique_ptr<JobStore> store_;
};

struct SimCluster::Worker {
  explicit Worker(SimLoop& loop) : awake(loop), to_coordinator(loop), to_agent(loop) {}

  std::string name;
  uint64_t life = 0;                       // counts them
  uint64_t incarnation = 0;                // names this one to the coordinator
  std::unique_ptr<Agent> agent;            // null while there is no such process
  std::shared_ptr<Connection> connection;  // null: not connected
  std::shared_ptr<SimRank> rank;           // null: no rank process
  uint64_t rank_number = 0;                // counts its rank processes
  uint64_t killed_rank = 0;                // the last that was killed
  Instant last_from_rank;                  // the pipe keeps the order
  Instant last_from_files;                 // and so does the thread that writes them
  Instant files_slow_until;
  absl::Duration slowest_file;
  SimGate awake;                     // shut while the agent is stopped
  SimGate to_coordinator, to_agent;  // shut while the network is cut
  absl::Duration clock_set_by;
};

SimCluster::SimCluster(const SimOptions& options)
    : options_(options),
      rng_(options.seed),
      clock_(std::make_unique<OwnClock>(*this)),
      waiting_(options.disturbances) {
  const absl::StatusOr<Plan> plan = CompilePlan(options_.spec, ClusterSpec{});
  EXPECT_TRUE(plan.ok()) << plan.status();
  const int needed = plan.ok() ? plan->num_ranks * plan->num_replicas : 0;
  for (int number = 0; number < needed + options_.spare_workers; ++number) {
    workers_.push_back(std::make_unique<Worker>(loop_));
    workers_.back()->name = absl::StrCat("workers/", number);
  }
}

SimCluster::~SimCluster() = default;

SimResult SimCluster::Run() {
  OpenCoordinator();
  if (coordinator_ == nullptr) return result_;
  TickCoordinator();
  for (int number = 0; number < static_cast<int>(workers_.size()); ++number) StartWorker(number);
  // Workers are taken by name, of those that are there.
  const Instant all_there = loop_.Now() + absl::Seconds(2);
  while (options_.spare_workers > 0 && loop_.Now() < all_there && loop_.RunOne()) {
  }
  SubmitRequest request;
  request.spec = options_.spec;
  request.output_directory = "/out";
  const absl::StatusOr<JobView> job = coordinator_->Submit(request);
  EXPECT_TRUE(job.ok()) << job.status();
  if (!job.ok()) return result_;
  job_ = job->name;
  const Instant begin = loop_.Now();
  while (!over_ && loop_.Now() < std::max(begin, quiet_from_) + kEnough && loop_.RunOne()) {
  }
  result_.ended_after = loop_.Now() - begin;
  // Those that could not be reached hear it once they can.
  const Instant told = std::max(loop_.Now(), quiet_from_) + absl::Seconds(20);
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
  store_ = std::make_unique<SlowStore>(*this, *std::move(store));
  absl::StatusOr<std::unique_ptr<Coordinator>> coordinator =
      Coordinator::Create({}, *clock_, *store_, CompilePlan);
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
  awake_.Open();  // the process that stood still is gone
  loop_.After(Draw(absl::Seconds(1), absl::Seconds(3)), [this] { OpenCoordinator(); });
}

absl::Time SimCluster::WallOf(absl::Duration set_by) const {
  return absl::FromUnixSeconds(kBeginning) + absl::Nanoseconds(loop_.Now().nanoseconds) + set_by;
}

void SimCluster::TickCoordinator() {
  if (!awake_.open()) {
    // Whether it ticks first or reads first when it is awake is the threads' to say.
    const absl::Duration later = rng_.Below(2) * Draw(kMillisecond, 50 * kMillisecond);
    return loop_.At(awake_.until() + later, [this] { TickCoordinator(); });
  }
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
  const bool cut = !worker.to_coordinator.open() || !worker.to_agent.open();
  if (coordinator_ == nullptr || cut) {
    const absl::Duration backoff = Draw(100 * kMillisecond, absl::Seconds(1));
    return AfterInLife(number, backoff, [this, number] { Connect(number); });
  }
  if (!worker.awake.open()) {
    const absl::Duration rest = worker.awake.until() - loop_.Now();
    return AfterInLife(number, rest, [this, number] { Connect(number); });
  }
  worker.connection =
      std::make_shared<Connection>(*this, number, worker.life, worker.incarnation, epoch_);
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
  Arrive(connection->worker, /*to_coordinator=*/true, last, [this, connection] {
    awake_.Pass([this, connection] {
      if (coordinator_ != nullptr && connection->epoch == epoch_) {
        coordinator_->Disconnected(connection.get());
      }
    });
  });
  if (ending != Ending::kCut) return;
  const int number = connection->worker;
  AfterInLife(number, Draw(kMillisecond, absl::Seconds(1)), [this, number, connection] {
    workers_[number]->connection = nullptr;
    StepWhenAwake(number, AgentDisconnected{});
    const absl::Duration backoff = Draw(50 * kMillisecond, 150 * kMillisecond);
    AfterInLife(number, backoff, [this, number] { Connect(number); });
  });
}

void SimCluster::ToCoordinator(const std::shared_ptr<Connection>& connection,
                               WorkerPayload payload) {
  if (!connection->open) return;  // into the void: the agent has not noticed yet
  Instant& last = connection->last_to_coordinator;
  last = std::max(last, loop_.Now() + Draw(kMillisecond, 80 * kMillisecond));
  Arrive(connection->worker, /*to_coordinator=*/true, last,
         [this, connection, payload = std::move(payload)] {
           awake_.Pass([this, connection, payload] { Read(connection, payload); });
         });
}

void SimCluster::Read(const std::shared_ptr<Connection>& connection, const WorkerPayload& payload) {
  if (coordinator_ == nullptr || connection->epoch != epoch_ || connection->loses) return;
  const std::string& name = workers_[connection->worker]->name;
  Trace(absl::StrCat(name, "#", connection->life, " says ", kSaid[payload.index()]));
  const absl::Status handled =
      coordinator_->Handle({name, connection->incarnation, payload}, connection.get());
  // The life before is not known to be gone: the stream ends, and the worker comes again.
  const bool waits = absl::IsUnavailable(handled) && std::holds_alternative<Hello>(payload);
  EXPECT_TRUE(handled.ok() || waits) << handled;
  if (waits) Cut(connection, Ending::kCut);
}

void SimCluster::ToAgent(const std::shared_ptr<Connection>& connection,
                         CoordinatorMessage message) {
  Instant& last = connection->last_to_agent;
  // What an append holds up leaves once it is durable.
  last = std::max(last, clock_->Now() + Draw(kMillisecond, 80 * kMillisecond));
  Arrive(connection->worker, /*to_coordinator=*/false, last,
         [this, connection, message = std::move(message)] {
           const Worker& worker = *workers_[connection->worker];
           if (!connection->open || worker.life != connection->life || worker.agent == nullptr)
             return;
           Trace(absl::StrCat(worker.name, "#", worker.life, " hears ", kTold[message.index()]));
           StepWhenAwake(connection->worker, AgentHeard{message});
         });
}

void SimCluster::Arrive(int number, bool to_coordinator, Instant when, SimLoop::Action action) {
  loop_.At(when, [this, number, to_coordinator, action = std::move(action)] {
    Worker& worker = *workers_[number];
    (to_coordinator ? worker.to_coordinator : worker.to_agent).Pass(action);
  });
}

void SimCluster::CutNetwork(int number, bool to_coordinator, bool to_agent, absl::Duration lasts) {
  Worker& worker = *workers_[number];
  const Instant until = loop_.Now() + lasts;
  if (to_coordinator) worker.to_coordinator.ShutUntil(until);
  if (to_agent) worker.to_agent.ShutUntil(until);
  Trace(absl::StrCat("nothing passes", to_coordinator ? " from " : "", to_agent ? " to " : " ",
                     worker.name, " for ", absl::FormatDuration(lasts)));
  // A ping needs both ways.
  loop_.After(kKeepalive, [this, until, connection = worker.connection] {
    if (loop_.Now() < until) Cut(connection, Ending::kCut);
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
  worker.incarnation = static_cast<uint64_t>(absl::ToUnixNanos(WallOf(worker.clock_set_by)));
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
  worker.killed_rank = worker.rank_number;
  worker.awake.Open();
  KillRank(number);
  Cut(worker.connection, Ending::kVanish);
  worker.connection = nullptr;
  worker.agent = nullptr;
  // Sooner or later than its lease ends.
  loop_.After(Draw(absl::Seconds(1), absl::Seconds(9)), [this, number] { StartWorker(number); });
}

void SimCluster::TickAgent(int number, uint64_t life) {
  if (workers_[number]->awake.open()) Step(number, AgentTick{});
  AfterInLife(number, 250 * kMillisecond, [this, number, life] { TickAgent(number, life); });
}

void SimCluster::StepWhenAwake(int number, AgentEvent event) {
  const uint64_t life = workers_[number]->life;
  workers_[number]->awake.Pass([this, number, life, event = std::move(event)] {
    const Worker& worker = *workers_[number];
    if (worker.life == life && worker.agent != nullptr) Step(number, event);
  });
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
  ++worker.rank_number;
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
  worker.killed_rank = worker.rank_number;
  KillRank(number);
  worker.last_from_rank = std::max(worker.last_from_rank, loop_.Now()) + kMillisecond;
  AfterInLife(number, worker.last_from_rank - loop_.Now(), [this, number] {
    StepWhenAwake(number, AgentRankGone{ExitCode::kInfrastructure, "ended by signal 9"});
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
  if (loop_.Now() < ranks_cut_until_) {
    return loop_.At(ranks_cut_until_, [this, attempt] { MoveGang(attempt); });
  }
  SimGang& gang = *gangs_[attempt];
  if (gang.CanMove()) gang.Move();
  for (int number = 0; number < static_cast<int>(workers_.size()); ++number) Deliver(number);
  if (!gang.CanMove()) return;
  const absl::Duration step = Draw(options_.slowest_step / 4, options_.slowest_step);
  loop_.After(step, [this, attempt] { MoveGang(attempt); });
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
  const auto once_durable = [&] {
    const Instant soon = loop_.Now() + Draw(absl::ZeroDuration(), worker.slowest_file);
    worker.last_from_files = std::max(worker.last_from_files, soon);
    return worker.last_from_files - loop_.Now();
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
    const bool of_files = std::holds_alternative<ShardDurable>(payload) ||
                          std::holds_alternative<CheckpointCommitted>(payload);
    const bool slow = of_files && loop_.Now() < worker.files_slow_until;
    const absl::Duration delay = slow ? std::max(next(), once_durable()) : next();
    AfterInLife(number, delay,
                [this, number, slow, rank = worker.rank_number, payload = std::move(payload)] {
                  if (slow && workers_[number]->killed_rank >= rank)
                    return;  // it was not yet durable
                  StepWhenAwake(number, AgentRankSaid{payload});
                });
  }
  if (worker.rank->phase() != SimRank::Phase::kEnded) return;
  const AgentRankGone gone{worker.rank->code(), worker.rank->reason()};
  KillRank(number);
  const absl::Duration end = std::max(next(), worker.last_from_files - loop_.Now());
  AfterInLife(number, end, [this, number, gone] { StepWhenAwake(number, gone); });
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
    StepWhenAwake(other, AgentRankSaid{Heartbeat{activity}});
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
  const Instant end = loop_.Now() + std::max(disturbance.amount, kSlowTime);
  quiet_from_ = std::max(quiet_from_, end);
  switch (disturbance.kind) {
    case Disturbance::Kind::kRestartCoordinator:
      return RestartCoordinator();
    case Disturbance::Kind::kStallCoordinator:
      Trace("the coordinator stands still");
      awake_.ShutUntil(loop_.Now() + disturbance.amount);
      return;
    case Disturbance::Kind::kSlowStore:
      Trace("the coordinator's disk is slow");
      store_slow_until_ = loop_.Now() + kSlowTime;
      slowest_append_ = disturbance.amount;
      return;
    case Disturbance::Kind::kStepCoordinatorClock:
      Trace("the coordinator's clock is set");
      clock_set_by_ += disturbance.amount;
      return;
    case Disturbance::Kind::kCutRanks:
      Trace("nothing passes between ranks");
      ranks_cut_until_ = std::max(ranks_cut_until_, loop_.Now() + disturbance.amount);
      return;
    default:
      break;
  }
  for (int number = 0; number < static_cast<int>(workers_.size()); ++number) {
    const bool hit = disturbance.worker == kEveryWorker || disturbance.worker == number;
    if (hit) HappenTo(number, disturbance);
  }
}

void SimCluster::HappenTo(int number, const Disturbance& disturbance) {
  Worker& worker = *workers_[number];
  switch (disturbance.kind) {
    case Disturbance::Kind::kKillWorker:
      return KillWorker(number);
    case Disturbance::Kind::kStopWorker:
      if (worker.agent != nullptr) StepWhenAwake(number, AgentShutdown{});
      return;
    case Disturbance::Kind::kStopRank:
      return StopRank(number);
    case Disturbance::Kind::kStallWorker:
      Trace(absl::StrCat(worker.name, " stands still"));
      worker.awake.ShutUntil(loop_.Now() + disturbance.amount);
      return;
    case Disturbance::Kind::kCutConnection:
      Trace(absl::StrCat("the connection of ", worker.name, " is cut"));
      return Cut(worker.connection, Ending::kCut);
    case Disturbance::Kind::kCutNetwork:
      return CutNetwork(number, true, true, disturbance.amount);
    case Disturbance::Kind::kCutToCoordinator:
      return CutNetwork(number, true, false, disturbance.amount);
    case Disturbance::Kind::kCutToWorker:
      return CutNetwork(number, false, true, disturbance.amount);
    case Disturbance::Kind::kSlowFiles:
      Trace(absl::StrCat("the disk of ", worker.name, " is slow"));
      worker.files_slow_until = loop_.Now() + kSlowTime;
      worker.slowest_file = disturbance.amount;
      return;
    case Disturbance::Kind::kStepWorkerClock:
      Trace(absl::StrCat("the clock of ", worker.name, " is set"));
      worker.clock_set_by += disturbance.amount;
      return;
    default:
      ADD_FAILURE() << "this happens to no worker";
  }
}

SimResult RunCluster(const SimOptions& options) { return SimCluster(options).Run(); }

}  // namespace birkhoff::testing
