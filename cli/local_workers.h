// The birkhoff-worker processes of one `birkhoff run`: started, started again when they die, and
// ended with their parent, however it ends.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// A command in its own process group, so that Ctrl-C in the terminal does not reach it, and killed
// by the kernel when the thread that called Start ends.  Not thread-safe.
class ChildProcess {
 public:
  ChildProcess(std::vector<std::string> command, std::string log_path);
  ~ChildProcess();  // kills
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  // UNAVAILABLE: no process or no log file.  A program that cannot be executed exits with 127.
  absl::Status Start();
  bool running();  // reaps it when it has ended
  void Signal(int signal);
  pid_t pid() const { return pid_; }
  int wait_status() const { return wait_status_; }  // as waitpid gave it; after it has ended

 private:
  std::vector<std::string> command_;
  std::string log_path_;
  pid_t pid_ = -1;
  int wait_status_ = 0;
};

// The devices of this machine, as birkhoff-worker names them.
struct ListedDevice {
  std::string name;         // "cpu", "cuda:0"
  std::string description;  // instructions or card and driver, libraries
};
struct ListedDevices {
  std::vector<ListedDevice> found;
  std::string trouble;  // why there is no GPU, in the program's words; else empty
};
// Asks `program`, a path of birkhoff-worker, whose answer is left in the file `answer`.  Errors:
// UNAVAILABLE it cannot be started.
absl::StatusOr<ListedDevices> ListLocalDevices(const std::string& program,
                                               const std::string& answer);
// Of them the GPUs.  Errors: also INVALID_ARGUMENT there is none, with the trouble.
absl::StatusOr<std::vector<ListedDevice>> ListLocalGpus(const std::string& program,
                                                        const std::string& answer);

class LocalWorkers {
 public:
  struct Options {
    std::string program;                                 // path of birkhoff-worker
    std::string coordinator;                             // "127.0.0.1:43211"
    std::string log_directory;                           // exists; one file per worker
    std::vector<std::string> devices;                    // one worker for each: "cpu", "cuda:0"
    int64_t cpu_memory_bytes = 0;                        // that each may use; 0: all
    int threads = 1;                                     // of each on a CPU
    bool graphs = true;                                  // each may replay steps as graphs
    std::string card = "";                               // file for each; empty: none
    absl::Duration restart_interval = absl::Seconds(1);  // between two starts of one worker
    absl::Duration early = absl::Seconds(2);             // a life shorter than this is no life
  };
  // `clock` must outlive it.
  LocalWorkers(const Options& options, const Clock& clock);

  // NOT_FOUND: there is no such program.
  static absl::Status CheckProgram(const std::string& path);
  // The devices of `count` workers: GPUs where `device` asks for them, or leaves the choice and
  // there are enough; else the CPU.  Asks `program` and leaves what it said in `log_directory`.
  // Errors: INVALID_ARGUMENT there are not as many GPUs; what the program says of them.
  static absl::StatusOr<std::vector<std::string>> FindDevices(const std::string& program,
                                                              const std::string& log_directory,
                                                              DeviceKind device, int count);
  // Errors: as CheckProgram; UNAVAILABLE no more processes.
  absl::Status Start();
  // Starts again those that have died, each at most once per interval.  Call several times per
  // second.  UNAVAILABLE: a worker died at once, again and again; the message names its log.
  absl::Status Supervise();
  void Stop(absl::Duration grace);  // SIGTERM, then SIGKILL
  void Kill();

 private:
  struct Worker {
    ChildProcess process;
    std::string log_path;
    Instant started;
    int early_deaths = 0;  // in a row
  };
  absl::Status Restart(Worker* worker);

  const Options options_;
  const Clock& clock_;
  std::vector<Worker> workers_;
};

}  // namespace birkhoff
