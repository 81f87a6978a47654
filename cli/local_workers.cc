// fork, exec and waitpid for local workers.
#include "cli/local_workers.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr int kMaxEarlyDeaths = 5;
constexpr int kNotExecuted = 127;

// In the child: nothing but calls that are safe after fork.
[[noreturn]] void Become(char* const* argv, int log, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kNotExecuted);  // the parent died before the line above
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(argv[0], argv);
  ::_exit(kNotExecuted);
}

void Pause(absl::Duration duration) {
  ::poll(nullptr, 0, static_cast<int>(absl::ToInt64Milliseconds(duration)));
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> command, std::string log_path)
    : command_(std::move(command)), log_path_(std::move(log_path)) {}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : command_(std::move(other.command_)),
      log_path_(std::move(other.log_path_)),
      pid_(other.pid_),
      wait_status_(other.wait_status_) {
  other.pid_ = -1;
}

ChildProcess::~ChildProcess() {
  if (!running()) return;
  Signal(SIGKILL);
  ::waitpid(pid_, &wait_status_, 0);
}

absl::Status ChildProcess::Start() {
  const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    return absl::UnavailableError(absl::StrCat(log_path_, ": open: ", std::strerror(errno)));
  }
  std::vector<char*> argv;
  for (std::string& word : command_) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) Become(argv.data(), log, parent);
  ::close(log);
  if (pid < 0) return absl::UnavailableError(absl::StrCat("fork: ", std::strerror(errno)));
  pid_ = pid;
  return absl::OkStatus();
}

bool ChildProcess::running() {
  if (pid_ < 0) return false;
  const pid_t got = ::waitpid(pid_, &wait_status_, WNOHANG);
  if (got == 0) return true;
  pid_ = -1;
  return false;
}

void ChildProcess::Signal(int signal) {
  if (pid_ > 0) ::kill(pid_, signal);
}

LocalWorkers::LocalWorkers(const Options& options, const Clock& clock)
    : options_(options), clock_(clock) {}

absl::Status LocalWorkers::CheckProgram(const std::string& path) {
  if (::access(path.c_str(), X_OK) == 0) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat(path, ": ", std::strerror(errno), "; need birkhoff-worker beside birkhoff"));
}

absl::StatusOr<ListedDevices> ListLocalDevices(const std::string& program,
                                               const std::string& answer) {
  ::unlink(answer.c_str());
  ChildProcess child({program, "--list-devices"}, answer);
  RETURN_IF_ERROR(child.Start());
  while (child.running()) Pause(absl::Milliseconds(5));
  std::ifstream file(answer);
  ListedDevices devices;
  for (std::string line; std::getline(file, line);) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) {
      devices.trouble = std::string(absl::StripPrefix(line, "birkhoff-worker: "));
    } else {
      devices.found.push_back({line.substr(0, tab), line.substr(tab + 1)});
    }
  }
  return devices;
}

absl::StatusOr<std::vector<ListedDevice>> ListLocalGpus(const std::string& program,
                                                        const std::string& answer) {
  ASSIGN_OR_RETURN(ListedDevices devices, ListLocalDevices(program, answer));
  std::erase_if(devices.found, [](const ListedDevice& device) { return device.name == "cpu"; });
  if (devices.found.empty()) return absl::InvalidArgumentError(devices.trouble);
  return std::move(devices.found);
}

absl::StatusOr<std::vector<std::string>> LocalWorkers::FindDevices(const std::string& program,
                                                                   const std::string& log_directory,
                                                                   DeviceKind device, int count) {
  const std::vector<std::string> cpus(count, "cpu");
  if (device == DeviceKind::kCpu) return cpus;
  const auto gpus = ListLocalGpus(program, absl::StrCat(log_directory, "/devices.log"));
  const int found = gpus.ok() ? static_cast<int>(gpus->size()) : 0;
  if (found >= count) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) names.push_back((*gpus)[i].name);
    return names;
  }
  if (device == DeviceKind::kAuto) return cpus;
  RETURN_IF_ERROR(gpus.status());
  return absl::InvalidArgumentError(
      absl::StrCat("device: cuda: the job needs ", count, " workers and this machine has ", found,
                   " GPUs; lower parallelism.pipeline_parallel_degree or data_parallel_degree"));
}

absl::Status LocalWorkers::Start() {
  RETURN_IF_ERROR(CheckProgram(options_.program));
  for (size_t i = 0; i < options_.devices.size(); ++i) {
    const std::string name = absl::StrCat("local-", i);
    const std::string log = absl::StrCat(options_.log_directory, "/", name, ".log");
    std::vector<std::string> command = {options_.program,
                                        "--coordinator",
                                        options_.coordinator,
                                        "--name",
                                        name,
                                        "--advertise",
                                        "127.0.0.1",
                                        "--device",
                                        options_.devices[i],
                                        "--memory-bytes",
                                        absl::StrCat(options_.cpu_memory_bytes),
                                        "--threads",
                                        absl::StrCat(options_.threads)};
    if (!options_.graphs) command.push_back("--no-graphs");
    if (!options_.card.empty()) command.insert(command.end(), {"--card", options_.card});
    workers_.push_back({ChildProcess(command, log), log, clock_.Now(), 0});
  }
  for (Worker& worker : workers_) RETURN_IF_ERROR(Restart(&worker));
  return absl::OkStatus();
}

absl::Status LocalWorkers::Restart(Worker* worker) {
  worker->started = clock_.Now();
  return worker->process.Start();
}

absl::Status LocalWorkers::Supervise() {
  for (Worker& worker : workers_) {
    if (worker.process.running()) continue;
    const absl::Duration lived = clock_.Now() - worker.started;
    if (lived < options_.restart_interval) continue;
    worker.early_deaths = lived < options_.early ? worker.early_deaths + 1 : 0;
    if (worker.early_deaths >= kMaxEarlyDeaths) {
      return absl::UnavailableError(
          absl::StrCat("a local worker dies as soon as it starts; see ", worker.log_path));
    }
    RETURN_IF_ERROR(Restart(&worker));
  }
  return absl::OkStatus();
}

void LocalWorkers::Stop(absl::Duration grace) {
  for (Worker& worker : workers_) worker.process.Signal(SIGTERM);
  const Instant end = clock_.Now() + grace;
  for (Worker& worker : workers_) {
    while (worker.process.running() && clock_.Now() < end) Pause(absl::Milliseconds(10));
  }
  Kill();
}

void LocalWorkers::Kill() { workers_.clear(); }

}  // namespace birkhoff
