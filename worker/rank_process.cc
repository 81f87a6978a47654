// Three threads: the main one trains, one takes frames and ends the process when the supervisor is
// gone, one tells what the rank is at.
#include "worker/rank_process.h"

#include <unistd.h>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/base/exit_status.h"
#include "core/base/guarded.h"
#include "core/base/log.h"
#include "core/base/status_macros.h"
#include "core/net/encoding.h"
#include "kernels/gemm_choices.h"
#include "worker/activity.h"
#include "worker/frame_pipe.h"
#include "worker/local_device.h"
#include "worker/meet_table.h"
#include "worker/rank.h"
#include "worker/transport/gloo.h"
#include "worker/watched.h"

namespace birkhoff {
namespace {

// Longer than any coordinator is away that comes back; the attempt then starts anew.
constexpr absl::Duration kMeetLimit = absl::Minutes(10);

// Between looks at what the rank is at.
constexpr absl::Duration kLook = absl::Milliseconds(250);

std::vector<int> OthersOf(const Assignment& assignment) {
  std::vector<int> others;
  for (int rank = 0; rank < assignment.world_size; ++rank) {
    if (rank != assignment.rank) others.push_back(rank);
  }
  return others;
}

// The pipe as listener, rendezvous, and source of the coordinator's words.
class Supervised final : public RankListener, public Rendezvous {
 public:
  explicit Supervised(int fd) : pipe_(fd) {}

  absl::StatusOr<Assignment> ReadAssignment() {
    ASSIGN_OR_RETURN(const std::string frame, pipe_.Read());
    ASSIGN_OR_RETURN(CoordinatorMessage message, DecodeCoordinatorMessage(frame));
    auto* start = std::get_if<StartAttempt>(&message);
    if (start == nullptr) return absl::InternalError("the first frame is no assignment");
    assignment_ = std::move(start->assignment);
    return assignment_;
  }
  Activity& activity() { return activity_; }

  // Afterwards frames are taken, and the supervisor is told what the rank is at, on threads of
  // their own until the process ends.
  void Listen() {
    std::thread([this] { ListenForever(); }).detach();
    std::thread([this] { TellForever(); }).detach();
  }

  // From here on the rank hears what came before it was there, and what comes.
  void Attach(Rank* rank) {
    absl::MutexLock lock(&mutex_);
    rank_ = rank;
    if (stop_requested_) rank_->RequestStop();
  }
  void Detach() {
    absl::MutexLock lock(&mutex_);
    rank_ = nullptr;
  }

  void Send(WorkerPayload payload) override {
    // A supervisor that is gone is noticed by the listening thread.
    pipe_.Write(EncodeWorkerMessage({"", 0, std::move(payload)})).IgnoreError();
  }

  absl::StatusOr<std::vector<std::string>> Meet(const std::string& key,
                                                const std::string& bytes) override {
    const Activity::Scope scope(activity_, absl::StrCat("meets the others under ", key),
                                OthersOf(assignment_));
    Send(birkhoff::Meet{assignment_.job, assignment_.attempt, assignment_.rank, key, bytes});
    return met_.Await(key, kMeetLimit);
  }

 private:
  void ListenForever() {
    for (;;) {
      const absl::StatusOr<std::string> frame = pipe_.Read();
      if (!frame.ok()) ::_exit(static_cast<int>(ExitCode::kInfrastructure));  // an orphan
      absl::StatusOr<CoordinatorMessage> message = DecodeCoordinatorMessage(*frame);
      if (!message.ok()) ::_exit(static_cast<int>(ExitCode::kInternal));
      Hear(*std::move(message));
    }
  }

  // What the supervisor has heard last is what it knows when this process is stopped.
  void TellForever() {
    RankActivity told{assignment_.job, assignment_.attempt, assignment_.rank, 0, "", {}, ""};
    for (;; absl::SleepFor(kLook)) {
      Doing doing = activity_.Look();
      if (doing.marks == told.marks && doing.what == told.what) continue;
      told.marks = doing.marks;
      told.what = std::move(doing.what);
      told.peers = std::move(doing.peers);
      Send(Heartbeat{told});
    }
  }

  void Hear(CoordinatorMessage message) {
    if (auto* result = std::get_if<MeetResult>(&message)) {
      return met_.Put(result->key, std::move(result->bytes));
    }
    absl::MutexLock lock(&mutex_);
    if (const auto* commit = std::get_if<CommitCheckpoint>(&message)) {
      if (rank_ != nullptr) rank_->CommitCheckpoint(*commit);
    } else if (std::holds_alternative<StopAttempt>(message)) {
      stop_requested_ = true;
      if (rank_ != nullptr) rank_->RequestStop();
    }
  }

  FramePipe pipe_;
  Assignment assignment_;
  Activity activity_;
  absl::Mutex mutex_;
  Rank* rank_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stop_requested_ ABSL_GUARDED_BY(mutex_) = false;
  MeetTable met_;
};

struct End {
  ExitCode code = ExitCode::kDone;
  std::string reason;
};

absl::StatusOr<End> Train(Supervised& supervised, Rank& rank) {
  supervised.Attach(&rank);
  absl::StatusOr<bool> more = true;
  while (more.ok() && *more) more = rank.RunStep();
  absl::Status finished = more.status();
  if (more.ok()) finished = rank.Finish();
  supervised.Detach();
  RETURN_IF_ERROR(finished);
  if (rank.stopped()) return End{ExitCode::kStopped, "stopped after a committed checkpoint"};
  return End{ExitCode::kDone, "all steps are done"};
}

// A rank computes with what the file says as it starts.
absl::StatusOr<GemmChoices> ReadProducts(Disk& disk, const std::string& card) {
  if (card.empty()) return GemmChoices();
  ASSIGN_OR_RETURN(const std::string text, disk.Read(card));
  const absl::StatusOr<GemmChoices> products = GemmChoicesFromText(text);
  if (products.ok()) return products;
  return absl::InvalidArgumentError(absl::StrCat(card, ": ", products.status().message()));
}

absl::StatusOr<End> Run(Supervised& supervised, const RankOptions& rank_options) {
  ASSIGN_OR_RETURN(const Assignment assignment, supervised.ReadAssignment());
  Activity& activity = supervised.activity();
  activity.Begin("joins its peers", OthersOf(assignment));
  supervised.Listen();
  GlooOptions options;
  options.transport.rank = assignment.rank;
  options.world_size = assignment.world_size;
  options.address = assignment.peer_address;
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   ConnectGloo(assignment.plan, supervised, options));
  activity.Begin(absl::StrCat("opens device ", rank_options.device));
  ASSIGN_OR_RETURN(const std::unique_ptr<Device> device,
                   OpenLocalDevice(rank_options.device, rank_options.threads));
  PosixDisk files;
  const std::unique_ptr<Disk> disk = WatchDisk(files, activity);
  const std::unique_ptr<Transport> watched = WatchTransport(*transport, activity);
  SystemClock clock;
  ASSIGN_OR_RETURN(GemmChoices products, ReadProducts(files, rank_options.card));
  const auto log = [&clock](const std::string& line) {
    std::fprintf(stderr, "%s\n", LogLine(clock.WallTime(), line).c_str());
  };
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Rank> rank,
      Rank::Create(assignment, {device.get(), watched.get(), disk.get(), &clock, &supervised,
                                PeakFlopsOf(rank_options.device, assignment.plan.precision),
                                &activity, rank_options.graphs, std::move(products), log}));
  const absl::StatusOr<End> end = Train(supervised, *rank);
  activity.Begin("waits until all ranks are done", OthersOf(assignment));  // ~Transport
  return end;
}

}  // namespace

ExitCode RunRankProcess(int fd, const RankOptions& options) {
  // Never destroyed: the listening thread uses it until the process ends.
  auto* supervised = new Supervised(fd);
  const absl::StatusOr<End> end = Guarded("rank", [&] { return Run(*supervised, options); });
  RankExited exited;
  exited.code = end.ok() ? end->code : ExitCodeOf(end.status());
  exited.reason = end.ok() ? end->reason : std::string(end.status().message());
  exited.disk = !end.ok() && IsDiskTrouble(end.status());
  supervised->Send(exited);
  return exited.code;
}

}  // namespace birkhoff
