// birkhoffd: the coordinator daemon.
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/daemon.h"
#include "core/base/exit_status.h"
#include "core/base/log.h"
#include "core/base/version.h"

namespace birkhoff {
namespace {

// Every connection is a descriptor; the usual soft limit is 1,024.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int Main(int argc, char** argv) {
  CLI::App app("The coordinator: plans jobs, hands them to workers, keeps their history.");
  app.set_version_flag("--version", absl::StrCat("birkhoffd ", kVersion));
  DaemonOptions options;
  options.health.http = "127.0.0.1:8081";
  options.page_listen = "127.0.0.1:8080";
  double heartbeat = 1.0, lease = 5.0, progress_limit = 1200.0;
  app.add_option("--listen", options.listen, "gRPC address; port 0: any free one");
  app.add_option("--metrics-listen", options.metrics_listen,
                 "address of /metrics; empty: none; port 0: any free one");
  app.add_option("--page-listen", options.page_listen,
                 "address of the page for browsers; empty: none; port 0: any free one");
  app.add_option("--health-listen", options.health.http,
                 "address of /livez, /readyz and /startupz; empty: none; port 0: any free one");
  app.add_option("--health-grpc-listen", options.health.grpc,
                 "address of grpc.health.v1 alone; empty: none (that of --listen has it too)");
  app.add_option("--metrics-series-per-job", options.metrics_series_per_job,
                 "at most; beyond it single sub-layers and workers are left out");
  app.add_option("--store", options.store_path, "SQLite file of jobs and their history");
  app.add_option("--heartbeat-seconds", heartbeat, "between a worker's heartbeats")
      ->check(CLI::Range(0.01, 3600.0));
  app.add_option("--lease-seconds", lease, "a worker silent for this long is lost")
      ->check(CLI::Range(0.02, 86400.0));
  app.add_option("--max-connections", options.max_connections,
                 "gRPC connections at a time, more are closed as they come; 0: three quarters of "
                 "the limit of descriptors, at most 16384")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("--progress-limit", progress_limit,
                 "seconds, and ten times its longest step, after which an attempt that does not "
                 "move is ended")
      ->check(CLI::Range(0.1, 1e9))
      ->capture_default_str();
  app.add_flag("--allow-plaintext", options.allow_plaintext,
               "listen beyond loopback without encryption");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kBadSpec);
  }
  for (const auto& [flag, seconds] :
       {std::pair{"heartbeat", heartbeat}, std::pair{"lease", lease}}) {
    if (std::isfinite(seconds)) continue;  // the ranges above let NaN pass
    std::fprintf(stderr, "--%s-seconds: not a number; need seconds\n", flag);
    return static_cast<int>(ExitCode::kBadSpec);
  }
  options.heartbeat = absl::Seconds(heartbeat);
  options.lease = absl::Seconds(lease);
  options.progress_limit = absl::Seconds(progress_limit);
  const SystemClock clock;
  options.log = [&clock](const std::string& line) {
    std::fprintf(stderr, "%s\n", LogLine(clock.WallTime(), line).c_str());
  };

  // At once: what is stored is safe, and who watches this process starts it anew.
  options.on_deaf = [&options](const std::string& why) {
    options.log(absl::StrCat("cannot be reached any more (", why, "); ending"));
    std::_Exit(static_cast<int>(ExitCode::kInfrastructure));
  };
  RaiseDescriptorLimit();

  sigset_t signals;  // blocked before any thread exists, so that only sigwait sees them
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  struct sigaction hangup = {};  // under nohup it stays ignored
  const bool ignored = sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler == SIG_IGN;
  if (!ignored) sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(options);
  if (!daemon.ok()) {
    std::fprintf(stderr, "birkhoffd: %s\n", std::string(daemon.status().message()).c_str());
    return static_cast<int>(ExitCodeOf(daemon.status()));
  }
  std::printf("birkhoffd: grpc on %s\n", (*daemon)->address().c_str());
  if (const std::string metrics = (*daemon)->metrics_address(); !metrics.empty()) {
    std::printf("birkhoffd: metrics on http://%s/metrics\n", metrics.c_str());
  }
  if (const std::string page = (*daemon)->page_address(); !page.empty()) {
    std::printf("birkhoffd: page on http://%s/\n", page.c_str());
  }
  if (const std::string health = (*daemon)->health().http_address(); !health.empty()) {
    std::printf("birkhoffd: health on http://%s/readyz\n", health.c_str());
  }
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  (*daemon)->Shutdown(absl::Seconds(2));
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace
}  // namespace birkhoff

int main(int argc, char** argv) {
  return birkhoff::RunMain("birkhoffd", birkhoff::Main, argc, argv);
}
