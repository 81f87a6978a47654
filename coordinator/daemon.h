// The coordinator as a running server: store, driver, services, metrics and health, wired once for
// birkhoffd and for `birkhoff run`, which embeds it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/coordinator.h"
#include "core/net/health_endpoint.h"

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
  virtual ~Daemon() = default;  // shuts down
  virtual Coordinator& coordinator() = 0;
  virtual std::string address() const = 0;  // "127.0.0.1:43211"
  virtual std::string metrics_address() const = 0;
  virtual std::string page_address() const = 0;  // empty: no page
  virtual const HealthEndpoint& health() const = 0;
  // Not ready any more; watchers and workers are told to come back; calls get `grace` to end.  The
  // store is closed when the daemon goes.
  virtual void Shutdown(absl::Duration grace) = 0;
};

}  // namespace birkhoff
