// The coordinator as a running server: store, jobs, services, metrics and health, wired once for
// birkhoffd and for `birkhoff run`, which embeds it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/coordinator.h"
#include "coordinator/job_service.h"
#include "coordinator/live_page.h"
#include "coordinator/worker_service.h"
#include "core/base/clock.h"
#include "core/base/health.h"
#include "core/net/health_endpoint.h"
#include "core/net/metrics_endpoint.h"
#include "core/net/self_probe.h"
#include "core/net/server.h"

namespace birkhoff {

struct DaemonOptions {
  std::string listen = "127.0.0.1:7443";          // gRPC; port 0: ephemeral
  std::string metrics_listen = "127.0.0.1:9464";  // empty: no metrics endpoint; port 0: ephemeral
  std::string page_listen;                        // as "127.0.0.1:8080"; empty: no page
  HealthListen health;                            // as a default nowhere
  int64_t metrics_series_per_job = 1000;          // at most; 100 at least
  std::string store_path = "birkhoff.db";         // ":memory:" keeps nothing
  absl::Duration heartbeat = absl::Seconds(1);
  absl::Duration lease = absl::Seconds(5);            // a worker silent for this long is dead
  absl::Duration progress_limit = absl::Minutes(20);  // CoordinatorOptions::progress_limit
  std::function<void(const std::string&)> log;        // CoordinatorOptions::log; may be null
  bool allow_plaintext = false;                       // non-loopback addresses without TLS
  int max_connections = 0;                            // of gRPC at a time; 0: MostConnections()
  // Called once, from a thread of the daemon, when the server cannot be reached any more although
  // it runs (SelfProbe); only a new process helps then.  Null: nobody looks.
  std::function<void(const std::string&)> on_deaf;
  absl::Duration probe_interval = absl::Seconds(5);
  absl::Duration probe_patience = absl::Seconds(5);
};

class Daemon {
 public:
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const DaemonOptions& options);
  ~Daemon();  // shuts down
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  Coordinator& coordinator() { return *coordinator_; }
  std::string address() const { return server_->address(); }  // "127.0.0.1:43211"
  std::string metrics_address() const;                        // empty: none
  std::string page_address() const;                           // empty: no page
  const HealthEndpoint& health() const { return *health_endpoint_; }
  // Not ready any more; watchers and workers are told to come back; calls get `grace` to end.  The
  // store is closed when the daemon goes.
  void Shutdown(absl::Duration grace);

 private:
  class Ticker;
  explicit Daemon(const DaemonOptions& options);
  absl::Status Init();

  const DaemonOptions options_;
  SystemClock clock_;
  Health health_{clock_};
  std::unique_ptr<HealthEndpoint> health_endpoint_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<JobService> jobs_;
  std::unique_ptr<WorkerService> workers_;
  std::vector<std::shared_ptr<prometheus::Collectable>> metrics_;
  std::unique_ptr<MetricsEndpoint> endpoint_;
  std::unique_ptr<LivePage> page_;
  std::unique_ptr<Ticker> ticker_;
  std::unique_ptr<SelfProbe> probe_;
  std::unique_ptr<RpcServer> server_;  // last: its calls use all the others
};

}  // namespace birkhoff
