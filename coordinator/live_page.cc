// Histories are kept between requests, so that each reads what is new alone.
#include "coordinator/live_page.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coordinator/page/report_page.h"
#include "coordinator/page/run_figures.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

constexpr int kMostJobs = 200;
constexpr size_t kShownAtFirst = 4;  // figures with numbers for a page that shows none yet
constexpr size_t kFewestPoints = 50;
constexpr int64_t kLargestTrace = 64 << 20;  // bytes

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

HttpPage JsonPage(const Json& json) {
  return {.type = "application/json; charset=utf-8", .body = Dump(json)};
}

HttpPage ErrorPage(const absl::Status& status) {
  return {.code = absl::IsNotFound(status) ? 404 : 500,
          .body = absl::StrCat(std::string(status.message()), "\n")};
}

std::string UtcTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::UTCTimeZone());
}

Json JobToJson(const JobView& job) {
  Json json = {{"name", std::string(absl::StripPrefix(job.name, "jobs/"))},
               {"state", JobStateName(job.state)},
               {"reason", job.reason.sentence},
               {"total_steps", job.total_steps},
               {"attempt", job.attempt},
               {"restarts", job.restarts},
               {"workers", job.workers},
               {"updated", UtcTime(job.update_time)}};
  if (job.last_step) json["last_step"] = Json::parse(StepReportToJson(*job.last_step));
  if (job.checkpoint) json["checkpoint"] = job.checkpoint->step;
  return json;
}

// show=ID or ID:FIRST:LAST, points=N; what is none of these is as if it were not there.
FigureRequest RequestOf(const HttpQuery& query) {
  Detail detail;
  size_t points = 0;
  const auto asked = query.find("points");
  if (asked != query.end() && absl::SimpleAtoi(asked->second, &points)) {
    detail.points = std::clamp(points, kFewestPoints, kMostPoints);
  }
  FigureRequest request;
  for (auto [show, last] = query.equal_range("show"); show != last; ++show) {
    const std::vector<std::string> parts = absl::StrSplit(show->second, ':');
    Detail& shown = request.shown[parts[0]] = detail;
    Detail closer = detail;
    if (parts.size() == 3 && absl::SimpleAtod(parts[1], &closer.first) &&
        absl::SimpleAtod(parts[2], &closer.last) && closer.first <= closer.last) {
      shown = closer;
    }
  }
  request.first = request.shown.empty() ? kShownAtFirst : 0;
  return request;
}

Json EventsToJson(const JobHistory& history) {
  Json events = Json::array();
  for (auto event = history.events().rbegin(); event != history.events().rend(); ++event) {
    events.push_back(
        {{"time", UtcTime(event->time)}, {"attempt", event->attempt}, {"words", event->words}});
  }
  return events;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LivePage>> LivePage::Start(const std::string& listen,
                                                          Coordinator& coordinator,
                                                          bool allow_plaintext) {
  RETURN_IF_ERROR(CheckListenAddress("--page-listen", listen));
  RETURN_IF_ERROR(
      CheckPlaintext(absl::StrCat("the page on ", listen, " is"), listen, allow_plaintext));
  std::unique_ptr<LivePage> page(new LivePage(coordinator));
  auto server = HttpServer::Start(
      listen, {{"/",
                [html = LivePageHtml()](const HttpQuery&) {
                  return HttpPage{.type = "text/html; charset=utf-8", .body = html};
                }},
               {"/api/jobs", [page = page.get()](const HttpQuery&) { return page->Jobs(); }},
               {"/api/figures",
                [page = page.get()](const HttpQuery& query) { return page->Figures(query); }}});
  if (!server.ok()) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve the page on ", listen, ": ", server.status().message()));
  }
  page->server_ = *std::move(server);
  return page;
}

HttpPage LivePage::Jobs() {
  ListRequest request;
  request.page_size = kMostJobs;
  const absl::StatusOr<JobPage> jobs = coordinator_.ListJobs(request);
  if (!jobs.ok()) return ErrorPage(jobs.status());
  Json json = {{"jobs", Json::array()}, {"more", !jobs->next_page_token.empty()}};
  for (const JobView& job : jobs->jobs) json["jobs"].push_back(JobToJson(job));
  int64_t idle = 0, busy = 0, lost = 0;
  for (const WorkerView& worker : coordinator_.ListWorkers()) {
    (worker.state == WorkerState::kIdle   ? idle
     : worker.state == WorkerState::kBusy ? busy
                                          : lost)++;
  }
  json["workers"] = {{"idle", idle}, {"busy", busy}, {"lost", lost}};
  return JsonPage(json);
}

absl::StatusOr<JobHistory*> LivePage::HistoryOf(const std::string& name) {
  ASSIGN_OR_RETURN(const JobView job, coordinator_.GetJob("jobs/" + name));
  const auto found = std::ranges::find_if(histories_, [&](const JobHistory& history) {
    return history.series().name == name && history.create_time() == job.create_time;
  });
  if (found == histories_.end()) {
    histories_.emplace_front(job);
    if (histories_.size() > kMostHistories) histories_.pop_back();
  } else {
    histories_.splice(histories_.begin(), histories_, found);
  }
  return &histories_.front();
}

void LivePage::LookForTrace(const std::string& name, JobHistory* history) {
  if (!history->awaits_trace()) return;
  const std::string path = history->series().directory + "/trace.json";
  StepTrace trace;
  // A job says where its directory lies: what is no file, or too large for a trace, is none.
  if (disk_.KindOf(path) == FileKind::kFile && disk_.Size(path).value_or(0) <= kLargestTrace) {
    trace = ParseTrace(disk_.Read(path).value_or(""));
  }
  if (trace.measured.spans.empty()) {
    const absl::StatusOr<Plan> plan = coordinator_.GetPlan("jobs/" + name);
    if (plan.ok()) trace = PlannedTrace(*plan);
  }
  history->SetTrace(std::move(trace));
}

HttpPage LivePage::Figures(const HttpQuery& query) {
  RunList runs;
  Json json = {{"labels", Json::array()}, {"runs", Json::array()}, {"more", false}};
  const auto [begin, end] = query.equal_range("job");
  for (auto job = begin; job != end && runs.size() < kMostHistories; ++job) {
    const absl::StatusOr<JobHistory*> history = HistoryOf(job->second);
    if (!history.ok()) return ErrorPage(history.status());
    const absl::StatusOr<std::vector<JobUpdate>> updates =
        coordinator_.ReadUpdates("jobs/" + job->second, (*history)->seen(), kUpdatesAtOnce);
    if (!updates.ok()) return ErrorPage(updates.status());
    for (const JobUpdate& update : *updates) (*history)->Add(update);
    LookForTrace(job->second, *history);
    const RunSeries& series = (*history)->series();
    json["labels"].push_back(series.label);
    json["runs"].push_back({{"name", series.name},
                            {"directory", series.directory},
                            {"yaml", JobSpecToYaml(series.spec)},
                            {"events", EventsToJson(**history)}});
    if (updates->size() == kUpdatesAtOnce) json["more"] = true;
    runs.push_back(&series);
  }
  json["figures"] = RunFigures(runs, RequestOf(query));
  return JsonPage(json);
}

}  // namespace birkhoff
