// Init builds the parts in the order in which they use each other; Shutdown ends them from the
// outside inwards: probe and ticker, watches and streams, the server, then the unwritten steps.
#include "coordinator/daemon.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/job_store.h"
#include "coordinator/metrics.h"
#include "core/base/status_macros.h"
#include "core/base/steady_wait.h"
#include "core/base/version.h"
#include "core/net/process_metrics.h"
#include "core/net/rpc_metrics.h"
#include "core/plan/compile.h"

#include <prometheus/collectable.h>

namespace birkhoff {

// Calls Coordinator::Tick several times per heartbeat; readiness is what the store says.
class Daemon::Ticker {
 public:
  Ticker(Coordinator& coordinator, RpcServer& server, Health& health, absl::Duration interval)
      : health_(health),
        thread_([this, &coordinator, &server, interval] { Run(coordinator, server, interval); }) {}
  ~Ticker() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      stopped_.Notify();
    }
    thread_.join();
  }

 private:
  void Run(Coordinator& coordinator, RpcServer& server, absl::Duration interval) {
    absl::MutexLock lock(&mutex_);
    const auto stopping = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_; };
    while (!stopped_.For(mutex_, interval, stopping)) {
      // The coordinator has logged what is wrong; the next tick tries again.
      coordinator.Tick().IgnoreError();
      const absl::Status store = coordinator.StoreStatus();
      server.SetHealthy(store.ok());
      health_.SetReady(store);
      health_.Beat();
    }
  }

  Health& health_;
  absl::Mutex mutex_;
  SteadyWait stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const DaemonOptions& options) {
  auto daemon = std::unique_ptr<Daemon>(new Daemon(options));
  RETURN_IF_ERROR(daemon->Init());
  return daemon;
}

Daemon::Daemon(const DaemonOptions& options) : options_(options) {}

Daemon::~Daemon() { Shutdown(absl::ZeroDuration()); }

absl::Status Daemon::Init() {
  if (options_.lease < 2 * options_.heartbeat) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--lease-seconds: ", absl::ToDoubleSeconds(options_.lease),
        " is not allowed; need at least two heartbeats, ",
        absl::ToDoubleSeconds(2 * options_.heartbeat), " (or lower --heartbeat-seconds)"));
  }
  if (options_.metrics_series_per_job < MetricsOptions::kFewestSeriesPerJob) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics-series-per-job: ", options_.metrics_series_per_job,
                     " is not allowed; need at least ", MetricsOptions::kFewestSeriesPerJob));
  }
  // Before the store, which may take long to replay.
  ASSIGN_OR_RETURN(health_endpoint_, HealthEndpoint::Start(options_.health, health_));
  ASSIGN_OR_RETURN(store_, OpenSqliteStore(options_.store_path));
  CoordinatorOptions coordinator;
  coordinator.heartbeat = options_.heartbeat;
  coordinator.lease = options_.lease;
  coordinator.progress_limit = options_.progress_limit;
  coordinator.log = options_.log;
  ASSIGN_OR_RETURN(coordinator_, Coordinator::Create(coordinator, clock_, *store_, CompilePlan));
  jobs_ = JobService::New(*coordinator_, kVersion);
  workers_ = WorkerService::New(*coordinator_);
  const std::shared_ptr<RpcMetrics> calls = std::make_shared<RpcMetrics>();
  ASSIGN_OR_RETURN(server_, RpcServer::Start({options_.listen, options_.allow_plaintext,
                                              options_.max_connections, calls},
                                             {jobs_->service(), workers_->service()}));
  if (!options_.metrics_listen.empty()) {
    const MetricsOptions shown = {kVersion, options_.metrics_series_per_job};
    metrics_ = {NewCoordinatorMetrics(*coordinator_, shown), calls->collectable(),
                NewProcessMetrics()};
    ASSIGN_OR_RETURN(endpoint_, MetricsEndpoint::Start(options_.metrics_listen, metrics_,
                                                       options_.allow_plaintext));
  }
  if (!options_.page_listen.empty()) {
    ASSIGN_OR_RETURN(
        page_, LivePage::Start(options_.page_listen, *coordinator_, options_.allow_plaintext));
  }
  health_.SetReady(absl::OkStatus());
  health_.Beat();
  ticker_ = std::make_unique<Ticker>(*coordinator_, *server_, health_,
                                     options_.heartbeat / Coordinator::kTicksPerHeartbeat);
  if (options_.on_deaf) {
    SelfProbeOptions probe{server_->address()};
    probe.interval = options_.probe_interval;
    probe.patience = options_.probe_patience;
    probe.refused = [this] { return server_->refused(); };
    probe_ = std::make_unique<SelfProbe>(probe, options_.on_deaf);
  }
  return absl::OkStatus();
}

std::string Daemon::metrics_address() const {
  return endpoint_ == nullptr ? "" : endpoint_->address();
}

std::string Daemon::page_address() const { return page_ == nullptr ? "" : page_->address(); }

void Daemon::Shutdown(absl::Duration grace) {
  health_.SetStopping();
  probe_.reset();
  ticker_.reset();
  if (server_ != nullptr) {
    server_->SetHealthy(false);
    jobs_->EndWatches();
    workers_->EndStreams();
    server_->Shutdown(grace);
  }
  page_.reset();
  endpoint_.reset();
  // Step reports that waited to be written in one go.
  if (coordinator_ == nullptr) return;
  const absl::Status written = coordinator_->Tick();
  if (!written.ok() && options_.log) {
    options_.log(absl::StrCat("the last steps were not stored: ", written.message()));
  }
}

}  // namespace birkhoff
