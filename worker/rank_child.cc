// fork and exec; a thread then listens until the pipe ends, waits for the process, and tells its
// end in the process's own last words where it had any.
#include "worker/rank_child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/guarded.h"
#include "core/base/status_macros.h"
#include "core/net/convert.h"
#include "core/net/encoding.h"

namespace birkhoff {
namespace {

constexpr int kNotExecuted = 127;

// In the child: nothing but calls that are safe after fork.
[[noreturn]] void BecomeRank(char* const* argv, pid_t parent) {
  ::signal(SIGTERM, SIG_IGN);  // the supervisor decides how the rank ends
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kNotExecuted);  // the parent died before the line above
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(argv[0], argv);
  ::_exit(kNotExecuted);
}

constexpr size_t kMostFrames = 4096;

}  // namespace

absl::StatusOr<std::unique_ptr<RankChild>> RankChild::Start(const std::string& program,
                                                            const RankOptions& options,
                                                            const Assignment& assignment,
                                                            Callbacks callbacks) {
  ASSIGN_OR_RETURN(const FrameSockets sockets, NewFrameSockets());
  auto pipe = std::make_unique<FramePipe>(sockets.ours);
  std::string fd = absl::StrCat(sockets.childs), path = program, verb = "rank";
  std::string device = options.device, threads = absl::StrCat(options.threads);
  std::string graphs = absl::StrCat(options.graphs), card = options.card;
  char* argv[] = {path.data(),    verb.data(),   fd.data(),   device.data(),
                  threads.data(), graphs.data(), card.data(), nullptr};
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid == 0) BecomeRank(argv, parent);
  ::close(sockets.childs);
  if (pid < 0) return absl::UnavailableError(absl::StrCat("fork: ", std::strerror(errno)));
  std::unique_ptr<RankChild> child;
  const absl::Status made = Guarded("starting a rank", [&] {
    child.reset(new RankChild(pid, std::move(pipe), std::move(callbacks)));
    return absl::OkStatus();
  });
  if (!made.ok()) {  // no memory or threads for it
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return absl::UnavailableError(made.message());
  }
  child->Tell(StartAttempt{assignment});
  return child;
}

RankChild::RankChild(pid_t pid, std::unique_ptr<FramePipe> pipe, Callbacks callbacks)
    : pid_(pid),
      pipe_(std::move(pipe)),
      callbacks_(std::move(callbacks)),
      outbox_([this](const std::string& frame) { return pipe_->Write(frame).ok(); }, kMostFrames) {
  listener_ = std::thread([this] { Listen(); });
}

RankChild::~RankChild() {
  Kill();
  pipe_->Shutdown();  // a write to one who does not read returns
  listener_.join();
  ::waitpid(pid_, nullptr, 0);
}

void RankChild::Tell(const CoordinatorMessage& message) {
  // One who has not read so many for so long is not going to; its end is told by on_end.
  if (!outbox_.Push(EncodeCoordinatorMessage(message))) Kill();
}

void RankChild::Kill() { ::kill(pid_, SIGKILL); }

std::string RankChild::Trouble() const {
  std::ifstream file(absl::StrCat("/proc/", pid_, "/stat"));
  std::string line;
  std::getline(file, line);
  // "PID (NAME) STATE ...", and the name may hold anything.
  const size_t name_end = line.rfind(')');
  const char state = name_end + 2 < line.size() ? line[name_end + 2] : ' ';
  if (state == 'T' || state == 't') return "stopped";
  return state == 'D' ? "waits for a disk" : "";
}

void RankChild::Listen() {
  for (;;) {
    const absl::StatusOr<std::string> frame = pipe_->Read();
    if (!frame.ok()) break;
    absl::StatusOr<WorkerMessage> message = DecodeWorkerMessage(*frame);
    if (!message.ok()) {
      last_words_.reason = std::string(message.status().message());
      Kill();
      break;
    }
    if (const auto* exited = std::get_if<RankExited>(&message->payload)) {
      last_words_ = *exited;
    } else {
      callbacks_.on_payload(std::move(message->payload));
    }
  }
  callbacks_.on_end(Reap());
}

// Waits without reaping first, so that Kill never meets a process that took the number over.
RankEnd RankChild::Reap() {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 &&
         errno == EINTR) {
  }
  if (info.si_code == CLD_EXITED) {
    const ExitCode code = ExitCodeFromNumber(info.si_status);
    if (!last_words_.reason.empty()) return {code, last_words_.reason, last_words_.disk};
    if (info.si_status == kNotExecuted) {
      return {ExitCode::kInfrastructure,
              "the rank process cannot be started (a limit of memory, or the program is gone)"};
    }
    return {code, absl::StrCat("the rank process exited with code ", info.si_status)};
  }
  return {ExitCode::kInfrastructure,
          absl::StrCat("the rank process was ended by signal ", info.si_status, " (",
                       ::strsignal(info.si_status), ")")};
}

}  // namespace birkhoff
