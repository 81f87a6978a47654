// The people's and the watchers' side of the driver, and the replay.
#include "coordinator/driver.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/event_codec.h"
#include "coordinator/job_view.h"
#include "core/base/status_macros.h"
#include "core/net/wire.h"

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

// Removes itself from the driver, which must outlive it.
class DriverSubscription final : public Coordinator::Subscription {
 public:
  DriverSubscription(Driver& driver, std::string job, std::shared_ptr<Watcher> watcher)
      : driver_(driver), job_(std::move(job)), watcher_(std::move(watcher)) {}
  ~DriverSubscription() override {
    driver_.Unsubscribe(job_, watcher_);
    absl::MutexLock lock(&watcher_->mutex);
    watcher_->wake = nullptr;
  }

 private:
  Driver& driver_;
  std::string job_;
  std::shared_ptr<Watcher> watcher_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Create(const CoordinatorOptions& options,
                                                                 const Clock& clock,
                                                                 JobStore& store, Planner planner) {
  auto driver = std::make_unique<Driver>(options, clock, store, std::move(planner));
  RETURN_IF_ERROR(driver->Replay());
  return driver;
}

Driver::Driver(const CoordinatorOptions& options, const Clock& clock, JobStore& store,
               Planner planner)
    : options_(options),
      clock_(clock),
      store_(store),
      planner_(std::move(planner)),
      registry_(options.lease, options.metrics_retention) {}

absl::Status Driver::Replay() {
  ASSIGN_OR_RETURN(const std::vector<StoredEvent> events, store_.ReadForReplay());
  absl::MutexLock lock(&mutex_);
  for (const StoredEvent& stored : events) RETURN_IF_ERROR(ReplayEvent(stored));
  ExpectWorkers();
  return absl::OkStatus();
}

absl::Status Driver::ReplayEvent(const StoredEvent& stored) {
  ASSIGN_OR_RETURN(const JobEvent event, DecodeJobEvent(stored));
  std::unique_ptr<JobRecord>& record = jobs_[stored.job];
  if (record == nullptr) {
    record =
        std::make_unique<JobRecord>(Job(stored.job, Graces(options_)), options_.metrics_window);
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
  record->last_id = record->durable_id = std::max(record->last_id, stored.id);
  record->over_since = clock_.Now();
  return absl::OkStatus();
}

void Driver::ExpectWorkers() {
  for (const auto& [name, record] : jobs_) {
    const std::vector<JobRank>& ranks = record->job.ranks();
    for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
      if (ranks[rank].gone) continue;
      const PlacedWorker& worker = ranks[rank].worker;
      registry_.Expect(clock_.Now(), worker.worker, worker.incarnation);
      registry_.Assign(worker.worker, name, record->job.attempt(), rank);
    }
  }
}

absl::StatusOr<JobRecord*> Driver::FindJob(const std::string& name) const {
  const auto found = jobs_.find(name);
  if (found == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", name));
  return found->second.get();
}

JobView Driver::View(const JobRecord& record) const {
  JobView view = MakeJobView(record.job);
  view.create_time = record.create_time;
  view.update_time = record.update_time;
  view.last_event_id = record.durable_id;
  return view;
}

absl::StatusOr<JobView> Driver::Submit(const SubmitRequest& request) {
  absl::StatusOr<JobView> view;
  Aftermath aftermath;
  {
    absl::MutexLock lock(&mutex_);
    view = SubmitLocked(request);
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  if (!view.ok()) return view;
  Schedule();
  return view;
}

// The job that an earlier call with the same request id made; NOT_FOUND if there was none.
absl::StatusOr<JobView> Driver::SameRequest(const SubmitRequest& request) const {
  for (const auto& [name, record] : jobs_) {
    const JobCreated& made = record->job.request();
    if (request.request_id.empty() || made.request_id != request.request_id) continue;
    const bool same = EncodeJobSpec(*made.spec) == EncodeJobSpec(request.spec) &&
                      made.priority == request.priority && made.fresh == request.fresh &&
                      made.output_directory == OutputDirectoryOf(request, name);
    if (same) return View(*record);
    return absl::AlreadyExistsError(absl::StrCat("request_id ", request.request_id, " made ", name,
                                                 " from another request; need a new request_id"));
  }
  return absl::NotFoundError("a new request");
}

// Two jobs in one directory would take each other's checkpoints for their own.
absl::Status Driver::CheckNobodyWritesTo(const std::string& directory) const {
  for (const auto& [name, record] : jobs_) {
    const Job& job = record->job;
    if (IsOver(job.state()) || job.request().output_directory != directory) continue;
    return absl::AlreadyExistsError(absl::StrCat("output_directory: ", directory, " is that of ",
                                                 name, ", which is ", JobStateName(job.state()),
                                                 "; need another one"));
  }
  return absl::OkStatus();
}

// A name that was used by a job that is over gets a number: jobs/tiny, jobs/tiny-2, ...
absl::StatusOr<std::string> Driver::NewJobName(const std::string& name) const {
  std::string candidate = absl::StrCat("jobs/", name);
  for (int number = 2; jobs_.contains(candidate); ++number) {
    if (!IsOver(jobs_.at(candidate)->job.state())) {
      return absl::AlreadyExistsError(absl::StrCat(candidate, " is ",
                                                   JobStateName(jobs_.at(candidate)->job.state()),
                                                   "; need another name, or cancel it first"));
    }
    candidate = absl::StrCat("jobs/", name, "-", number);
  }
  return candidate;
}

absl::StatusOr<JobView> Driver::SubmitLocked(const SubmitRequest& request) {
  absl::StatusOr<JobView> same = SameRequest(request);
  if (!absl::IsNotFound(same.status())) return same;
  ASSIGN_OR_RETURN(const std::string name, NewJobName(request.spec.name));
  JobCreated created;
  created.spec = std::make_shared<const JobSpec>(request.spec);
  created.request_id = request.request_id;
  created.priority = request.priority;
  created.output_directory = OutputDirectoryOf(request, name);
  RETURN_IF_ERROR(CheckNobodyWritesTo(created.output_directory));
  created.fresh = request.fresh;
  auto record = std::make_unique<JobRecord>(Job(name, Graces(options_)), options_.metrics_window);
  record->sequence = next_sequence_;
  record->create_time = clock_.WallTime();
  RETURN_IF_ERROR(Apply(*record, created));
  ++next_sequence_;
  return View(*(jobs_[name] = std::move(record)));
}

absl::StatusOr<JobView> Driver::GetJob(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const JobRecord* record, FindJob(name));
  return View(*record);
}

absl::StatusOr<JobPage> Driver::ListJobs(const ListRequest& request) const {
  if (request.page_size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size: ", request.page_size, "; need 0 or more"));
  }
  int64_t before = std::numeric_limits<int64_t>::max();
  if (!request.page_token.empty() && !absl::SimpleAtoi(request.page_token, &before)) {
    return absl::InvalidArgumentError(absl::StrCat("page_token: \"", request.page_token,
                                                   "\" did not come from an earlier answer"));
  }
  const size_t limit =
      request.page_size == 0 ? kDefaultPageSize : std::min(request.page_size, kLargestPageSize);
  absl::MutexLock lock(&mutex_);
  std::vector<const JobRecord*> records;
  for (const auto& [name, record] : jobs_) {
    const bool wanted =
        request.states.empty() || std::ranges::count(request.states, record->job.state()) > 0;
    if (wanted && record->sequence < before) records.push_back(record.get());
  }
  std::ranges::sort(records, std::greater(), &JobRecord::sequence);
  JobPage page;
  for (const JobRecord* record : records) {
    if (page.jobs.size() == limit) break;
    page.jobs.push_back(View(*record));
  }
  if (records.size() > limit) page.next_page_token = absl::StrCat(records[limit - 1]->sequence);
  return page;
}

absl::StatusOr<JobView> Driver::Cancel(const std::string& name) {
  absl::StatusOr<JobView> view;
  Aftermath aftermath;
  {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(JobRecord * record, FindJob(name));
    const absl::Status status = Apply(*record, CancelRequested{});
    if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
    view = View(*record);
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  Schedule();
  return view;
}

absl::StatusOr<Plan> Driver::GetPlan(const std::string& name) const {
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

std::vector<WorkerView> Driver::ListWorkers() const {
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

absl::StatusOr<std::vector<JobUpdate>> Driver::ReadUpdates(const std::string& name,
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

absl::StatusOr<std::vector<JobUpdate>> Driver::WaitForUpdates(const std::string& name,
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

std::unique_ptr<Coordinator::Subscription> Driver::Subscribe(const std::string& name,
                                                             std::function<void()> wake) {
  auto watcher = std::make_shared<Watcher>();
  {
    absl::MutexLock lock(&watcher->mutex);
    watcher->wake = std::move(wake);
  }
  absl::MutexLock lock(&mutex_);
  if (const auto found = jobs_.find(name); found != jobs_.end()) {
    found->second->watchers.insert(watcher);
  }
  return std::make_unique<DriverSubscription>(*this, name, watcher);
}

void Driver::Unsubscribe(const std::string& name, const std::shared_ptr<Watcher>& watcher) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = jobs_.find(name); found != jobs_.end()) {
    found->second->watchers.erase(watcher);
  }
}

absl::Status Driver::Apply(JobRecord& record, const JobEvent& event) {
  if (record.pending.size() >= kMaxPendingSteps) RETURN_IF_ERROR(WritePending());
  Job next = record.job;
  ASSIGN_OR_RETURN(const std::vector<JobEffect> effects, next.Step(clock_.Now(), event));
  StoredEvent stored;
  EncodeJobEvent(event, &stored);
  stored.job = next.name();
  stored.id = record.last_id + 1;
  stored.wall_ns = absl::ToUnixNanos(clock_.WallTime());
  DescribeChange(record.job, next, &stored);
  record.pending.push_back(std::move(stored));
  if (!std::holds_alternative<StepDone>(event)) {
    if (const absl::Status status = store_.Append(record.pending); !status.ok()) {
      record.pending.pop_back();
      return status;
    }
    record.pending.clear();
    MadeDurable(record, record.last_id + 1);
  }
  ++record.last_id;
  record.update_time = clock_.WallTime();
  const JobState before = record.job.state();
  record.job = std::move(next);
  Observe(record, event, before);
  Perform(record, effects);
  return absl::OkStatus();
}

void Driver::MadeDurable(JobRecord& record, int64_t id) {
  record.durable_id = id;
  aftermath_.wakes.insert(aftermath_.wakes.end(), record.watchers.begin(), record.watchers.end());
}

// Step reports are written together; the rest of the log never waits for them to be written alone.
absl::Status Driver::WritePending() {
  std::vector<StoredEvent> batch;
  for (const auto& [name, record] : jobs_) {
    batch.insert(batch.end(), record->pending.begin(), record->pending.end());
  }
  if (batch.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(store_.Append(batch));
  for (const auto& [name, record] : jobs_) {
    if (record->pending.empty()) continue;
    MadeDurable(*record, record->pending.back().id);
    record->pending.clear();
  }
  return absl::OkStatus();
}

Driver::Aftermath Driver::TakeAftermath() { return std::exchange(aftermath_, {}); }

void Driver::Finish(const Aftermath& aftermath) const {
  for (const std::shared_ptr<Watcher>& watcher : aftermath.wakes) {
    absl::MutexLock lock(&watcher->mutex);
    if (watcher->wake) watcher->wake();
  }
  if (!options_.log) return;
  for (const std::string& line : aftermath.lines) options_.log(line);
}

}  // namespace birkhoff
