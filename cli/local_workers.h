// The birkhoff-worker processes of one `birkhoff run`: started, started again when they die, and
// ended with their parent, however it ends.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"

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

class LocalWorkers {
 public:
  struct Options {
    std::string program;        // path of birkhoff-worker
    std::string coordinator;    // "127.0.0.1:43211"
    std::string log_directory;  // exists; one file per worker
    int count = 1;
    std::string device = "auto";                         // auto | cpu | cuda
    absl::Duration restart_interval = absl::Seconds(1);  // between two starts of one worker
    absl::Duration early = absl::Seconds(2);             // a life shorter than this is no life
  };
  // `clock` must outlive it.
  LocalWorkers(const Options& options, const Clock& clock);

  // NOT_FOUND: there is no such program.
  static absl::Status CheckProgram(const std::string& path);
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
