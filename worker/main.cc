// birkhoff-worker: the supervisor of one device.  The hidden verb `rank FD` is the rank process
// that it starts for every attempt.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/backend.h"
#include "worker/own_address.h"
#include "worker/rank_process.h"
#include "worker/supervisor.h"

namespace birkhoff {
namespace {

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

int64_t MemoryBytes() {
  return int64_t{::sysconf(_SC_PHYS_PAGES)} * int64_t{::sysconf(_SC_PAGE_SIZE)};
}

int Main(int argc, char** argv) {
  CLI::App app("The supervisor of one device: registers with a coordinator and runs its attempts.");
  std::string coordinator = "127.0.0.1:7443", name, address, device = "auto";
  bool once = false;
  app.add_option("--coordinator", coordinator, "its address")->envname("BIRKHOFF_SERVER");
  app.add_option("--name", name, "of this worker, unique; default HOST-PID");
  app.add_option("--advertise", address,
                 "address of this machine that peers can reach; default that of the interface that "
                 "leads to the coordinator")
      ->envname("POD_IP");
  app.add_option("--device", device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_flag("--once", once, "leave with the first job's exit code");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kBadSpec);
  }
  if (device == "cuda") {
    if (const absl::Status status = cuda::CudaAvailable(); !status.ok()) {
      std::fprintf(stderr, "birkhoff-worker: %s\n", std::string(status.message()).c_str());
      return static_cast<int>(ExitCode::kBadSpec);
    }
  }
  if (name.empty()) name = absl::StrCat(HostName(), "-", ::getpid());
  if (address.empty()) address = OwnAddressTowards(coordinator).value_or(HostName());
  SupervisorOptions options;
  options.coordinator = coordinator;
  options.program = std::filesystem::read_symlink("/proc/self/exe").string();
  options.agent.resources = {absl::StrCat("workers/", name), "cpu", MemoryBytes(), 0.0};
  options.agent.address = address;
  options.agent.once = once;
  const SystemClock clock;
  return static_cast<int>(RunSupervisor(options, clock));
}

}  // namespace
}  // namespace birkhoff

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "rank") {
    // At once, without destructors: threads of the transport may still run.
    std::_Exit(static_cast<int>(birkhoff::RunRankProcess(std::atoi(argv[2]))));
  }
  return birkhoff::Main(argc, argv);
}
