// An Attempt stands in for the coordinator: it hands out the assignment, keeps what ranks say,
// commits a checkpoint once all shards are there, and ends everybody when one rank fails.
#include "tests/testing/rank_threads.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"
#include "core/format/token_file.h"
#include "core/plan/compile.h"
#include "tests/testing/rendezvous.h"
#include "tests/testing/test_device.h"
#include "worker/transport/gloo.h"
#include "worker/transport/local.h"

namespace birkhoff::testing {
namespace {

constexpr int kVocabulary = 61;
constexpr char kAnotherFailed[] = "another rank has failed";

// Text of a sort: each token mostly follows from the one before, so that there is something to
// learn.
void WriteTokens(const std::string& path, int count, uint64_t seed) {
  PosixDisk disk;
  auto writer = TokenWriter::Create(disk, {.path = path, .vocab_size = kVocabulary});
  ASSERT_TRUE(writer.ok()) << writer.status();
  Rng rng(seed);
  std::vector<int32_t> tokens = {1};
  while (static_cast<int>(tokens.size()) < count) {
    const int32_t next = (tokens.back() * 7 + 3) % kVocabulary;
    tokens.push_back(rng.Below(4) == 0 ? static_cast<int32_t>(rng.Below(kVocabulary)) : next);
  }
  ASSERT_TRUE((*writer)->AddDocument(tokens).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
}

// One attempt: what the coordinator would keep of it.
class Attempt {
 public:
  explicit Attempt(const RunOptions& options) : options_(options) {
    if (options_.disk == nullptr) options_.disk = &posix_;
  }

  RunResult Run() {
    const absl::StatusOr<Plan> plan = CompilePlan(options_.spec, ClusterSpec{});
    if (!plan.ok()) {
      result_.statuses = {plan.status()};
      return result_;
    }
    assignment_.job = "jobs/test";
    assignment_.attempt = options_.attempt;
    assignment_.spec = options_.spec;
    assignment_.plan = *plan;
    assignment_.plan_hash = PlanHash(*plan);
    assignment_.world_size = plan->num_ranks * plan->num_replicas;
    assignment_.output_directory = options_.directory;
    assignment_.fresh = options_.fresh;
    if (options_.change_assignment) options_.change_assignment(assignment_);
    RunThreads();
    return result_;
  }

  // What a rank tells the coordinator.
  void Receive(WorkerPayload payload) {
    absl::MutexLock lock(&mutex_);
    if (auto* done = std::get_if<StepDone>(&payload)) {
      result_.reports[done->rank].push_back(done->report);
    } else if (auto* ready = std::get_if<RankReady>(&payload)) {
      result_.ready.push_back(*ready);
    } else if (auto* committed = std::get_if<CheckpointCommitted>(&payload)) {
      result_.committed.push_back(*committed);
    } else if (auto* noticed = std::get_if<Noticed>(&payload)) {
      result_.notices.push_back(*noticed);
    } else if (auto* shard = std::get_if<ShardDurable>(&payload)) {
      Collect(*shard);
    }
  }

 private:
  class Listener final : public RankListener {
   public:
    explicit Listener(Attempt& attempt) : attempt_(attempt) {}
    void Send(WorkerPayload payload) override { attempt_.Receive(std::move(payload)); }

   private:
    Attempt& attempt_;
  };

  void RunThreads() {
    const int world = assignment_.world_size;
    result_.statuses.resize(world);
    result_.reports.resize(world);
    result_.stopped.resize(world);
    transports_.resize(world);
    hub_ = std::make_unique<LocalHub>(world);
    point_ = std::make_unique<ThreadMeetingPoint>(world);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < world; ++rank) {
      threads.emplace_back([this, rank] {
        const absl::Status status = RunRank(rank);
        absl::MutexLock lock(&mutex_);
        result_.statuses[rank] = status;
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  absl::StatusOr<std::unique_ptr<Transport>> Connect(int rank) {
    if (options_.transport == "local") {
      return NewLocalTransport(*hub_, assignment_.plan, {.rank = rank, .check_stamps = true});
    }
    ThreadRendezvous rendezvous(*point_, rank);
    GlooOptions gloo;
    gloo.transport = {.rank = rank, .check_stamps = true};
    gloo.world_size = assignment_.world_size;
    return ConnectGloo(assignment_.plan, rendezvous, gloo);
  }

  absl::Status RunRank(int rank) {
    ASSIGN_OR_RETURN(std::unique_ptr<Transport> transport, Connect(rank));
    if (options_.wrap_transport) {
      transport = options_.wrap_transport(rank, std::move(transport));
    }
    {
      absl::MutexLock lock(&mutex_);
      transports_[rank] = transport.get();
    }
    const absl::Status status = Train(rank, *transport);
    absl::MutexLock lock(&mutex_);
    transports_[rank] = nullptr;
    if (!status.ok()) {  // the coordinator would kill the others
      for (Transport* other : transports_) {
        if (other != nullptr) other->Abort(absl::AbortedError(kAnotherFailed));
      }
    }
    return status;
  }

  absl::Status Train(int rank, Transport& transport) {
    Assignment assignment = assignment_;
    assignment.rank = rank;
    const std::unique_ptr<Device> device =
        options_.make_device ? options_.make_device(rank, transport) : NewTestDevice();
    Listener listener(*this);
    const auto log = [this](const std::string& line) {
      absl::MutexLock lock(&mutex_);
      result_.log.push_back(line);
    };
    Rank::Environment environment = {device.get(), &transport, options_.disk, &clock_, &listener};
    environment.peak_flops = options_.peak_flops;
    environment.graphs = options_.graphs;
    environment.products = options_.products;
    environment.log = log;
    ASSIGN_OR_RETURN(const std::unique_ptr<Rank> self, Rank::Create(assignment, environment));
    if (rank == 0) SetRankZero(self.get());
    const absl::Status status = Steps(rank, transport, *self);
    if (rank == 0) SetRankZero(nullptr);
    absl::MutexLock lock(&mutex_);
    result_.stopped[rank] = self->stopped();
    return status;
  }

  absl::Status Steps(int rank, Transport& transport, Rank& self) {
    bool more = true;
    for (int64_t steps = 0; more; ++steps) {
      if (options_.before_step) options_.before_step(rank, steps, self, transport);
      ASSIGN_OR_RETURN(more, self.RunStep());
    }
    return self.Finish();
  }

  void SetRankZero(Rank* rank) {
    absl::MutexLock lock(&mutex_);
    rank_zero_ = rank;
  }

  void Collect(const ShardDurable& shard) {
    auto& shards = shards_[shard.step];
    shards[shard.rank] = {shard.rank, shard.file, shard.checksum, shard.bytes};
    if (static_cast<int>(shards.size()) < assignment_.world_size || rank_zero_ == nullptr) return;
    CommitCheckpoint commit{assignment_.job, assignment_.attempt, shard.step, {}};
    for (const auto& [rank, one] : shards) commit.shards.push_back(one);
    rank_zero_->CommitCheckpoint(commit);
  }

  RunOptions options_;
  PosixDisk posix_;
  SystemClock clock_;
  Assignment assignment_;
  std::unique_ptr<LocalHub> hub_;
  std::unique_ptr<ThreadMeetingPoint> point_;

  absl::Mutex mutex_;
  RunResult result_;
  std::vector<Transport*> transports_;  // of ranks that run
  Rank* rank_zero_ = nullptr;
  std::map<int64_t, std::map<int, Shard>> shards_;  // by step, then rank
};

}  // namespace

std::string NewTestDirectory() {
  std::string path = absl::StrCat(::testing::TempDir(), "/birkhoff-XXXXXX");
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

JobSpec SmallJob(const std::string& directory) {
  JobSpec spec;
  spec.name = "small";
  spec.model.vocab_size = kVocabulary;
  spec.model.hidden_size = 16;
  spec.model.num_hidden_layers = 4;
  spec.model.num_attention_heads = 2;
  spec.model.num_key_value_heads = 1;
  spec.model.intermediate_size = 24;
  spec.training.steps = 12;
  spec.training.sequence_length = 16;
  spec.training.micro_batch_size = 1;
  spec.training.global_batch_size = 16;
  spec.training.validation_interval = 5;
  spec.training.validation_batches = 3;  // neither pairs nor two replicas divide it
  spec.optimizer.lr = 1e-2;
  spec.lr_schedule.warmup_steps = 3;
  spec.parallelism.pipeline_parallel_degree = 2;
  spec.parallelism.schedule = ScheduleKind::k1F1B;
  spec.parallelism.recompute = ParallelismSpec::kRecomputeNone;
  spec.checkpoint.interval = 4;
  spec.data.train = {{directory + "/train", 1.0}};
  spec.data.validation = directory + "/validation";
  if (TestDeviceName() == "cuda") {
    spec.device = DeviceKind::kCuda;
    spec.training.precision = PrecisionKind::kFp32;
    spec.training.deterministic = Toggle::kTrue;
    spec.parallelism.pipeline_parallel_degree = 1;
  }
  WriteTokens(directory + "/train", 6000, 1);
  WriteTokens(directory + "/validation", 600, 2);
  return spec;
}

absl::Status RunResult::status() const {
  absl::Status first;
  for (const absl::Status& status : statuses) {
    if (!status.ok() && !absl::StrContains(status.message(), kAnotherFailed)) return status;
    first.Update(status);
  }
  return first;
}

std::vector<double> RunResult::losses() const {
  std::vector<double> losses;
  for (const StepReport& report : reports.front()) losses.push_back(report.loss);
  return losses;
}

RunResult RunRanks(const RunOptions& options) { return Attempt(options).Run(); }

std::vector<int64_t> MetricsSteps(Disk& disk, const std::string& out) {
  std::vector<int64_t> steps;
  const std::string text = disk.Read(out + "/metrics.jsonl").value_or("");
  for (const absl::string_view row : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    int64_t step = -1;
    const absl::string_view digits = row.substr(sizeof("{\"step\":") - 1);
    EXPECT_TRUE(absl::SimpleAtoi(digits.substr(0, digits.find(',')), &step)) << row;
    EXPECT_EQ(row.back(), '}');
    steps.push_back(step);
  }
  return steps;
}

std::string TensorChecksums(Disk& disk, const std::string& checkpoint) {
  const auto reader = CheckpointReader::Open(disk, checkpoint);
  if (!reader.ok()) return reader.status().ToString();
  std::string text;
  for (const auto& [name, tensor] : (*reader)->manifest().tensors) {
    absl::StrAppend(&text, name, " ", tensor.checksum, "\n");
  }
  return text;
}

}  // namespace birkhoff::testing
