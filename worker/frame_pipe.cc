// Blocking sends and receives that go on after a signal.  A longer frame than 1 GiB is damage.
#include "worker/frame_pipe.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr uint32_t kLargestFrame = 1u << 30;

absl::Status Gone(const char* call) {
  return absl::UnavailableError(
      absl::StrCat("pipe between supervisor and rank: ", call, ": ", std::strerror(errno)));
}

absl::Status SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Gone("send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::Status ReceiveAll(int fd, char* out, size_t size) {
  while (size > 0) {
    const ssize_t got = ::recv(fd, out, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Gone("recv");
    if (got == 0)
      return WithExitCode(absl::OutOfRangeError("the other end of the pipe has closed"),
                          ExitCode::kInfrastructure);
    out += got;
    size -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace

FramePipe::~FramePipe() { ::close(fd_); }

absl::Status FramePipe::Write(std::string_view frame) {
  const auto size = static_cast<uint32_t>(frame.size());
  std::array<char, 4> head;
  for (int i = 0; i < 4; ++i) head[i] = static_cast<char>(size >> (8 * i));
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(SendAll(fd_, {head.data(), head.size()}));
  return SendAll(fd_, frame);
}

absl::StatusOr<std::string> FramePipe::Read() {
  std::array<char, 4> head;
  RETURN_IF_ERROR(ReceiveAll(fd_, head.data(), head.size()));
  uint32_t size = 0;
  for (int i = 0; i < 4; ++i) size |= uint32_t{static_cast<uint8_t>(head[i])} << (8 * i);
  if (size > kLargestFrame) {
    return absl::DataLossError(
        absl::StrCat("a frame of ", size, " bytes; need at most ", kLargestFrame));
  }
  std::string frame(size, '\0');
  RETURN_IF_ERROR(ReceiveAll(fd_, frame.data(), size));
  return frame;
}

void FramePipe::Shutdown() { ::shutdown(fd_, SHUT_RDWR); }

absl::StatusOr<FrameSockets> NewFrameSockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return Gone("socketpair");
  ::fcntl(ends[1], F_SETFD, 0);
  return FrameSockets{ends[0], ends[1]};
}

}  // namespace birkhoff
