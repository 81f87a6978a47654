// The people's and the watchers' side of the coordinator, and the replay.
#include "coordinator/coordinator.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/event_codec.h"
#include "coordinator/held_lock.h"
#include "coordinator/job_record.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "core/net/encoding.h"

namespace birkhoff {
namespace {

constexpr size_t kMaxPendingSteps = 1024;  // beyond it workers must wait for the store
constexpr int kDefaultPageSize = 50;
constexpr int kLargestPageSize = 1000;

JobGraces Graces(const CoordinatorOptions& options) {
  return {options.stop_grace, options.abort_grace};
}

// Of the job that a request makes under the name jobs/{job}.
std::string OutputDirectoryOf(const SubmitRequest& request, const std::string& name) {
  const std::string parent = request.output_directory.empty() ? "runs/" : request.output_directory;
  if (!absl::EndsWith(parent, "/")) return parent;
  return absl::StrCat(parent, absl::StripPrefix(name, "jobs/"));
}

// One name for a directory however it is written, as far as words can tell.
std::string Normalised(const std::string& directory) {
  std::string path = std::filesystem::path(directory).lexically_normal();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// Where the job writes: its output directory and that of its checkpoints.
std::vector<std::string> RootsOf(const JobCreated& job) {
  const std::string& checkpoints = job.spec->checkpoint.directory;
  std::vector<std::string> roots = {Normalised(job.output_directory)};
  roots.push_back(checkpoints.empty() ? roots[0] + "/checkpoints" : Normalised(checkpoints));
  return roots;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Create(const CoordinatorOptions& options,
                                                                 const Clock& clock,
                                                                 JobStore& store, Planner planner) {
  auto coordinator =
      std::unique_ptr<Coordinator>(new Coordinator(options, clock, store, std::move(planner)));
  RETURN_IF_ERROR(coordinator->Replay());
  return coordinator;
}

Coordinator::Coordinator(const CoordinatorOptions& options, const Clock& clock, JobStore& store,
                         Planner planner)
    : options_(options),
      clock_(clock),
      store_(store),
      planner_(std::move(planner)),
      registry_(options.lease, options.metrics_retention) {}

Coordinator::~Coordinator() = default;

absl::Status Coordinator::Replay() {
  ASSIGN_OR_RETURN(const std::vector<StoredEvent> events, store_.ReadForReplay());
  absl::MutexLock lock(&mutex_);
  for (const StoredEvent& stored : events) RETURN_IF_ERROR(ReplayEvent(stored));
  for (const auto& [name, record] : jobs_) {
    Reindex(*record);
    record->meter.Begin(clock_.Now(), record->job);
  }
  ExpectWorkers();
  last_tick_ = started_ = clock_.Now();
  return absl::OkStatus();
}

absl::Status Coordinator::ReplayEvent(const StoredEvent& stored) {
  ASSIGN_OR_RETURN(const JobEvent event, DecodeJobEvent(stored));
  std::unique_ptr<JobRecord>& record = jobs_[stored.job];
  if (record == nullptr) {
    record = std::make_unique<JobRecord>(Job(stored.job, Graces(options_)), options_);
    record->sequence = next_sequence_++;
    record->create_time = absl::FromUnixNanos(stored.wall_ns);
  }
  // Real time has passed since; a grace or a restart delay that ran then starts anew.
  const absl::Status status = record->job.Step(clock_.Now(), event).status();
  if (!status.ok()) {
    return absl::DataLossError(absl::StrCat("event ", stored.id, " of ", stored.job, " (",
                                            stored.kind, ") does not fit: ", status.message()));
  }
  record->update_time = absl::FromUnixNanos(stored.wall_ns);
  record->meter.Replayed(record->update_time, event);
  record->last_id = record->durable_id = std::max(record->last_id, stored.id);
  // As long ago as the clocks of two processes can say.
  record->over_since = clock_.Now() + (record->update_time - clock_.WallTime());
  return absl::OkStatus();
}

void Coordinator::ExpectWorkers() {
  for (const auto& [name, record] : jobs_) {
    const std::vector<JobRank>& ranks = record->job.ranks();
    if (!ranks.empty() && !IsOver(record->job.state())) WatchAttempt(*record);
    for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
      if (ranks[rank].gone) continue;
      const PlacedWorker& worker = ranks[rank].worker;
      registry_.Expect(clock_.Now(), worker.worker, worker.incarnation);
      registry_.Assign(worker.worker, name, record->job.attempt(), rank);
    }
  }
}

absl::StatusOr<JobRecord*> Coordinator::FindJob(const std::string& name) const {
  const auto found = jobs_.find(name);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", name));
  return found->second.get();
}

JobView Coordinator::View(const JobRecord& record, bool with_spec) const {
  JobView view = MakeJobView(record.job, with_spec);
  if (std::optional<JobReason> why = WhyItWaits(record)) view.reason = *std::move(why);
  view.create_time = record.create_time;
  view.update_time = record.update_time;
  view.last_event_id = record.durable_id;
  return view;
}

absl::StatusOr<JobView> Coordinator::Submit(const SubmitRequest& request) {
  absl::StatusOr<JobView> view;
  Aftermath aftermath;
  {
    HeldLock lock(&mutex_, clock_, &lock_held_);
    view = SubmitLocked(request);
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  if (!view.ok()) return view;
  Schedule();
  return view;
}

// The job that an earlier call with the same request id made; NOT_FOUND if there was none.
absl::StatusOr<JobView> Coordinator::SameRequest(const SubmitRequest& request) const {
  const auto found = by_request_.find(request.request_id);
  if (request.request_id.empty() || found == by_request_.end()) {
    return absl::NotFoundError("a new request");
  }
  const JobRecord& record = *found->second;
  const std::string& name = record.job.name();
  const JobCreated& made = record.job.request();
  const bool same = EncodeJobSpec(*made.spec) == EncodeJobSpec(request.spec) &&
                    made.priority == request.priority && made.fresh == request.fresh &&
                    made.changes == request.changes && made.init_from == request.init_from &&
                    made.output_directory == OutputDirectoryOf(request, name);
  if (same) return View(record);
  return absl::AlreadyExistsError(absl::StrCat("request_id ", request.request_id, " made ", name,
                                               " from another request; need a new request_id"));
}

// Two jobs in one directory would take each other's checkpoints for their own.
absl::Status Coordinator::CheckNobodyWritesTo(const JobCreated& created) const {
  for (const std::string& root : RootsOf(created)) {
    const auto found = by_directory_.find(root);
    if (found == by_directory_.end()) continue;
    const Job& job = found->second->job;
    const bool output = root == Normalised(created.output_directory);
    return absl::AlreadyExistsError(absl::StrCat(
        output ? "output_directory" : "checkpoint.directory", ": ", root, " is that of ",
        job.name(), ", which is ", JobStateName(job.state()), "; need another one"));
  }
  return absl::OkStatus();
}

// A name that was used by a job that is over gets a number: jobs/tiny, jobs/tiny-2, ...  Numbers
// before the latest are not looked at again: those jobs are over for good.
absl::StatusOr<std::string> Coordinator::NewJobName(const std::string& name) {
  for (int& number = last_number_.try_emplace(name, 1).first->second;; ++number) {
    const std::string candidate =
        number == 1 ? absl::StrCat("jobs/", name) : absl::StrCat("jobs/", name, "-", number);
    const auto found = jobs_.find(candidate);
    if (found == jobs_.end()) return candidate;
    const JobState state = found->second->job.state();
    if (IsOver(state)) continue;
    return absl::AlreadyExistsError(absl::StrCat(candidate, " is ", JobStateName(state),
                                                 "; need another name, or cancel it first"));
  }
}

absl::StatusOr<JobView> Coordinator::SubmitLocked(const SubmitRequest& request) {
  absl::StatusOr<JobView> same = SameRequest(request);
  if (!absl::IsNotFound(same.status())) return same;
  ASSIGN_OR_RETURN(const std::string name, NewJobName(request.spec.name));
  JobCreated created;
  created.spec = std::make_shared<const JobSpec>(request.spec);
  created.request_id = request.request_id;
  created.priority = request.priority;
  created.output_directory = OutputDirectoryOf(request, name);
  RETURN_IF_ERROR(CheckNobodyWritesTo(created));
  created.fresh = request.fresh;
  created.changes = request.changes;
  created.init_from = request.init_from;
  JobRecord& record =
      *(jobs_[name] = std::make_unique<JobRecord>(Job(name, Graces(options_)), options_));
  record.sequence = next_sequence_;
  record.create_time = clock_.WallTime();
  // Once it is in the log it stays here too, whatever fails after that.
  const absl::Cleanup forget = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (record.last_id > 0) return;
    unwritten_.erase(name);
    jobs_.erase(name);
  };
  RETURN_IF_ERROR(Apply(record, created));
  return View(record);
}

absl::StatusOr<JobView> Coordinator::GetJob(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const JobRecord* record, FindJob(name));
  return View(*record);
}

absl::StatusOr<JobPage> Coordinator::ListJobs(const ListRequest& request) const {
  if (request.page_size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size: ", request.page_size, "; need 0 or more"));
  }
  int64_t before = std::numeric_limits<int64_t>::max();
  const bool sent = !request.page_token.empty();
  if (sent && (!absl::SimpleAtoi(request.page_token, &before) || before < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("page_token: \"", request.page_token,
                                                   "\" did not come from an earlier answer"));
  }
  const size_t limit =
      request.page_size == 0 ? kDefaultPageSize : std::min(request.page_size, kLargestPageSize);
  absl::MutexLock lock(&mutex_);
  JobPage page;
  for (auto at = std::make_reverse_iterator(by_sequence_.lower_bound(before));
       at != by_sequence_.rend(); ++at) {
    const JobRecord& record = *at->second;
    const bool wanted =
        request.states.empty() || std::ranges::count(request.states, record.job.state()) > 0;
    if (!wanted) continue;
    if (page.jobs.size() == limit) {
      page.next_page_token = page.jobs.back().page_token;
      break;
    }
    page.jobs.push_back(View(record, request.with_spec));
    page.jobs.back().page_token = absl::StrCat(record.sequence);
  }
  return page;
}

absl::StatusOr<JobView> Coordinator::Cancel(const std::string& name) {
  absl::StatusOr<JobView> view;
  Aftermath aftermath;
  {
    HeldLock lock(&mutex_, clock_, &lock_held_);
    ASSIGN_OR_RETURN(JobRecord * record, FindJob(name));
    MakeUpForGap(clock_.Now());
    const absl::Status status = Apply(*record, CancelRequested{});
    if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
    view = View(*record);
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  Schedule();
  return view;
}

absl::StatusOr<Plan> Coordinator::GetPlan(const std::string& name) const {
  std::string hash;
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(const JobRecord* record, FindJob(name));
    if (record->plan != nullptr) return *record->plan;
    hash = record->job.plan_hash();
  }
  if (hash.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " has no plan yet: it has not been given workers"));
  }
  ASSIGN_OR_RETURN(const std::string bytes, store_.GetPlan(hash));
  return DecodePlan(bytes);
}

std::vector<WorkerView> Coordinator::ListWorkers() const {
  absl::MutexLock lock(&mutex_);
  std::vector<WorkerView> views;
  for (const auto& [name, worker] : registry_.workers()) {
    WorkerView& view = views.emplace_back();
    view.resources = worker.resources;
    view.resources.name = name;
    view.address = worker.address;
    view.job = worker.job;
    view.attempt = worker.attempt;
    view.rank = worker.rank;
    view.last_heard = worker.last_heard;
    view.state = worker.lost          ? WorkerState::kLost
                 : worker.job.empty() ? WorkerState::kIdle
                                      : WorkerState::kBusy;
  }
  return views;
}

absl::StatusOr<std::vector<JobUpdate>> Coordinator::ReadUpdates(const std::string& name,
                                                                int64_t after_id, int limit) const {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(const JobRecord* record, FindJob(name));
    if (after_id > record->last_id) {
      return absl::OutOfRangeError(absl::StrCat("event id ", after_id, " lies in the future of ",
                                                name, ", whose latest is ", record->last_id));
    }
    if (after_id >= record->durable_id) return std::vector<JobUpdate>{};
  }
  ASSIGN_OR_RETURN(const std::vector<StoredEvent> stored, store_.Read(name, after_id, limit));
  std::vector<JobUpdate> updates;
  for (const StoredEvent& event : stored) {
    ASSIGN_OR_RETURN(updates.emplace_back(), MakeJobUpdate(event));
  }
  return updates;
}

absl::StatusOr<std::vector<JobUpdate>> Coordinator::WaitForUpdates(const std::string& name,
                                                                   int64_t after_id, int limit,
                                                                   absl::Duration timeout) const {
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(const JobRecord* record, FindJob(name));
    const auto news = [&] { return record->durable_id > after_id; };
    mutex_.AwaitWithTimeout(absl::Condition(&news), timeout);
  }
  return ReadUpdates(name, after_id, limit);
}

std::unique_ptr<Coordinator::Subscription> Coordinator::Subscribe(const std::string& name,
                                                                  std::function<void()> wake) {
  auto watcher = std::make_shared<Watcher>();
  {
    absl::MutexLock lock(&watcher->mutex);
    watcher->wake = std::move(wake);
  }
  absl::MutexLock lock(&mutex_);
  if (const auto found = jobs_.find(name); found != jobs_.end()) {
    found->second->watchers.insert(watcher);
    watched_[name] = found->second.get();
  }
  return std::make_unique<Subscription>(*this, name, watcher);
}

Coordinator::Subscription::Subscription(Coordinator& coordinator, std::string job,
                                        std::shared_ptr<Watcher> watcher)
    : coordinator_(coordinator), job_(std::move(job)), watcher_(std::move(watcher)) {}

Coordinator::Subscription::~Subscription() {
  coordinator_.Unsubscribe(job_, watcher_);
  absl::MutexLock lock(&watcher_->mutex);
  watcher_->wake = nullptr;
}

void Coordinator::Unsubscribe(const std::string& name, const std::shared_ptr<Watcher>& watcher) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = jobs_.find(name); found != jobs_.end()) {
    found->second->watchers.erase(watcher);
    if (found->second->watchers.empty()) watched_.erase(name);
  }
}

absl::Status Coordinator::Apply(JobRecord& record, const JobEvent& event) {
  if (record.pending.size() >= kMaxPendingSteps) RETURN_IF_ERROR(WritePending());
  Job next = record.job;
  ASSIGN_OR_RETURN(const std::vector<JobEffect> effects, next.Step(clock_.Now(), event));
  StoredEvent stored;
  EncodeJobEvent(event, &stored);
  stored.job = next.name();
  stored.id = record.last_id + 1;
  stored.wall_ns = absl::ToUnixNanos(clock_.WallTime());
  DescribeChange(record.job, next, &stored);
  unfinished_.reserve(unfinished_.size() + 1);
  unwritten_[next.name()] = &record;
  record.pending.push_back(std::move(stored));
  if (!std::holds_alternative<StepDone>(event)) {
    absl::Cleanup drop = [&record] { record.pending.pop_back(); };
    RETURN_IF_ERROR(AppendToStore(record.pending));
    std::move(drop).Cancel();
    record.pending.clear();
    record.durable_id = record.last_id + 1;
  }
  // The log has it.  Where memory runs out from here on, the next tick does what is left.
  ++record.last_id;
  record.update_time = clock_.WallTime();
  const JobState before = record.job.state();
  record.job = std::move(next);
  unfinished_.push_back(&record);
  Reindex(record);
  if (record.durable_id == record.last_id) WakeWatchers(record);
  Observe(record, event, before);
  Perform(record, effects);
  unfinished_.pop_back();
  return absl::OkStatus();
}

// A refusal shows in the log, the metrics and the health until the store takes events again; what
// only damage explains shows for good.
absl::Status Coordinator::AppendToStore(const std::vector<StoredEvent>& events) {
  const Instant began = clock_.Now();
  const absl::Status status = store_.Append(events);
  store_commits_.Observe(absl::ToDoubleSeconds(clock_.Now() - began));
  store_refusals_ += status.ok() ? 0 : 1;
  NoteStore(status);
  return status;
}

void Coordinator::NoteStore(const absl::Status& status) {
  if (status == store_status_ || absl::IsDataLoss(store_status_)) return;
  aftermath_.lines.push_back(status.ok() ? "job store: it takes events again"
                                         : std::string(status.message()));
  store_status_ = status;
}

absl::Status Coordinator::StoreStatus() const {
  absl::MutexLock lock(&mutex_);
  return store_status_;
}

void Coordinator::Reindex(JobRecord& record) {
  const Job& job = record.job;
  const std::string& name = job.name();
  if (by_sequence_.try_emplace(record.sequence, &record).second) {
    next_sequence_ = std::max(next_sequence_, record.sequence + 1);
  }
  if (const std::string& id = job.request().request_id; !id.empty()) by_request_[id] = &record;
  const bool waits = job.state() == JobState::kQueued || job.state() == JobState::kRecovering;
  const std::pair<int, int64_t> place{-job.request().priority, record.sequence};
  const bool waited = record.queue.has_value();
  if (waited) {
    const auto queue = queues_.find(*record.queue);
    queue->second.erase(place);
    if (queue->second.empty()) queues_.erase(queue);
  }
  record.queue.reset();
  if (waits) {
    if (!waited) record.waits_since = record.update_time;
    record.queue = {static_cast<int>(DeviceOf(job)), NumRanks(job.spec())};
    queues_[*record.queue][place] = &record;
  }
  const bool over = IsOver(job.state());
  if (over || job.state() == JobState::kQueued) {
    busy_.erase(name);
  } else {
    busy_[name] = &record;
  }
  for (const std::string& root : RootsOf(job.request())) {
    if (!over) {
      by_directory_.try_emplace(root, &record);
    } else if (const auto found = by_directory_.find(root);
               found != by_directory_.end() && found->second == &record) {
      by_directory_.erase(found);
    }
  }
}

// Says again what ranks may not have heard; they ignore what they know.
void Coordinator::FinishWhatFailed() {
  while (!unfinished_.empty()) {
    JobRecord& record = *unfinished_.back();
    Reindex(record);
    for (int rank = 0; rank < static_cast<int>(record.job.ranks().size()); ++rank) {
      if (record.job.ranks()[rank].gone) {
        Perform(record, {ReleaseRank{rank}});
      } else {
        registry_.Assign(record.job.ranks()[rank].worker.worker, record.job.name(),
                         record.job.attempt(), rank);
        Perform(record, record.job.Resync(rank));
      }
    }
    unfinished_.pop_back();
  }
}

void Coordinator::WakeWatchers(const JobRecord& record) {
  aftermath_.wakes.insert(aftermath_.wakes.end(), record.watchers.begin(), record.watchers.end());
}

// Step reports are written together; the rest of the log never waits for them to be written alone.
absl::Status Coordinator::WritePending() {
  std::vector<StoredEvent> batch;
  for (const auto& [name, record] : unwritten_) {
    batch.insert(batch.end(), record->pending.begin(), record->pending.end());
  }
  if (!batch.empty()) RETURN_IF_ERROR(AppendToStore(batch));
  const std::map<std::string, JobRecord*> written = std::exchange(unwritten_, {});
  for (const auto& [name, record] : written) {
    if (record->pending.empty()) continue;
    record->durable_id = record->pending.back().id;
    record->pending.clear();
  }
  for (const auto& [name, record] : written) WakeWatchers(*record);
  return absl::OkStatus();
}

Coordinator::Aftermath Coordinator::TakeAftermath() { return std::exchange(aftermath_, {}); }

void Coordinator::Finish(const Aftermath& aftermath) const {
  for (const std::shared_ptr<Watcher>& watcher : aftermath.wakes) {
    absl::MutexLock lock(&watcher->mutex);
    if (watcher->wake) watcher->wake();
  }
  if (!options_.log) return;
  for (const std::string& line : aftermath.lines) options_.log(Printable(line));
}

}  // namespace birkhoff
