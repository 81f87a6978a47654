// birkhoff-worker: the supervisor of one device.  The hidden verb `rank FD DEVICE
// THREADS GRAPHS CARD` is the rank process that it starts for every attempt.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/disk.h"
#include "core/base/exit_status.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "core/spec/load.h"
#include "core/spec/validate.h"
#include "worker/calibration.h"
#include "worker/local_device.h"
#include "worker/own_address.h"
#include "worker/rank_process.h"
#include "worker/supervisor.h"

namespace birkhoff {
namespace {

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

int Refuse(const absl::Status& status) {
  std::fprintf(stderr, "birkhoff-worker: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

// The CPU is always there; why there is no GPU goes to stderr.
int ListDevices() {
  std::printf("cpu\t%s\n", DescribeCpu().c_str());
  std::fflush(stdout);
  const absl::StatusOr<std::string> gpus = DescribeGpus();
  if (gpus.ok()) {
    std::fputs(gpus->c_str(), stdout);
  } else {
    Refuse(gpus.status());
  }
  return 0;
}

absl::StatusOr<JobSpec> ReadSoundSpec(Disk& disk, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string yaml, disk.Read(path));
  std::vector<Problem> problems;
  JobSpec spec = LoadJobSpec(yaml, {}, &problems);
  if (problems.empty()) problems = ValidateJobSpec(spec);
  if (problems.empty() && spec.model.vocab_size == 0) {
    problems.push_back({"model.vocab_size", "0", "the tokenizer's",
                        "give the job.yaml that a run leaves in its output directory"});
  }
  RETURN_IF_ERROR(ProblemsToStatus(problems));
  return spec;
}

absl::Status CalibrateFile(const std::string& job, const LocalDevice& local,
                           const RankOptions& options) {
  if (options.card.empty()) return absl::InvalidArgumentError("--calibrate needs --card FILE");
  PosixDisk disk;
  ASSIGN_OR_RETURN(const JobSpec spec, ReadSoundSpec(disk, job));
  absl::StatusOr<std::string> known = disk.Read(options.card);
  if (absl::IsNotFound(known.status())) known = "";
  RETURN_IF_ERROR(known.status());
  ASSIGN_OR_RETURN(const std::unique_ptr<Device> device,
                   OpenLocalDevice(options.device, options.threads));
  ASSIGN_OR_RETURN(const std::string text,
                   Calibrate(spec, *device, local.resources.description, *known));
  RETURN_IF_ERROR(ReplaceFile(disk, options.card, text));
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  if (argc == 7 && std::string(argv[1]) == "rank") {
    const RankOptions rank = {argv[3], std::atoi(argv[4]), std::atoi(argv[5]) != 0, argv[6]};
    // At once, without destructors: threads of the transport may still run.
    std::_Exit(static_cast<int>(RunRankProcess(std::atoi(argv[2]), rank)));
  }
  // One thread per product: sums in one order, and no fight for cores between ranks, which inherit
  // it.  Here, where there is but one thread.
  ::setenv("OPENBLAS_NUM_THREADS", "1", /*overwrite=*/1);
  SupervisorOptions options;
  CLI::App app("The supervisor of one device: registers with a coordinator and runs its attempts.");
  app.set_version_flag("--version", absl::StrCat("birkhoff-worker ", kVersion));
  std::string coordinator = "127.0.0.1:7443", name, address, device = "auto";
  int64_t memory_bytes = 0;
  std::vector<std::string> allowed_paths;
  std::string calibrate;
  double give_up = 300.0;
  double orphan_limit = 3600.0;
  double stop_grace = 60.0;
  bool once = false, list_devices = false;
  app.add_option("--coordinator", coordinator, "its address")->envname("BIRKHOFF_SERVER");
  app.add_option("--name", name, "of this worker, unique; default HOST-PID");
  app.add_option("--advertise", address,
                 "address of this machine that peers can reach; default that of the interface that "
                 "leads to the coordinator")
      ->envname("POD_IP");
  app.add_option("--device", device, "auto, cpu, cuda or cuda:NUMBER");
  app.add_option("--threads", options.rank.threads, "of a rank on the CPU; they change no bit")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag(
      "!--no-graphs", options.rank.graphs,
      "launch every kernel of each step on a GPU; default a step is replayed as one graph, "
      "with the same bits");
  app.add_option("--card", options.rank.card,
                 "file of --calibrate, whose algorithms products on the GPU compute with");
  app.add_option(
      "--calibrate", calibrate,
      "measure what the kernels of this job file take on the device, write it to --card, "
      "and leave");
  app.add_option("--memory-bytes", memory_bytes,
                 "memory of the CPU that this worker may use; default all of the machine's")
      ->check(CLI::Range(0.0, 1e18));
  app.add_option("--allow-path", allowed_paths,
                 "a directory that jobs may read and write, given once for each; default all");
  app.add_option("--orphan-limit", orphan_limit,
                 "seconds after which a rank is ended whose coordinator stays away")
      ->check(CLI::Range(0.1, 1e9))
      ->capture_default_str();
  app.add_option("--stop-grace-seconds", stop_grace,
                 "for a clean stop with a committed checkpoint; then the rank is killed")
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--health-listen", options.health.http,
                 "address of /livez, /readyz and /startupz; default none; port 0: any free one");
  app.add_option("--health-grpc-listen", options.health.grpc,
                 "address of grpc.health.v1 alone; default none");
  app.add_flag("--once", once, "leave with the first job's exit code");
  app.add_option("--give-up-seconds", give_up,
                 "with --once: how long no coordinator may answer; then it leaves with code 71")
      ->check(CLI::Range(0.0, 1e9));
  app.add_flag("--list-devices", list_devices,
               "print the devices that can be used here, and leave");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kBadSpec);
  }
  if (list_devices) return ListDevices();
  absl::StatusOr<LocalDevice> local = FindLocalDevice(device, memory_bytes, options.rank.threads);
  if (!local.ok()) return Refuse(local.status());
  options.rank.device = local->name;
  if (!calibrate.empty()) {
    const absl::Status done = CalibrateFile(calibrate, *local, options.rank);
    return done.ok() ? 0 : Refuse(done);
  }
  if (name.empty()) name = absl::StrCat(HostName(), "-", ::getpid());
  const std::string full_name = absl::StrCat("workers/", name);
  if (!IsWorkerName(full_name)) {
    return Refuse(absl::InvalidArgumentError(
        absl::StrCat("--name: '", Printable(name), "' is not allowed; need ", kWorkerNames)));
  }
  if (address.empty()) address = OwnAddressTowards(coordinator).value_or(HostName());
  options.coordinator = coordinator;
  options.program = std::filesystem::read_symlink("/proc/self/exe").string();
  options.allowed_paths = std::move(allowed_paths);
  options.agent.resources = std::move(local->resources);
  options.agent.resources.name = full_name;
  options.agent.address = address;
  options.agent.once = once;
  options.agent.give_up = absl::Seconds(give_up);
  options.agent.orphan_limit = absl::Seconds(orphan_limit);
  options.agent.stop_grace = absl::Seconds(stop_grace);
  const SystemClock clock;
  return static_cast<int>(RunSupervisor(options, clock));
}

}  // namespace
}  // namespace birkhoff

int main(int argc, char** argv) {
  const int code = birkhoff::RunMain("birkhoff-worker", birkhoff::Main, argc, argv);
  // At once: where memory is short, OpenBLAS waits at the exit for a thread that never comes up.
  std::fflush(nullptr);
  std::_Exit(code);
}
