// The daemon first: workers are told where it listens.
#include "cli/local_service.h"

#include <unistd.h>

#include <algorithm>
#include <thread>

#include "core/base/disk.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kWorkerGrace = absl::Seconds(5);

int64_t MachineMemoryBytes() {
  return int64_t{::sysconf(_SC_PHYS_PAGES)} * int64_t{::sysconf(_SC_PAGE_SIZE)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalService>> LocalService::Start(const Options& options,
                                                                  const Clock& clock) {
  RETURN_IF_ERROR(LocalWorkers::CheckProgram(options.worker_program));
  std::unique_ptr<LocalService> service(new LocalService());
  DaemonOptions daemon;
  daemon.listen = "127.0.0.1:0";
  daemon.metrics_listen = "127.0.0.1:0";
  daemon.page_listen = options.page_listen;
  daemon.store_path = ":memory:";
  ASSIGN_OR_RETURN(service->daemon_, Daemon::Start(daemon));

  PosixDisk disk;
  RETURN_IF_ERROR(disk.CreateDirectories(options.log_directory));
  LocalWorkers::Options workers;
  workers.program = options.worker_program;
  workers.coordinator = service->daemon_->address();
  workers.log_directory = options.log_directory;
  ASSIGN_OR_RETURN(workers.devices,
                   LocalWorkers::FindDevices(options.worker_program, options.log_directory,
                                             options.device, options.num_workers));
  // What the machine has over the workers on it.
  workers.cpu_memory_bytes = MachineMemoryBytes() / options.num_workers;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  workers.threads =
      options.threads > 0 ? options.threads : std::max(1, cores / options.num_workers);
  workers.graphs = options.graphs;
  workers.card = options.card;
  service->workers_ = std::make_unique<LocalWorkers>(workers, clock);
  RETURN_IF_ERROR(service->workers_->Start());
  return service;
}

void LocalService::Stop(bool clean) {
  clean ? workers_->Stop(kWorkerGrace) : workers_->Kill();
  daemon_->Shutdown(absl::Seconds(1));
}

}  // namespace birkhoff
